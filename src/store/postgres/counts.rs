//! `Counts`: figures from memory, the age of the queue, and the probe.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::fault::unavailable;
use super::queue;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::state::State;
use crate::store::{Counts, Error, StateCount};

#[async_trait]
impl Counts for Postgres {
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
        let earliest = queue::earliest_due(&self.readers.quick().await?, &stretches).await?;
        Ok(earliest.filter(|due_at| *due_at <= now))
    }

    async fn unmatched_receipts(&self) -> Result<u64, Error> {
        let select = "SELECT count(*) AS count FROM receipts WHERE message_id IS NULL AND status <> 'other'";
        let row = self.readers.slow().await?.row(select, &[]).await?;
        let count = row.map(|row| Fields::new(&row, "receipts", "count").get::<i64>("count")).transpose()?;
        Ok(u64::try_from(count.unwrap_or_default()).unwrap_or(0))
    }

    async fn probe(&self) -> Result<(), Error> {
        let written = self.writer.run(Probe { boot: self.boot.clone() }).await?;
        let read = value(&self.readers.quick().await?, READ_PROBE, &self.boot).await?;
        if read < written {
            return Err(unavailable(
                "the database does not give back what was just written: does storage.url name a standby?",
            ));
        }
        Ok(())
    }
}

const WRITE_PROBE: &str = "INSERT INTO totals (name, boot, value) VALUES ('probe', $1, 1)
     ON CONFLICT (name, boot) DO UPDATE SET value = totals.value + 1 RETURNING name, value";
const READ_PROBE: &str = "SELECT name, value FROM totals WHERE name = 'probe' AND boot = $1";

struct Probe {
    boot: String,
}

#[async_trait]
impl Command for Probe {
    type Answer = i64;

    async fn run(&self, unit: &Unit<'_>) -> Result<i64, Error> {
        value(unit, WRITE_PROBE, &self.boot).await
    }
}

async fn value(sql: &impl Sql, statement: &str, boot: &str) -> Result<i64, Error> {
    let row = sql.row(statement, &[&boot]).await?.ok_or_else(|| unavailable("a row of totals is missing"))?;
    Fields::new(&row, "totals", "name").get("value")
}
