//! Messages read back, and what callers and operators may change by hand.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;

#[async_trait]
pub trait Messages: Send + Sync {
    async fn look_up(&self, id: MessageId) -> Result<Option<Message>, Error>;

    /// Newest first; `page.after` and `next` are message ids. `created_after` is the first moment that counts,
    /// `created_before` the first that no longer does. Rows that cannot be read are left out. `Unavailable`, with advice, when
    /// it would take too long: the filter has to be narrower then. It never holds up the queue or a look-up.
    async fn list(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<Message>, Error>;

    /// `scheduled` or `queued` → `canceled` (with `doubtful_since`: `unknown`, reason `canceled`). Returns the state
    /// afterwards; `None` when there is no such message. Any other state stays.
    async fn cancel(&self, id: MessageId, now: Timestamp) -> Result<Option<Changed>, Error>;

    /// `act` is written into `audit` in the same transaction, if it was applied.
    /// `unknown` → `state` (`sent` or `failed`; any other changes nothing), reason `operator`. As `cancel` otherwise.
    /// A row that cannot be read can still be ended as `failed`; anything else about it is `Corrupt`.
    async fn resolve(&self, id: MessageId, state: State, now: Timestamp, act: Act) -> Result<Option<Changed>, Error>;

    /// Deletes messages that are over (final, or `sent`: no receipt comes any more) and have not changed since `before`: at
    /// most `limit`, oldest first; returns how many. `Counts` still counts them. What is under way or `unknown` stays.
    /// Idempotency keys are not touched: keep messages for longer than them.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// What a change by hand did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    pub applied: bool,
    pub state: State,
}
