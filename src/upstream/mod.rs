//! Calls that leave the gateway.

pub mod http;
pub mod relay;
pub mod wechat;
