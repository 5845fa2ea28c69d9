//! A transaction whose COMMIT was on its way when the connection was lost.
//!
//! The database knows: each transaction writes its number into `totals` (a row of this process), and the next connection
//! reads which one was the last. Its callers wait for that. When it takes too long they are told that nothing was accepted;
//! so, if the database then turns out to have the messages all the same, they are taken back (`canceled`, reason
//! `unconfirmed`) and their idempotency keys forgotten; what was lent goes back to the queue. Two gaps are left, and are told in the log or by the state: another
//! node may have lent such a message before we are connected again, and this process may end before.

use std::time::Duration;

use tokio::time::Instant;

use super::batches;
use super::command::{Notes, Unit};
use super::fault::{self, unavailable};
use super::link::Link;
use super::nodes::Nodes;
use super::sql::Sql;
use super::standing::{self, Standing};
use super::writer::{Jobs, answer_all};
use super::{events, figures};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::state::State;
use crate::store::Error;
use crate::store::figures::Figures;

/// How long callers wait to hear what became of their commands.
const WAIT: Duration = Duration::from_secs(5);
/// How long asking may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The reason of what was accepted without anybody being told.
const UNCONFIRMED: &str = "unconfirmed";

pub(super) struct Doubt {
    number: i64,
    /// Empty when they no longer wait.
    jobs: Jobs,
    notes: Notes,
    deadline: Instant,
}

impl Doubt {
    pub(super) fn new(number: i64, jobs: Jobs, notes: Notes) -> Self {
        Self { number, jobs, notes, deadline: Instant::now() + WAIT }
    }

    /// `None`: nobody waits.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        (!self.jobs.is_empty()).then_some(self.deadline)
    }

    /// From now on it has to be undone, if it was done.
    pub(super) fn stop_waiting(&mut self) {
        if !self.jobs.is_empty() {
            let error = unavailable("the connection was lost during a commit, and the database is away since");
            tracing::error!(%error, commands = self.jobs.len(), "what was written last is not known");
            answer_all(std::mem::take(&mut self.jobs), &Err(error));
        }
    }

    /// Asks the database over a new connection. An error: it could not be asked, ask again.
    pub(super) async fn clear(&mut self, nodes: Option<&Nodes>, link: &Link, figures: &Figures) -> Result<(), Error> {
        let cleared = tokio::time::timeout(LIMIT, self.clear_in_time(nodes, link, figures)).await;
        cleared.unwrap_or_else(|_| Err(fault::silent()))
    }

    async fn clear_in_time(&mut self, nodes: Option<&Nodes>, link: &Link, figures: &Figures) -> Result<(), Error> {
        let is_committed = match link.last {
            Some(last) => Some(last == self.number),
            None if self.notes.accepted.is_empty() => None,
            None => Some(self.is_any_there(link).await?),
        };
        if is_committed == Some(true) && self.jobs.is_empty() {
            return self.take_back(nodes, link).await;
        }
        let outcome = match is_committed {
            Some(true) => {
                figures.add(&self.notes.deltas);
                Ok(())
            }
            Some(false) => Err(unavailable("the connection was lost before the commit: nothing was written")),
            None => {
                Err(unavailable("the connection was lost during the commit: look what is there before trying again"))
            }
        };
        answer_all(std::mem::take(&mut self.jobs), &outcome);
        Ok(())
    }

    /// The database has forgotten this process (others took it for dead): its messages tell.
    async fn is_any_there(&self, link: &Link) -> Result<bool, Error> {
        let select = "SELECT 1 FROM messages WHERE id = ANY ($1::text[]) LIMIT 1";
        Ok(Unit::new(&link.client).row(select, &[&self.ids()]).await?.is_some())
    }

    fn ids(&self) -> Vec<MessageId> {
        self.notes.accepted.iter().map(|(id, _)| *id).collect()
    }

    async fn take_back(&self, nodes: Option<&Nodes>, link: &Link) -> Result<(), Error> {
        let Some(nodes) = nodes else { return Ok(()) };
        let unit = Unit::new(&link.client);
        unit.simple("BEGIN").await?;
        let now = unit.row("SELECT (extract(epoch FROM now()) * 1000)::bigint AS now", &[]).await?;
        let now: Timestamp = now.ok_or_else(|| unavailable("the database has no time"))?.try_get("now")?;
        self.give_back(&unit, nodes.boot(), now).await?;
        let canceled = self.cancel(&unit, nodes.boot(), now).await?;
        let missed = self.missed(&unit).await?;
        events::finish(&unit).await?;
        events::write(&unit, &unit.take_tidings()).await?;
        let (deltas, _) = unit.sums(None);
        // Under its own number: should this be in doubt too, it is done once more.
        figures::write(&unit, nodes.boot(), self.number, &deltas).await?;
        unit.simple("COMMIT").await?;
        if !canceled.is_empty() {
            tracing::warn!(messages = ?canceled, "canceled: their callers had been told that nothing was accepted");
        }
        if !missed.is_empty() {
            tracing::error!(messages = ?missed, "sent, although their callers had been told that nothing was accepted");
        }
        Ok(())
    }

    /// What was lent, and whoever asked for it does not know.
    async fn give_back(&self, unit: &Unit<'_>, boot: &str, now: Timestamp) -> Result<(), Error> {
        let found = self.still(unit, &self.notes.lent, "state = 'sending' AND lease_boot = $2", boot).await?;
        for mut message in found {
            message.change(unit, State::Queued, Some(UNCONFIRMED), now).await?;
            unit.is_due();
        }
        Ok(())
    }

    /// What nobody has begun to send: it waits still, or was lent to its caller, who has left.
    async fn cancel(&self, unit: &Unit<'_>, boot: &str, now: Timestamp) -> Result<Vec<MessageId>, Error> {
        let untouched = "doubtful_since IS NULL AND (state IN ('scheduled', 'queued')
            OR (state = 'sending' AND lease_boot = $2 AND lease_generation = 1))";
        let mut canceled = Vec::new();
        for mut message in self.still(unit, &self.ids(), untouched, boot).await? {
            message.change(unit, State::Canceled, Some(UNCONFIRMED), now).await?;
            canceled.push(message.id);
        }
        for (_, key) in self.notes.accepted.iter().filter(|(id, _)| canceled.contains(id)) {
            if let Some(key) = key {
                let delete = "DELETE FROM idempotency WHERE client = $1 AND endpoint = $2 AND key = $3";
                unit.execute(delete, &[&key.client, &key.endpoint, &key.key]).await?;
            }
        }
        batches::disown(unit, &self.notes.batches).await?;
        Ok(canceled)
    }

    async fn still(
        &self,
        unit: &Unit<'_>,
        ids: &[MessageId],
        condition: &str,
        boot: &str,
    ) -> Result<Vec<Standing>, Error> {
        let select = format!(
            "SELECT {} FROM messages WHERE id = ANY ($1::text[]) AND {condition} FOR UPDATE",
            standing::COLUMNS
        );
        unit.rows(&select, &[&ids, &boot]).await?.iter().map(Standing::read).collect()
    }

    /// What another node was faster with.
    async fn missed(&self, unit: &Unit<'_>) -> Result<Vec<String>, Error> {
        let select = "SELECT id FROM messages WHERE id = ANY ($1::text[]) AND state <> 'canceled'";
        let rows = unit.rows(select, &[&self.ids()]).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }
}
