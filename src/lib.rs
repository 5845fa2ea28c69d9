//! wxgate: a standalone WeChat push gateway.
//!
//! The rooms, from the ground up (`docs/architecture.md` tells the road of a message):
//!
//! | floor | room | what for |
//! | --- | --- | --- |
//! | 1 | [`wechat`] | WeChat's protocol: bytes ⇄ values |
//! | 1 | [`domain`] | messages, states, keys, time: values and rules |
//! | 1 | [`config`] | configuration: raw → checked |
//! | 1 | [`failpoint`] | where tests make the process die; empty in every build that is shipped |
//! | 2 | [`store`] | what is kept, behind doors |
//! | 2 | [`upstream`] | calls to WeChat |
//! | 2 | [`telemetry`] | logs and metrics |
//! | 2 | [`sandbox`] | a model of WeChat |
//! | 3 | [`services`] | the stations of the road |
//! | 4 | [`http`], [`worker`] | faces: they translate, they decide nothing |
//! | 5 | [`app`], [`cli`] | where the parts meet |

pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod http;
pub mod sandbox;
pub mod services;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod wechat;
pub mod worker;
