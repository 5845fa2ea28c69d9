//! Calls that leave the gateway.

mod direct;
pub mod http;
pub mod outside;
pub mod relay;
pub mod webhook;
pub mod wechat;
