//! `[storage]`, `[redis]` and `[secrets]`.

use std::path::PathBuf;

use crate::domain::secret::Secret;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    Sqlite(SqliteConfig),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteConfig {
    pub path: PathBuf,
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
