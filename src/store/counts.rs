//! Figures of the store, kept up to date by its writer: reading them costs no query over messages.

use async_trait::async_trait;

use super::Error;
use crate::domain::clock::Timestamp;
use crate::domain::state::{Lane, State};

#[async_trait]
pub trait Counts: Send + Sync {
    /// How many messages stand in each state; retired (deleted) ones are still counted in their last state.
    fn states(&self) -> Vec<StateCount>;

    /// How many messages were ever accepted. Equals the sum of `states`, or something is wrong.
    fn accepted(&self) -> u64;

    /// `accepted` less the sum of `states`, both of one moment: 0 always.
    fn unaccounted(&self) -> i64;

    /// The oldest due date of a row that is ready: `queued` or `scheduled`, and that date has passed.
    async fn oldest_ready(&self, now: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// Final receipts that no message has claimed yet.
    async fn unmatched_receipts(&self) -> Result<u64, Error>;

    /// The room on the volume that the store keeps its files on, as it was seen last: about once a second while it is
    /// written to. `None`: it has none of its own (a database server sees to that itself), or it is not known yet.
    fn space(&self) -> Option<Space> {
        None
    }

    /// Writes and reads back one row: for `/ready` and `doctor`.
    async fn probe(&self) -> Result<(), Error>;
}

/// Room on the store's volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    /// Too little: `Outbox::accept` answers `Error::NoRoom`.
    pub is_short: bool,
}

/// One line of `Counts::states`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCount {
    pub account: String,
    pub lane: Lane,
    pub state: State,
    pub count: u64,
}
