//! What only PostgreSQL can go through: several nodes, lost connections, a server that stops.

mod doubt;
mod faults;
mod loss;
mod nodes;
mod plans;
mod races;
mod schema;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use wxgate::config::store::{PostgresConfig, StoreConfig};
use wxgate::domain::ids::BootId;
use wxgate::domain::secret::Secret;
use wxgate::store::{Stores, open};

use super::backend::{Database, sealer};
use super::build::at;

/// Longer than anything here takes on a busy machine; reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open_with(config: PostgresConfig) -> Stores {
    open::open(&StoreConfig::Postgres(config), BootId::generate(at(0)), sealer()).await.unwrap()
}

/// A store as a node of its own name.
pub(super) async fn open_as(database: &Database, name: &str) -> Stores {
    open_with(PostgresConfig { node: name.to_owned(), ..database.config() }).await
}

/// The same through another address, such as a [`server::Way`].
async fn open_through(database: &Database, url: String) -> Stores {
    open_with(PostgresConfig { url: Secret::new(url), ..database.config() }).await
}

/// A node that can die: everything it does, it does in a runtime of its own.
struct Mortal {
    stores: Stores,
    runtime: Arc<Runtime>,
}

impl Mortal {
    async fn open(database: &Database, name: &str) -> Self {
        let runtime = Arc::new(Runtime::new().unwrap());
        let config = PostgresConfig { node: name.to_owned(), ..database.config() };
        let stores = runtime.spawn(open_with(config)).await.unwrap();
        Self { stores, runtime }
    }

    /// Nothing is finished, nobody is told.
    fn die(self) {
        let Self { stores, runtime } = self;
        Arc::into_inner(runtime).unwrap().shutdown_background();
        drop(stores);
    }
}

/// Looks until it holds: what another process, or a clock that is not ours, has to do first.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
