//! `Queue`: who holds what, and until when.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Sqlite, leases, rescue, settle};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::settlement::Settlement;
use crate::domain::state::{Lane, State};
use crate::store::{Error, Queue, Rescued, Settled};

#[async_trait]
impl Queue for Sqlite {
    async fn lease(&self, lane: Lane, limit: usize, now: Timestamp, hold: Duration) -> Result<Vec<Lease>, Error> {
        let boot = self.boot.clone();
        self.writer.run(move |unit| leases::lease(unit, &boot, lane, limit, now, hold)).await
    }

    async fn extend(&self, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
        self.writer.run(move |unit| leases::extend(unit, message_id, generation, until)).await
    }

    async fn settle(&self, lease: Lease, settlement: Settlement, now: Timestamp) -> Result<Settled, Error> {
        self.writer.run(move |unit| settle::settle(unit, &lease, &settlement, now)).await
    }

    async fn rescue(&self, now: Timestamp, window: Duration, limit: usize) -> Result<Rescued, Error> {
        let boot = self.boot.clone();
        self.writer.run(move |unit| rescue::rescue(unit, &boot, now, window, limit)).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
        self.writer.run(move |unit| rescue::expire(unit, now, limit)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        self.readers.read(|conn| earliest_due(conn, Timestamp::from_millis(i64::MAX))).await
    }
}

/// The earliest due date up to `until`, of all lanes.
pub(super) fn earliest_due(conn: &Connection, until: Timestamp) -> Result<Option<Timestamp>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT due_at FROM messages WHERE lane = ?1 AND state IN ('scheduled', 'queued') AND due_at <= ?2
         ORDER BY due_at LIMIT 1",
    )?;
    let mut earliest = None;
    for lane in Lane::ALL {
        let due: Option<Timestamp> = select.query_row(params![lane, until], |row| row.get(0)).optional()?;
        earliest = [earliest, due].into_iter().flatten().min();
    }
    Ok(earliest)
}
