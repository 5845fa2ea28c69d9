//! What must not be printed: secrets, and openids in clear.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Text that no log, error or `config show` can print. `expose` is the one way to it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// A person's id for one account: 1–128 of `[A-Za-z0-9_-]`, in practice 28 characters (receiving messages, "openid").
/// `Display` and `Debug` mask it; `as_str` gives it in clear, for WeChat, rows and views.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Openid(String);

impl Openid {
    /// `None` when the text cannot be an openid.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Openid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(if self.0.len() > 12 { 4 } else { 1 });
        write!(f, "{}…({})", &self.0[..shown], self.0.len())
    }
}

impl fmt::Debug for Openid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("s3cr3t");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn an_openid_is_masked_and_checked() {
        let openid = Openid::parse("oTEST000000000000000000000001").unwrap();
        assert_eq!(openid.to_string(), "oTES…(29)");
        for text in ["", "a b", "用户", "a\u{0}"] {
            assert!(Openid::parse(text).is_none(), "{text:?}");
        }
        assert!(Openid::parse(&"o".repeat(129)).is_none());
    }
}
