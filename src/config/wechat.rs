//! `[wechat]` and `[token]`.

use std::time::Duration;

use crate::domain::secret::Secret;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WechatConfig {
    /// Default of `accounts.<name>.base_url`.
    pub base_url: String,
    pub connect_timeout: Duration,
    /// One whole call.
    pub timeout: Duration,
    /// `http://…` or `socks5://…`; may hold a password.
    pub proxy: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    pub max_refreshes_per_hour: u32,
}
