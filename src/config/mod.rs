//! Configuration: raw (as written) → checked (as meant). Sections are plain data; rooms import their section.

pub mod accounts;
pub mod http;
pub mod queue;
pub mod store;
pub mod telemetry;
pub mod wechat;

use std::sync::Arc;

use crate::domain::account::Account;
use crate::domain::caller::Key;

/// Everything, checked: no combination in here can be wrong.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: http::ServerConfig,
    pub api: http::ApiConfig,
    pub callback: http::CallbackConfig,
    pub store: store::StoreConfig,
    pub redis: Option<store::RedisConfig>,
    pub secrets: store::SecretsConfig,
    pub queue: queue::QueueConfig,
    pub wechat: wechat::WechatConfig,
    pub token: wechat::TokenConfig,
    pub telemetry: telemetry::TelemetryConfig,
    pub accounts: Vec<Arc<Account>>,
    /// From `[clients.<name>]`; the key id is the client's name.
    pub clients: Vec<Key>,
}
