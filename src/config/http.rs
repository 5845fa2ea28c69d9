//! `[server]`, `[api]` and `[callback]`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::read::Section;
use super::wechat::web_address;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

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

impl ServerConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let unset = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = section.needed("listen", Section::address);
        let metrics_listen = section.address("metrics_listen");
        if metrics_listen.is_some_and(|address| Some(address) == listen && address.port() != 0) {
            section.wrong("metrics_listen", "is the same as server.listen; leave it empty to serve /metrics there");
        }
        Self {
            listen: listen.unwrap_or(unset),
            metrics_listen,
            body_limit_bytes: section.size("body_limit", 1024..=64 << 20),
            header_timeout: section.span("header_timeout", SECOND / 10..=5 * MINUTE),
            body_timeout: section.span("body_timeout", SECOND / 10..=10 * MINUTE),
            idle_timeout: section.span("idle_timeout", SECOND..=HOUR),
            max_connections: section.count("max_connections", 1..=1_000_000),
            max_requests: section.count("max_requests", 1..=1_000_000),
            shutdown_grace: section.span("shutdown_grace", Duration::ZERO..=HOUR),
            trusted_proxies: read_proxies(section),
            public_url: section.parsed("public_url", web_address),
        }
    }
}

fn read_proxies(section: &mut Section<'_>) -> Vec<(IpAddr, u8)> {
    let texts = section.list("trusted_proxies").unwrap_or_default();
    let networks: Vec<_> = texts.iter().map(|text| (text, parse_network(text))).collect();
    for (text, _) in networks.iter().filter(|(_, network)| network.is_none()) {
        let allowed = "write an IP address, or a network such as \"10.0.0.0/8\"";
        section.wrong("trusted_proxies", format!("{text:?} is neither; {allowed}"));
    }
    networks.into_iter().filter_map(|(_, network)| network).collect()
}

/// An address alone is a network of one.
fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
        None => most,
    };
    Some((address, bits))
}

impl ApiConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { wait: section.span("wait", Duration::ZERO..=30 * SECOND), ttl: section.span("ttl", SECOND..=30 * DAY) }
    }
}

impl CallbackConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            freshness: section.span("freshness", Duration::ZERO..=DAY),
            body_limit_bytes: section.size("body_limit", 1024..=16 << 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_its_bits() {
        assert_eq!(parse_network("10.0.0.0/8"), Some(([10, 0, 0, 0].into(), 8)));
        assert_eq!(parse_network("127.0.0.1"), Some(([127, 0, 0, 1].into(), 32)));
        assert_eq!(parse_network("::1"), Some((IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128)));
        for text in ["10.0.0.0/33", "10.0.0.0/", "proxy", "", "::/129", "10.0.0.0/-1"] {
            assert_eq!(parse_network(text), None, "{text:?}");
        }
    }
}
