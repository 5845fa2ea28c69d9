//! A store of each kind for one test: opened empty, reopened as after a crash.

use tempfile::TempDir;
use wxgate::config::store::{SqliteConfig, StoreConfig};
use wxgate::domain::ids::BootId;
use wxgate::domain::seal::Sealer;
use wxgate::store::{Stores, open};

use super::build::at;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
}

/// An open store and where it lives.
pub(crate) struct House {
    pub(crate) stores: Stores,
    pub(crate) config: StoreConfig,
    _folder: TempDir,
}

impl Backend {
    pub(crate) async fn open(self) -> House {
        let folder = tempfile::tempdir().unwrap();
        let config = match self {
            Self::Sqlite => StoreConfig::Sqlite(SqliteConfig::at(folder.path().join("data/wxgate.db"))),
        };
        let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
        House { stores, config, _folder: folder }
    }
}

impl House {
    /// The next start of the gateway. What was leased stays leased, as after a crash.
    pub(crate) async fn restart(&mut self) {
        self.stores.close().await;
        self.stores = open::open(&self.config, BootId::generate(at(0)), sealer()).await.unwrap();
    }

    /// Beside the gateway, for what no door offers.
    pub(crate) fn execute(&self, sql: &str) {
        let StoreConfig::Sqlite(config) = &self.config;
        rusqlite::Connection::open(&config.path).unwrap().execute_batch(sql).unwrap();
    }
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new([7; 32])
}
