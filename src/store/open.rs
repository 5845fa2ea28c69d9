//! From configuration to doors: the only file that knows which backends exist.

use std::sync::Arc;

use super::redis::{RedisNonces, RedisTokens};
use super::{Error, SharedNonces, SharedTokens, Stores};
use crate::config::store::{RedisConfig, StoreConfig};
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;

/// Opens the store: runs missing migrations, and refuses a file that another gateway process serves.
pub async fn open(config: &StoreConfig, boot: BootId, sealer: Sealer) -> Result<Stores, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::open(config, boot, sealer).await,
    }
}

/// Opens the store beside a process that may be serving it, for `wxgate key` and `wxgate doctor`. Messages cannot be changed
/// through it, and its `Counts` show what was true when it was opened.
pub async fn open_for_tools(config: &StoreConfig, sealer: Sealer) -> Result<Stores, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::open_for_tools(config, sealer).await,
    }
}

/// Runs missing migrations → the schema versions before and after; refused while a gateway serves the store, unless
/// nothing is missing.
pub async fn migrate(config: &StoreConfig) -> Result<(usize, usize), Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::migrate(config).await,
    }
}

/// The shared tokens. Connects when first used: Redis may be absent, now or later. `Unavailable` only for a URL that is none.
pub fn share_tokens(config: &RedisConfig, sealer: Sealer) -> Result<Arc<dyn SharedTokens>, Error> {
    Ok(Arc::new(RedisTokens::new(config, sealer)?))
}

/// The shared nonces; as [`share_tokens`].
pub fn share_nonces(config: &RedisConfig) -> Result<Arc<dyn SharedNonces>, Error> {
    Ok(Arc::new(RedisNonces::new(config)?))
}
