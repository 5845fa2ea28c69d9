//! Configuration: raw (as written) → checked (as meant). Sections are plain data; rooms import their section.
//!
//! Layers, each over the one before: `config/default.toml` (compiled in), the operator's file, the environment.
//! `tree` holds what is written with its origin, `read` takes it key by key, each section's file knows its own rules.

pub mod accounts;
pub mod auth;
mod clients;
mod environment;
pub mod http;
pub mod limits;
mod load;
pub mod notes;
pub mod origin;
pub mod queue;
mod read;
mod relay;
mod seal_key;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod units;
mod unknown;
pub mod webhooks;
pub mod wechat;

use std::sync::Arc;

pub use load::DEFAULT;
pub use origin::{ConfigError, ConfigErrors};

use crate::domain::account::Account;
use crate::domain::caller::Key;

/// Everything, checked: no combination in here can be wrong.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: http::ServerConfig,
    pub api: http::ApiConfig,
    pub callback: http::CallbackConfig,
    pub auth: auth::AuthConfig,
    pub store: store::StoreConfig,
    pub redis: Option<store::RedisConfig>,
    pub secrets: store::SecretsConfig,
    pub queue: queue::QueueConfig,
    pub wechat: wechat::WechatConfig,
    pub token: wechat::TokenConfig,
    pub limits: limits::LimitsConfig,
    pub retention: store::RetentionConfig,
    pub telemetry: telemetry::TelemetryConfig,
    pub accounts: Vec<Arc<Account>>,
    /// From `[clients.<name>]`; the key id is the client's name. Keys of one client share their id.
    pub clients: Vec<Key>,
    pub webhooks: webhooks::WebhooksConfig,
    /// What to tell the operator: settings with their origins, warnings.
    pub notes: notes::Notes,
}
