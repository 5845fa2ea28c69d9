//! A store of each kind for one test: opened empty, reopened as after a crash.

use tempfile::TempDir;
use tokio_postgres::NoTls;
use wxgate::config::store::{PostgresConfig, SqliteConfig, StoreConfig, Tls};
use wxgate::domain::ids::BootId;
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::store::{Stores, open};

use super::build::at;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// An open store and where it lives.
pub(crate) struct House {
    pub(crate) stores: Stores,
    pub(crate) config: StoreConfig,
    _place: Place,
}

/// Goes with the house.
enum Place {
    Folder(#[expect(dead_code, reason = "deleted when it is dropped")] TempDir),
    Database(#[expect(dead_code, reason = "deleted when it is dropped")] Database),
}

impl Backend {
    pub(crate) async fn open(self) -> House {
        let (config, place) = match self {
            Self::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("data/wxgate.db");
                (StoreConfig::Sqlite(SqliteConfig::at(path)), Place::Folder(folder))
            }
            Self::Postgres => {
                let database = Database::create().await;
                (StoreConfig::Postgres(database.config()), Place::Database(database))
            }
        };
        let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
        House { stores, config, _place: place }
    }
}

impl House {
    /// The next start of the gateway. What was leased stays leased, as after a crash.
    pub(crate) async fn restart(&mut self) {
        self.stores.close().await;
        self.stores = open::open(&self.config, BootId::generate(at(0)), sealer()).await.unwrap();
    }

    /// Beside the gateway, for what no door offers.
    pub(crate) async fn execute(&self, sql: &str) {
        match &self.config {
            StoreConfig::Sqlite(config) => {
                rusqlite::Connection::open(&config.path).unwrap().execute_batch(sql).unwrap();
            }
            StoreConfig::Postgres(config) => execute(config.url.expose(), sql).await,
        }
    }
}

/// A database of its own in the tests' server.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        Self::create_in(server()).await
    }

    pub(crate) async fn create_in(server: String) -> Self {
        Self::make(server, "").await
    }

    pub(crate) async fn create_with(options: &str) -> Self {
        Self::make(server(), options).await
    }

    async fn make(server: String, options: &str) -> Self {
        let name = format!("test_{}", hex::encode(rand::random::<[u8; 8]>()));
        execute(&server, &format!("CREATE DATABASE {name} {options}")).await;
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A session beside the gateway.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url()).await.expect("the server is there")
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        let (_, rest) = self.server.rsplit_once('@').unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    }

    /// Beside the gateway, for what no door offers.
    pub(crate) async fn execute(&self, sql: &str) {
        execute(&self.url(), sql).await;
    }

    /// The first column of what it finds.
    pub(crate) async fn column<T: tokio_postgres::types::FromSqlOwned>(&self, sql: &str) -> Vec<T> {
        let client = self.connect().await;
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// `[storage]` and the key that it needs, as lines of TOML.
    pub(crate) fn toml(&self) -> String {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        format!("storage.url = \"{}\"\nsecrets.key = \"{key}\"", self.url())
    }

    pub(crate) fn config(&self) -> PostgresConfig {
        let node = "127.0.0.1:8080".to_owned();
        PostgresConfig { url: Secret::new(self.url()), tls: Tls::Prefer, ca_file: None, pool_size: 4, node }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // The test's own runtime is busy dropping us. A server that a test has stopped takes its databases with it.
        let drop = move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                if let Some(client) = connect(&server).await {
                    let _ = client.batch_execute(&sql).await;
                }
            });
        };
        let _ = std::thread::spawn(drop).join();
    }
}

fn server() -> String {
    std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL names no PostgreSQL server: run the tests with scripts/test, or \
         export TEST_POSTGRES_URL=$(scripts/private-postgres start /tmp/some-folder)",
    )
}

async fn connect(url: &str) -> Option<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

pub(crate) async fn execute(url: &str, sql: &str) {
    let client = connect(url).await.unwrap_or_else(|| panic!("no PostgreSQL at {url}"));
    client.batch_execute(sql).await.unwrap();
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new([7; 32])
}
