//! `[server]`, `[api]` and `[callback]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    pub listen: SocketAddr,
    /// `/metrics` on its own address; `None`: on `listen`.
    pub metrics_listen: Option<SocketAddr>,
    pub body_limit_bytes: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_connections: usize,
    /// API requests under way at once; beyond it 503 `overloaded`. Callbacks and health are never shed.
    pub max_requests: usize,
    pub shutdown_grace: Duration,
    /// Whose `X-Forwarded-For` is believed (single addresses or `a.b.c.d/n`, checked).
    pub trusted_proxies: Vec<(IpAddr, u8)>,
    /// What callers see before the path, for `doctor` and `dev`; `None`: unknown.
    pub public_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// How long a send waits for its outcome.
    pub wait: Duration,
    /// Life of a message that names none.
    pub ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// How far `timestamp` may be from now; zero: not checked.
    pub freshness: Duration,
    pub body_limit_bytes: usize,
}
