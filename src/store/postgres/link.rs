//! The write connection: made, checked, and told apart from the one before.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::connect::{CONNECT, Endpoint, end_earlier};
use super::fault::{self, unavailable};
use super::nodes::Nodes;
use super::{batch, events, figures};
use crate::store::Error;
use crate::store::suppressed::Suppressed;

/// How long an earlier transaction of this process may still be ending before the connection is given up again.
const LOCKS: Duration = Duration::from_secs(2);

/// Makes write connections of one process.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) endpoint: Endpoint,
    /// Who serves. Without it, commands that would change messages are refused.
    pub(super) nodes: Option<Arc<Nodes>>,
    pub(super) suppressed: Arc<Suppressed>,
}

/// A write connection in good order, no transaction open.
pub(super) struct Link {
    pub(super) client: ClientWrapper,
    /// The number of the last transaction of this process that the database has. `None`: it does not know this process.
    pub(super) last: Option<i64>,
    pub(super) suppressed: Arc<Suppressed>,
}

impl Dialer {
    /// Ends whatever is left of an earlier write connection of this process, and finds out how far that came.
    pub(super) async fn dial(&self) -> Result<Link, Error> {
        let name = self.nodes.as_ref().map(|nodes| format!("wxgate writer {}", nodes.boot()));
        let client = self.endpoint.connect(name.as_deref().unwrap_or("wxgate tool")).await?;
        let ready = tokio::time::timeout(CONNECT + LOCKS, async {
            // Prepared now: later they go out behind statements that are not answered yet.
            for sql in [batch::LOCK, batch::NOTIFY, figures::WRITE, events::WRITE] {
                client.prepare_cached(sql).await?;
            }
            match (&self.nodes, name) {
                (Some(nodes), Some(name)) => {
                    end_earlier(&client, &name).await?;
                    nodes.hold(&client).await?;
                    last(&client, nodes.boot()).await
                }
                _ => Ok(None),
            }
        });
        let last = ready.await.unwrap_or_else(|_| Err(fault::silent()))?;
        Ok(Link { client, last, suppressed: self.suppressed.clone() })
    }
}

impl Link {
    /// Ends a transaction that failed.
    pub(super) async fn roll_back(&self) -> Result<(), Error> {
        let done = tokio::time::timeout(CONNECT, self.client.batch_execute("ROLLBACK")).await;
        Ok(done.map_err(|_| fault::silent())??)
    }
}

async fn last(client: &ClientWrapper, boot: &str) -> Result<Option<i64>, Error> {
    // A transaction that is still ending holds its row: its end is waited for.
    client.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = {}", LOCKS.as_millis())).await?;
    let select = "SELECT value FROM totals WHERE name = 'batch' AND boot = $1 FOR UPDATE";
    let row = client.query_opt(select, &[&boot]).await?;
    client.batch_execute("COMMIT").await?;
    row.map(|row| row.try_get(0).map_err(|_| unavailable("totals.value cannot be read"))).transpose()
}
