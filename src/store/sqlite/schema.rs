//! The migrations, compiled in. A shipped one is never edited.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::fault::unavailable;
use crate::store::Error;

const STEPS: &[M<'static>] = &[
    M::up(include_str!("../../../migrations/sqlite/0001_first.sql")),
    M::up(include_str!("../../../migrations/sqlite/0002_batches.sql")),
    M::up(include_str!("../../../migrations/sqlite/0003_signing_keys.sql")),
    M::up(include_str!("../../../migrations/sqlite/0004_rivals.sql")),
    M::up(include_str!("../../../migrations/sqlite/0005_by_time.sql")),
    M::up(include_str!("../../../migrations/sqlite/0006_suppressions.sql")),
    M::up(include_str!("../../../migrations/sqlite/0007_client_turns.sql")),
    M::up(include_str!("../../../migrations/sqlite/0008_parks.sql")),
    M::up(include_str!("../../../migrations/sqlite/0009_accounts.sql")),
    M::up(include_str!("../../../migrations/sqlite/0010_audit.sql")),
    M::up(include_str!("../../../migrations/sqlite/0011_events.sql")),
    M::up(include_str!("../../../migrations/sqlite/0012_webhooks.sql")),
    M::up(include_str!("../../../migrations/sqlite/0013_relay.sql")),
    M::up(include_str!("../../../migrations/sqlite/0014_users.sql")),
];

/// The version that this program writes.
pub(super) const LATEST: usize = STEPS.len();

/// The first version that has accounts.
pub(super) const ACCOUNTS: usize = 6;

/// The version of the file; refused when a newer program has written it.
pub(super) fn version(conn: &Connection) -> Result<usize, Error> {
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(found).unwrap_or(usize::MAX);
    if version > LATEST {
        return Err(unavailable(format!(
            "the database is of schema version {found}, this program knows versions up to {LATEST}: \
             run the newer wxgate that wrote it, or restore a backup from before the upgrade"
        )));
    }
    Ok(version)
}

/// Runs what is missing.
pub(super) fn upgrade(conn: &mut Connection) -> Result<(), Error> {
    Migrations::from_slice(STEPS)
        .to_latest(conn)
        .map_err(|error| unavailable(format!("the database cannot be brought to version {LATEST}: {error}")))
}
