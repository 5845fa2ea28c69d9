//! SQLite.
use crate::config::store::SqliteConfig;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::store::{Error, Stores};

/// Opens (or makes) the file as the one serving process.
pub async fn open(_config: &SqliteConfig, _boot: BootId, _sealer: Sealer) -> Result<Stores, Error> {
    todo!()
}
