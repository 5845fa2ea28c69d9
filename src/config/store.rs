//! `[storage]`, `[redis]`, `[secrets]` and `[retention]`.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::read::Section;
use crate::domain::secret::Secret;

/// No volume has that much to spare.
const MOST_FREE: u64 = 1 << 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    Sqlite(SqliteConfig),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteConfig {
    pub path: PathBuf,
    /// Free space on its volume below which nothing is accepted; 0: nothing is refused, and no reserve is kept.
    pub min_free_bytes: u64,
}

impl SqliteConfig {
    /// The file, whatever room its volume has.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), min_free_bytes: 0 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// `redis://[:password@]host[:port][/db]`
    pub url: Secret,
    /// Before every key of ours.
    pub prefix: String,
}

/// Where the 32 bytes that seal tokens and secrets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsConfig {
    /// Given, base64 decoded.
    Key(SealKey),
    /// Made once, kept in this file with mode 0600.
    GeneratedAt(PathBuf),
}

/// 32 bytes that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl StoreConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let path = section.needed("url", |section, key| section.parsed(key, parse_sqlite_url));
        let min_free_bytes = u64::try_from(section.size("min_free", 0..=MOST_FREE)).unwrap_or(MOST_FREE);
        Self::Sqlite(SqliteConfig { path: path.unwrap_or_default(), min_free_bytes })
    }
}

fn parse_sqlite_url(text: &str) -> Result<PathBuf, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err("is PostgreSQL; this build has SQLite only".to_owned());
    }
    let path = text.strip_prefix("sqlite://").ok_or("does not start with sqlite://")?;
    if path.contains(['?', '#']) {
        return Err("has options; none are known".to_owned());
    }
    if path.contains(":memory:") {
        return Err("is not on disk; the gateway keeps what it has promised".to_owned());
    }
    if path.is_empty() || path.ends_with('/') {
        return Err("names no file".to_owned());
    }
    Ok(PathBuf::from(path))
}

impl RedisConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let url = section.secret("url");
        let prefix = section.text("prefix").unwrap_or_default();
        let url = url?;
        match Url::parse(url.expose()) {
            Ok(parsed) if parsed.scheme() == "redis" && parsed.has_host() => {
                section.show_as("url", without_password(parsed));
                Some(Self { url, prefix })
            }
            _ => {
                section.wrong("url", "has to be redis://[:password@]host[:port][/database]");
                None
            }
        }
    }
}

/// The same URL, fit to be shown.
pub(super) fn without_password(mut url: Url) -> Url {
    if url.password().is_some() {
        let _ = url.set_password(Some("***"));
    }
    url
}

impl SecretsConfig {
    pub(super) fn read(section: &mut Section<'_>, store: &StoreConfig) -> Self {
        let StoreConfig::Sqlite(SqliteConfig { path, .. }) = store;
        let mut beside = path.clone().into_os_string();
        beside.push(".key");
        let Some(text) = section.secret("key") else {
            return Self::GeneratedAt(beside.into());
        };
        let key = STANDARD.decode(text.expose().trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if key.is_none() {
            section
                .wrong("key", "has to be 32 bytes in base64 (44 characters); make one with: openssl rand -base64 32");
        }
        Self::Key(SealKey(key.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_names_a_relative_or_an_absolute_file() {
        assert_eq!(parse_sqlite_url("sqlite://data/wxgate.db"), Ok("data/wxgate.db".into()));
        assert_eq!(parse_sqlite_url("sqlite:///var/lib/wxgate.db"), Ok("/var/lib/wxgate.db".into()));
        for text in
            ["sqlite://", "sqlite://data/", "data.db", "sqlite://:memory:", "sqlite://a.db?mode=ro", "mysql://x/y"]
        {
            assert!(parse_sqlite_url(text).is_err(), "{text}");
        }
        assert!(parse_sqlite_url("postgres://db/wxgate").unwrap_err().contains("SQLite only"));
    }
}

/// How long what has ended is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    pub messages: Duration,
    pub callbacks: Duration,
}

impl RetentionConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let day = Duration::from_secs(24 * 3600);
        // Receipts come within a day, idempotency keys are kept for seven: neither may outlive its message.
        Self {
            messages: section.span("messages", 8 * day..=3660 * day),
            callbacks: section.span("callbacks", 2 * day..=3660 * day),
        }
    }
}
