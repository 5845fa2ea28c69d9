//! Calls that leave the gateway.

pub mod http;
pub mod outside;
pub mod relay;
pub mod webhook;
pub mod wechat;
