//! Calls that leave the gateway.

mod direct;
pub mod http;
pub mod wechat;
