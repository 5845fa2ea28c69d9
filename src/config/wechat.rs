//! `[wechat]` and `[token]`.

use std::time::Duration;

use url::{Host, Url};

use super::read::Section;
use super::store::without_password;
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

impl WechatConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let (tenth, minutes) = (Duration::from_millis(100), Duration::from_secs(300));
        let base_url = section.needed("base_url", |section, _| read_base_url(section));
        let config = Self {
            base_url: base_url.unwrap_or_default(),
            connect_timeout: section.span("connect_timeout", tenth..=minutes),
            timeout: section.span("timeout", tenth..=minutes),
            proxy: read_proxy(section),
        };
        if config.connect_timeout > config.timeout {
            section.wrong("connect_timeout", "must not be longer than wechat.timeout");
        }
        config
    }
}

/// `base_url` of a section, with a warning when secrets would cross a public network in clear.
pub(super) fn read_base_url(section: &mut Section<'_>) -> Option<String> {
    let text = section.parsed("base_url", web_address)?;
    if Url::parse(&text).is_ok_and(|url| url.scheme() == "http" && !is_near(&url)) {
        section.warn("base_url", "plain http to a public host: the app_secret can be read on the way; use https");
    }
    Some(text)
}

/// An `http` or `https` URL with neither query nor user. A slash at its end is taken off.
pub(super) fn web_address(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL; write https://host".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("is no http or https URL".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("has a user, a query or a fragment; only scheme, host, port and path are allowed".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Loopback, a private address, or a name that no public DNS has.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Some(Host::Domain(name)) => {
            !name.contains('.') || [".local", ".internal", ".localhost", ".test"].iter().any(|end| name.ends_with(end))
        }
        None => false,
    }
}

fn read_proxy(section: &mut Section<'_>) -> Option<Secret> {
    let proxy = section.secret("proxy")?;
    match Url::parse(proxy.expose()) {
        Ok(url) if matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host() => {
            section.show_as("proxy", without_password(url));
            Some(proxy)
        }
        _ => {
            section.wrong("proxy", "has to be http://[user:password@]host:port or socks5://host:port");
            None
        }
    }
}

impl TokenConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { max_refreshes_per_hour: section.count("max_refreshes_per_hour", 1..=10_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_address_loses_its_last_slash_and_has_no_query() {
        assert_eq!(web_address("https://api.weixin.qq.com/"), Ok("https://api.weixin.qq.com".to_owned()));
        assert_eq!(web_address("http://127.0.0.1:8081"), Ok("http://127.0.0.1:8081".to_owned()));
        for text in ["api.weixin.qq.com", "ftp://x", "https://x?y=1", "https://u:p@x", "https://x/#a", ""] {
            assert!(web_address(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_near_host_is_known_by_its_address_or_name() {
        let near = |text: &str| is_near(&Url::parse(text).unwrap());
        for text in ["http://127.0.0.1", "http://10.1.2.3", "http://sandbox:8081", "http://[::1]", "http://x.internal"]
        {
            assert!(near(text), "{text}");
        }
        for text in ["http://api.weixin.qq.com", "http://1.2.3.4", "http://[2001:db8::1]"] {
            assert!(!near(text), "{text}");
        }
    }
}
