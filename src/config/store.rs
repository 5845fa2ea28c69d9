//! `[storage]`, `[redis]`, `[secrets]` and `[retention]`.

mod postgres;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

pub use self::postgres::{PostgresConfig, Tls};
use super::read::Section;
use crate::domain::secret::Secret;

/// No volume has that much to spare.
const MOST_FREE: u64 = 1 << 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    Sqlite(SqliteConfig),
    Postgres(PostgresConfig),
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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SealKey(pub [u8; 32]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl StoreConfig {
    /// `listen`: part of what tells this node from others of the same machine.
    pub(super) fn read(section: &mut Section<'_>, listen: SocketAddr) -> Self {
        let url = section.needed("url", Section::secret);
        let min_free_bytes = u64::try_from(section.size("min_free", 0..=MOST_FREE)).unwrap_or(MOST_FREE);
        let postgres = PostgresConfig::read(section, url.as_ref(), listen);
        if let Some(config) = postgres {
            return Self::Postgres(config);
        }
        let path = url.map(|url| parse_sqlite_url(url.expose()).inspect(|_| section.show_as("url", url.expose())));
        let path = path.unwrap_or_else(|| Ok(PathBuf::new())).unwrap_or_else(|problem| {
            section.wrong("url", problem);
            PathBuf::new()
        });
        Self::Sqlite(SqliteConfig { path, min_free_bytes })
    }

    /// Where it is, in words that may be shown: a file, or a URL without its password.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(config) => config.path.display().to_string(),
            Self::Postgres(config) => config.shown(),
        }
    }
}

fn parse_sqlite_url(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("sqlite://").ok_or("has to start with sqlite:// or postgres://")?;
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
        let Some(text) = section.secret("key") else {
            return Self::generated(section, store);
        };
        let key = STANDARD.decode(text.expose().trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        if key.is_none() {
            section
                .wrong("key", "has to be 32 bytes in base64 (44 characters); make one with: openssl rand -base64 32");
        }
        Self::Key(SealKey(key.unwrap_or_default()))
    }

    /// Beside a file a key can be made; nodes that share a database have to be given the same one.
    fn generated(section: &Section<'_>, store: &StoreConfig) -> Self {
        let StoreConfig::Sqlite(SqliteConfig { path, .. }) = store else {
            section.wrong(
                "key",
                "is needed with PostgreSQL, the same for every node; make one with: openssl rand -base64 32",
            );
            return Self::Key(SealKey::default());
        };
        let mut beside = path.clone().into_os_string();
        beside.push(".key");
        Self::GeneratedAt(beside.into())
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
    }
}

/// How long what has ended is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    pub messages: Duration,
    pub callbacks: Duration,
    pub events: Duration,
    pub audit: Duration,
}

impl RetentionConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let day = Duration::from_secs(24 * 3600);
        // Receipts come within a day, idempotency keys are kept for seven: neither may outlive its message.
        Self {
            messages: section.span("messages", 8 * day..=3660 * day),
            callbacks: section.span("callbacks", 2 * day..=3660 * day),
            // A subscriber may be away for a weekend.
            events: section.span("events", day..=3660 * day),
            audit: section.span("audit", 30 * day..=3660 * day),
        }
    }
}
