//! The write connection: made, checked, and told apart from the one before.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;

use super::connect::{CONNECT, Endpoint};
use super::fault::{self, unavailable};
use super::{batch, figures};
use crate::store::Error;

/// How long an earlier transaction of this process may still be under way before the connection is given up again.
const LOCKS: Duration = Duration::from_secs(2);

/// Makes write connections of one process.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) endpoint: Endpoint,
    pub(super) boot: String,
    /// Without it, commands that would change messages are refused.
    pub(super) is_serving: bool,
}

/// A write connection in good order, no transaction open.
pub(super) struct Link {
    pub(super) client: ClientWrapper,
    /// The number of the last transaction of this process that the database has. `None`: it has forgotten.
    pub(super) last: Option<i64>,
}

impl Dialer {
    /// Ends whatever is left of an earlier write connection of this process, and finds out how far that came.
    pub(super) async fn dial(&self) -> Result<Link, Error> {
        let name = format!("wxgate writer {}", self.boot);
        let client = self.endpoint.connect(&name).await?;
        let ready = tokio::time::timeout(CONNECT + LOCKS, async {
            let last = if self.is_serving { self.last(&client, &name).await? } else { None };
            // Prepared now: they go out behind statements that are not answered yet.
            for sql in [batch::LOCK, batch::NOTIFY, figures::WRITE] {
                client.prepare_cached(sql).await?;
            }
            Ok::<_, Error>(last)
        });
        let last = ready.await.map_err(|_| fault::silent())??;
        Ok(Link { client, last })
    }

    async fn last(&self, client: &ClientWrapper, name: &str) -> Result<Option<i64>, Error> {
        client
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()",
                &[&name],
            )
            .await?;
        // A transaction that is still ending holds its row: its end is waited for.
        client.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = {}", LOCKS.as_millis())).await?;
        let sql = "SELECT value FROM totals WHERE name = 'batch' AND boot = $1 FOR UPDATE";
        let row = client.query_opt(sql, &[&self.boot]).await?;
        client.batch_execute("COMMIT").await?;
        row.map(|row| row.try_get(0).map_err(|_| unavailable("totals.value cannot be read"))).transpose()
    }
}
