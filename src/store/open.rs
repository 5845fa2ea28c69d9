//! From configuration to doors: the only file that knows which backends exist.

use super::{Error, Stores};
use crate::config::store::StoreConfig;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;

/// Opens the store: runs missing migrations, and refuses a file that another gateway process serves.
pub async fn open(config: &StoreConfig, boot: BootId, sealer: Sealer) -> Result<Stores, Error> {
    match config {
        StoreConfig::Sqlite(config) => super::sqlite::open(config, boot, sealer).await,
    }
}
