//! Where a webhook goes: `http` or `https`, a host, no user and password.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use super::address::Reach;

const MAX_BYTES: usize = 2048;

/// A URL that a webhook may have. `Display` and `Debug` show its host alone: paths and queries often hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    #[error("is no URL such as \"https://crm.example.com/wechat\"")]
    NotAUrl,
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("has to begin with https:// or http://")]
    Scheme,
    #[error("holds a user or password; subscribers know us by the signature (or put a token into the query)")]
    UserInfo,
}

impl WebhookUrl {
    /// The host is what browsers make of it: `0x7f.1` and `2130706433` are 127.0.0.1.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_BYTES {
            return Err(UrlFault::TooLong);
        }
        let url = Url::parse(text).map_err(|_| UrlFault::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlFault::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::UserInfo);
        }
        if url.host().is_none() {
            return Err(UrlFault::NotAUrl);
        }
        Ok(Self(url))
    }

    pub fn url(&self) -> &Url {
        &self.0
    }

    /// In full, for rows and for those who may see it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// For people: what stands behind the host is left out.
    pub fn masked(&self) -> String {
        let rest = if self.0.path() == "/" && self.0.query().is_none() { "" } else { "…" };
        format!("{}://{}/{rest}", self.0.scheme(), self.host())
    }

    /// Host, and port if it is named.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The address, when the URL names one instead of a name. Nobody is asked about it when it is connected to.
    pub fn literal(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// Can be seen without asking anybody: it names an address that is not allowed, or this machine.
    pub fn is_plainly_forbidden(&self, reach: &Reach) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let is_here = name == "localhost" || name.ends_with(".localhost");
                is_here && !reach.allows([127, 0, 0, 1].into()) && !reach.allows(std::net::Ipv6Addr::LOCALHOST.into())
            }
            _ => self.literal().is_some_and(|address| !reach.allows(address)),
        }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::parse_network;
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_taken() {
        for (text, fault) in [
            ("", UrlFault::NotAUrl),
            ("crm.example.com/x", UrlFault::NotAUrl),
            ("https://", UrlFault::NotAUrl),
            ("http://[::1", UrlFault::NotAUrl),
            ("http://999.1.1.1/", UrlFault::NotAUrl),
            ("ftp://crm.example.com/", UrlFault::Scheme),
            ("file:///etc/passwd", UrlFault::Scheme),
            ("unix:/run/x", UrlFault::Scheme),
            ("https://user@crm.example.com/", UrlFault::UserInfo),
            ("https://:pass@crm.example.com/", UrlFault::UserInfo),
            ("https://crm.example.com\u{40}127.0.0.1/", UrlFault::UserInfo),
        ] {
            assert_eq!(WebhookUrl::parse(text), Err(fault), "{text}");
        }
        assert_eq!(WebhookUrl::parse(&format!("https://x/{}", "a".repeat(2048))), Err(UrlFault::TooLong));
        let url = WebhookUrl::parse("https://crm.example.com:8443/in?key=s3cret").unwrap();
        assert_eq!(format!("{url} {url:?}"), "crm.example.com:8443 crm.example.com:8443");
        assert_eq!(url.masked(), "https://crm.example.com:8443/…");
        assert_eq!(url.as_str(), "https://crm.example.com:8443/in?key=s3cret");
    }

    #[test]
    fn addresses_are_seen_through_odd_spellings() {
        for spelling in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[::ffff:7f00:1]",
            "[::ffff:127.0.0.1]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "0",
            "[::]",
            "[fe80::1]",
            "[64:ff9b::7f00:1]",
            "169.254.169.254",
        ] {
            let url = WebhookUrl::parse(&format!("http://{spelling}:8080/x")).unwrap();
            assert!(url.is_plainly_forbidden(&Reach::default()), "{spelling} is {url}");
            assert!(!url.is_plainly_forbidden(&Reach::everywhere()), "{spelling}");
        }
        for public in ["8.8.8.8", "crm.example.com", "localhost.example.com", "[2400:3200::1]"] {
            let url = WebhookUrl::parse(&format!("https://{public}/")).unwrap();
            assert!(!url.is_plainly_forbidden(&Reach::default()), "{public}");
        }
        let reach = Reach::new(vec![parse_network("127.0.0.0/8").unwrap()]);
        assert!(!WebhookUrl::parse("http://localhost/").unwrap().is_plainly_forbidden(&reach));
        assert!(WebhookUrl::parse("http://[::1]/").unwrap().is_plainly_forbidden(&reach));
    }
}
