//! The migrations, compiled in, and their runner. A shipped one is never edited.
//!
//! Nodes of an older program may be serving while a newer one migrates: a migration only adds what they do not miss.

use tokio_postgres::Client;

use super::fault::unavailable;
use super::lock_key::LockKey;
use crate::store::Error;

const STEPS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_first.sql"),
    include_str!("../../../migrations/postgres/0002_batches.sql"),
    include_str!("../../../migrations/postgres/0003_signing_keys.sql"),
    include_str!("../../../migrations/postgres/0004_rivals.sql"),
    include_str!("../../../migrations/postgres/0005_by_time.sql"),
    include_str!("../../../migrations/postgres/0006_suppressions.sql"),
    include_str!("../../../migrations/postgres/0007_client_turns.sql"),
    include_str!("../../../migrations/postgres/0008_parks.sql"),
    include_str!("../../../migrations/postgres/0009_accounts.sql"),
    include_str!("../../../migrations/postgres/0010_audit.sql"),
    include_str!("../../../migrations/postgres/0011_events.sql"),
    include_str!("../../../migrations/postgres/0012_webhooks.sql"),
    include_str!("../../../migrations/postgres/0013_relay.sql"),
    include_str!("../../../migrations/postgres/0014_users.sql"),
];

/// The oldest server that knows all that we say, as `server_version_num`.
const OLDEST: i32 = 130_000;

/// The version that this program writes.
pub(super) const LATEST: usize = STEPS.len();

/// The first version that has accounts.
pub(super) const ACCOUNTS: usize = 6;

/// The version of the database; refused when a newer program has written it.
pub(super) async fn version(client: &Client) -> Result<usize, Error> {
    let there = client.query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    if !there.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let row = client.query_one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?;
    let found: i64 = row.try_get(0)?;
    let version = usize::try_from(found).unwrap_or(usize::MAX);
    if version > LATEST {
        return Err(unavailable(format!(
            "the database is of schema version {found}, this program knows versions up to {LATEST}: \
             run the newer wxgate that wrote it, or restore a backup from before the upgrade"
        )));
    }
    Ok(version)
}

/// Runs what is missing → the version before. Of nodes that start together one does it, the others wait for it.
pub(super) async fn upgrade(client: &mut Client) -> Result<usize, Error> {
    check_server(client).await?;
    let before = version(client).await?;
    if before == LATEST {
        return Ok(before);
    }
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LockKey::migration()]).await?;
    tx.batch_execute(
        "CREATE TABLE IF NOT EXISTS schema_version (
            version BIGINT NOT NULL PRIMARY KEY, migrated_at TIMESTAMPTZ NOT NULL DEFAULT now())",
    )
    .await?;
    let before = version(tx.client()).await?;
    for (number, step) in (1i64..).zip(STEPS).skip(before) {
        tx.batch_execute(step).await?;
        tx.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&number]).await?;
    }
    tx.commit().await?;
    Ok(before)
}

/// Who has to make tables may do so.
pub(super) async fn check_rights(client: &Client, version: usize) -> Result<(), Error> {
    let row = client.query_one("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)", &[]).await?;
    if version == LATEST || row.try_get(0)? {
        return Ok(());
    }
    Err(unavailable(
        "the user of storage.url may not make the tables: let it own the database, or GRANT it CREATE on the schema",
    ))
}

/// It has to be new enough, and text of any language has to fit.
pub(super) async fn check_server(client: &Client) -> Result<(), Error> {
    let row =
        client.query_one("SELECT current_setting('server_version_num')::int, current_setting('server_version')", &[]);
    let row = row.await?;
    if row.try_get::<_, i32>(0)? < OLDEST {
        let found: String = row.try_get(1)?;
        return Err(unavailable(format!("the server is PostgreSQL {found}: version 13 or newer is needed")));
    }
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(unavailable(format!(
        "the database keeps text as {encoding}, which cannot hold every message: \
         make it anew with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
    )))
}
