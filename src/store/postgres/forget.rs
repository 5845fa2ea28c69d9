//! What is over and old is deleted, oldest first, a bounded batch at a time.
//!
//! Ids begin with their time, so the old rows are the first stretch of the index on the id: no index on dates is needed. What
//! another transaction holds at this moment is passed by: its turn comes with the next sweep.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{CallbackId, MessageId};
use crate::failpoint::{Point, reach};
use crate::store::Error;
use crate::store::bounds::{ID_SLACK, limit as count, lowest_id};

const MESSAGES: &str = "DELETE FROM messages WHERE id IN
    (SELECT id FROM messages WHERE id < $1 AND updated_at < $2
        AND state IN ('sent', 'delivered', 'undelivered', 'rejected', 'failed', 'expired', 'canceled')
     ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)";

const CALLBACKS: &str = "DELETE FROM callbacks WHERE id IN
    (SELECT id FROM callbacks WHERE id < $1 AND received_at < $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)";

/// Receipts are numbered as they come: of the first, those that are old. The inner limit keeps it from reading on.
const RECEIPTS: &str = "DELETE FROM receipts WHERE id IN
    (SELECT id FROM receipts WHERE id IN (SELECT id FROM receipts ORDER BY id LIMIT $2) AND received_at < $1
     FOR UPDATE SKIP LOCKED)";

pub(super) struct ForgetMessages {
    pub(super) before: Timestamp,
    pub(super) limit: usize,
}

#[async_trait]
impl Command for ForgetMessages {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let bound = lowest_id(MessageId::PREFIX, self.before.plus(ID_SLACK));
        let gone = unit.execute(MESSAGES, &[&bound, &self.before, &count(self.limit)]).await?;
        reach(Point::ForgetWritten);
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}

/// Callbacks and receipts.
pub(super) struct ForgetInbox {
    pub(super) before: Timestamp,
    pub(super) limit: usize,
}

#[async_trait]
impl Command for ForgetInbox {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let bound = lowest_id(CallbackId::PREFIX, self.before.plus(ID_SLACK));
        let callbacks = unit.execute(CALLBACKS, &[&bound, &self.before, &count(self.limit)]).await?;
        let callbacks = usize::try_from(callbacks).unwrap_or(usize::MAX);
        let rest = count(self.limit.saturating_sub(callbacks));
        let receipts = unit.execute(RECEIPTS, &[&self.before, &rest]).await?;
        Ok(callbacks.saturating_add(usize::try_from(receipts).unwrap_or(usize::MAX)))
    }
}
