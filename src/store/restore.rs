//! After a backup was put back: what it shows as waiting may have been sent since. For a store that no gateway serves.

use async_trait::async_trait;

use super::{Error, StateCount};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Restore: Send + Sync {
    /// How many other processes serve the store at this moment.
    async fn others(&self) -> Result<u64, Error> {
        Ok(0)
    }

    /// The latest date of anything that is kept: the backup was taken then, or later. `None` when nothing is kept. Looks at
    /// every row.
    async fn newest(&self) -> Result<Option<Timestamp>, Error>;

    /// How many messages may have been sent since the backup: those that are `sending`, and those `scheduled` or `queued`
    /// that are due at `now`. What is due later was not due in the time that is missing. Lines without a message are left out.
    async fn at_stake(&self, now: Timestamp) -> Result<Vec<StateCount>, Error>;

    /// Makes those `unknown`, reason `restored`, at most `limit` at a time; returns how many, 0 when none is left.
    /// Their `doubtful_since` is cleared, so that only a receipt with their own `msgid` settles them: receipts of messages
    /// that the backup does not know come to the same users. A row that cannot be read becomes `unknown`, reason `corrupt`.
    /// `act` is written into `audit` in the same transaction.
    async fn doubt(&self, now: Timestamp, limit: usize, act: Option<Act>) -> Result<usize, Error>;
}
