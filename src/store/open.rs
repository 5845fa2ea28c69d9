//! From configuration to doors: the only file that knows which backends exist.

use std::sync::Arc;

use super::redis::{Link, RedisLimits, RedisNonces, RedisTokens};
use super::{Error, SharedLimits, SharedNonces, SharedTokens, Stores};
use crate::config::store::StoreConfig;
use crate::domain::account::StoredAccount;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;

/// Opens the store: runs missing migrations, and refuses a file that another gateway process serves. A database may be served
/// by several: each is a node.
pub async fn open(config: &StoreConfig, boot: BootId, sealer: Sealer) -> Result<Stores, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::open(config, boot, sealer).await,
        StoreConfig::Postgres(config) => super::postgres::open(config, boot, sealer).await,
    }
}

/// Opens the store beside a process that may be serving it, for `wxgate key` and `wxgate doctor`. Messages cannot be changed
/// through it, and its `Counts` show what was true when it was opened.
pub async fn open_for_tools(config: &StoreConfig, sealer: Sealer) -> Result<Stores, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::open_for_tools(config, sealer).await,
        StoreConfig::Postgres(config) => super::postgres::open_for_tools(config, sealer).await,
    }
}

/// Runs missing migrations → the schema versions before and after. Of a file it is refused while a gateway serves it, unless
/// nothing is missing.
pub async fn migrate(config: &StoreConfig) -> Result<(usize, usize), Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::migrate(config).await,
        StoreConfig::Postgres(config) => super::postgres::migrate(config).await,
    }
}

/// What is there, in a sentence, without changing anything. Of a file only whether it exists: its disk is another matter.
pub async fn inspect(config: &StoreConfig) -> Result<String, Error> {
    match config {
        StoreConfig::Sqlite(config) => Ok(format!(
            "{} {}",
            config.path.display(),
            match config.path.exists() {
                true => "is there",
                false => "will be made",
            }
        )),
        StoreConfig::Postgres(config) => super::postgres::inspect(config).await,
    }
}

/// The accounts made at run time, for those who only look: nothing is changed, made or migrated. `None` when the store is not
/// there, or too old to have any.
pub async fn peek_accounts(config: &StoreConfig, sealer: Sealer) -> Result<Option<Vec<StoredAccount>>, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::peek_accounts(config, sealer).await,
        StoreConfig::Postgres(config) => super::postgres::peek_accounts(config, sealer).await,
    }
}

/// The shared tokens, through a link that other doors may use too.
pub fn share_tokens(link: &Link, sealer: Sealer) -> Arc<dyn SharedTokens> {
    Arc::new(RedisTokens::new(link.clone(), sealer))
}

/// The shared limits, through the same link.
pub fn share_limits(link: &Link) -> Arc<dyn SharedLimits> {
    Arc::new(RedisLimits::new(link.clone()))
}

/// The shared nonces; as [`share_tokens`].
pub fn share_nonces(link: &Link) -> Arc<dyn SharedNonces> {
    Arc::new(RedisNonces::new(link.clone()))
}
