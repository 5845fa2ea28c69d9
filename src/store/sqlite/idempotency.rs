//! The table `idempotency`: callers' keys, in the order of time.
//!
//! The writer alone adds keys and looks before it does, so each is there once. Where to look is told by [`Seen`].

use rusqlite::{Connection, OptionalExtension, params};

use super::row::Fields;
use super::seen::Seen;
use crate::domain::clock::Timestamp;
use crate::domain::message::IdempotencyKey;
use crate::store::{Error, bounds};

const HOUR_MS: i64 = 3_600_000;

/// What a key belongs to.
pub(super) struct Kept<T> {
    pub(super) id: T,
    /// It came with the same body.
    pub(super) same: bool,
}

/// `parse`: the id of what the key belongs to.
pub(super) fn find<T>(
    conn: &Connection,
    seen: &Seen,
    key: &IdempotencyKey,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Kept<T>>, Error> {
    let Some(hours) = seen.hours_of(&key.key) else { return Ok(None) };
    let mut select = conn.prepare_cached(
        "SELECT key, body_hash, message_id FROM idempotency INDEXED BY idempotency_hour
         WHERE created_at / 3600000 = ?1 AND key = ?2 AND client = ?3 AND endpoint = ?4",
    )?;
    let mut hour = latest_hour(conn, *hours.end())?;
    while let Some(at) = hour.filter(|hour| hours.contains(hour)) {
        let mut rows = select.query(params![at, key.key, key.client, key.endpoint])?;
        if let Some(row) = rows.next()? {
            let fields = Fields::new(row, "idempotency", "key");
            let same = fields.get::<String>("body_hash")? == key.body_hash;
            return Ok(Some(Kept { id: fields.parsed("message_id", parse)?, same }));
        }
        hour = match at.checked_sub(1) {
            Some(before) => latest_hour(conn, before)?,
            None => None,
        };
    }
    Ok(None)
}

/// Whoever calls has not found it in the same transaction.
pub(super) fn add(
    conn: &Connection,
    seen: &Seen,
    key: &IdempotencyKey,
    id: impl rusqlite::ToSql,
    now: Timestamp,
) -> Result<(), Error> {
    // Before it can be read by anybody; a rollback leaves one that is looked up needlessly.
    seen.add(&key.key, hour_of(now));
    conn.prepare_cached(
        "INSERT INTO idempotency (client, endpoint, key, body_hash, message_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![key.client, key.endpoint, key.key, key.body_hash, id, now])?;
    Ok(())
}

pub(super) fn forget(conn: &Connection, seen: &Seen, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM idempotency WHERE rowid IN
            (SELECT rowid FROM idempotency INDEXED BY idempotency_hour
             WHERE created_at / 3600000 <= ?1 AND created_at < ?2 ORDER BY created_at / 3600000 LIMIT ?3)",
    )?;
    let count = delete.execute(params![hour_of(before), before, bounds::limit(limit)])?;
    if count < limit {
        seen.forget(hour_of(before));
    }
    Ok(count)
}

/// The last hour with keys, up to this one.
fn latest_hour(conn: &Connection, up_to: i64) -> Result<Option<i64>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT created_at / 3600000 FROM idempotency INDEXED BY idempotency_hour
         WHERE created_at / 3600000 <= ?1 ORDER BY created_at / 3600000 DESC LIMIT 1",
    )?;
    Ok(select.query_row([up_to], |row| row.get(0)).optional()?)
}

/// As SQLite divides: towards zero.
const fn hour_of(at: Timestamp) -> i64 {
    at.as_millis() / HOUR_MS
}
