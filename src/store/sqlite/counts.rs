//! `Counts`: figures from memory, the age of the queue, and the probe.

use async_trait::async_trait;

use super::fault::unavailable;
use super::readers::PATIENCE;
use super::{Sqlite, queue};
use crate::domain::clock::Timestamp;
use crate::domain::state::State;
use crate::store::{Counts, Error, Space, StateCount};

#[async_trait]
impl Counts for Sqlite {
    fn states(&self) -> Vec<StateCount> {
        self.figures.states()
    }

    fn accepted(&self) -> u64 {
        self.figures.accepted()
    }

    fn unaccounted(&self) -> i64 {
        self.figures.unaccounted()
    }

    async fn oldest_ready(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let states = self.figures.states().into_iter();
        let waiting = states.filter(|line| matches!(line.state, State::Scheduled | State::Queued));
        let stretches: Vec<_> = waiting.map(|line| (line.lane, line.account)).collect();
        let earliest = self.readers.read(move |conn| queue::earliest_due(conn, &stretches)).await?;
        Ok(earliest.filter(|due_at| *due_at <= now))
    }

    async fn unmatched_receipts(&self) -> Result<u64, Error> {
        self.readers
            .read_within(PATIENCE, |conn| {
                let mut select = conn
                    .prepare_cached("SELECT count(*) FROM receipts WHERE message_id IS NULL AND status <> 'other'")?;
                let count: i64 = select.query_row([], |row| row.get(0))?;
                Ok(u64::try_from(count).unwrap_or(0))
            })
            .await
    }

    fn space(&self) -> Option<Space> {
        self.writer.space()
    }

    async fn probe(&self) -> Result<(), Error> {
        let written: i64 = self
            .writer
            .run(|unit| {
                let mut update = unit
                    .tx
                    .prepare_cached("UPDATE totals SET value = value + 1 WHERE name = 'probe' RETURNING value")?;
                Ok(update.query_row([], |row| row.get(0))?)
            })
            .await?;
        let read: i64 = self
            .readers
            .read(|conn| {
                let mut select = conn.prepare_cached("SELECT value FROM totals WHERE name = 'probe'")?;
                Ok(select.query_row([], |row| row.get(0))?)
            })
            .await?;
        if read < written {
            return Err(unavailable("the database does not give back what was just written: restart the gateway"));
        }
        Ok(())
    }
}
