//! What is over and old is deleted, oldest first, a bounded batch at a time.
//!
//! Ids begin with their time, so the old rows are the first stretch of the index on the id: no index on dates is needed.

use rusqlite::params;

use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CallbackId, MessageId};
use crate::failpoint::{Point, reach};
use crate::store::Error;
use crate::store::bounds::{ID_SLACK, limit as count, lowest_id};

/// Oldest first by id; what is not over is passed by.
const MESSAGES: &str = "DELETE FROM messages WHERE rowid IN
    (SELECT rowid FROM messages WHERE id < ?1 AND updated_at < ?2
        AND state IN ('sent', 'delivered', 'undelivered', 'rejected', 'failed', 'expired', 'canceled')
     ORDER BY id LIMIT ?3)";

const CALLBACKS: &str = "DELETE FROM callbacks WHERE rowid IN
    (SELECT rowid FROM callbacks WHERE id < ?1 AND received_at < ?2 ORDER BY id LIMIT ?3)";

/// Receipts are numbered as they come: of the first, those that are old. The inner limit keeps it from reading on.
const RECEIPTS: &str = "DELETE FROM receipts WHERE id IN
    (SELECT id FROM (SELECT id, received_at FROM receipts ORDER BY id LIMIT ?2) WHERE received_at < ?1)";

pub(super) fn messages(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let bound = lowest_id(MessageId::PREFIX, before.plus(ID_SLACK));
    let messages = unit.tx.prepare_cached(MESSAGES)?.execute(params![bound, before, count(limit)])?;
    reach(Point::ForgetWritten);
    Ok(messages)
}

/// Callbacks and receipts.
pub(super) fn inbox(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let bound = lowest_id(CallbackId::PREFIX, before.plus(ID_SLACK));
    let callbacks = unit.tx.prepare_cached(CALLBACKS)?.execute(params![bound, before, count(limit)])?;
    let rest = count(limit.saturating_sub(callbacks));
    let receipts = unit.tx.prepare_cached(RECEIPTS)?.execute(params![before, rest])?;
    reach(Point::ForgetWritten);
    Ok(callbacks + receipts)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_old_rows_are_one_stretch_of_the_ids() {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        for (sql, way) in [
            (MESSAGES, "sqlite_autoindex_messages_1 (id<?)"),
            (CALLBACKS, "sqlite_autoindex_callbacks_1 (id<?)"),
            (RECEIPTS, "SCAN receipts"),
        ] {
            let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let lines = select
                .query_map(rusqlite::params_from_iter(vec![1; select.parameter_count()]), |row| {
                    row.get::<_, String>("detail")
                })
                .unwrap();
            let plan = lines.map(Result::unwrap).collect::<Vec<_>>().join("\n");
            assert!(plan.contains(way) && !plan.contains("ORDER BY"), "{plan}");
        }
    }
}
