//! Messages read back, and what callers and operators may change by hand.

use async_trait::async_trait;

use super::Error;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;

#[async_trait]
pub trait Messages: Send + Sync {
    async fn look_up(&self, id: MessageId) -> Result<Option<Message>, Error>;

    /// Newest first; `page.after` and `next` are message ids. `created_after` is the first moment that counts,
    /// `created_before` the first that no longer does.
    async fn list(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<Message>, Error>;

    /// `scheduled` or `queued` → `canceled` (with `doubtful_since`: `unknown`, reason `canceled`). Returns the state
    /// afterwards; `None` when there is no such message. Any other state stays.
    async fn cancel(&self, id: MessageId, now: Timestamp) -> Result<Option<Changed>, Error>;

    /// `unknown` → `state` (`sent` or `failed`; any other changes nothing), reason `operator`. As `cancel` otherwise.
    async fn resolve(&self, id: MessageId, state: State, now: Timestamp) -> Result<Option<Changed>, Error>;
}

/// What a change by hand did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    pub applied: bool,
    pub state: State,
}
