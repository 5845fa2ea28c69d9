//! The way in: a message is kept together with its idempotency key, or not at all.

use std::time::Duration;

use async_trait::async_trait;

use super::Error;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{IdempotencyKey, NewMessage};

#[async_trait]
pub trait Outbox: Send + Sync {
    /// Keeps the message and its idempotency key in one transaction.
    ///
    /// With `first_lease`, the row is written as `sending`, generation 1, leased for that long to the caller, who goes
    /// on with `message.first_lease(hold)`. Without, it is `scheduled` (when `send_at` is set) or `queued`.
    /// When the key is known already, nothing is written. `message.id` was made at `created_at`, within a minute.
    /// `Error::Overloaded` is answered at once when the writer is too far behind. `Error::NoRoom` while `Counts::space` is
    /// short, and nothing is written; a repeat of a known key is answered all the same.
    async fn accept(&self, message: NewMessage, first_lease: Option<Duration>) -> Result<Accepted, Error>;

    /// What became of the request with this key: `None` when no such one was accepted. Never `Accepted::New`.
    async fn known(&self, key: &IdempotencyKey) -> Result<Option<Accepted>, Error>;

    /// Forgets idempotency keys that came before `before`, at most `limit`, oldest first; returns how many. Until it is
    /// called, a key is honoured whatever its age.
    async fn forget_keys(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// What became of an accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    New,
    /// The same key and the same body came before: this is its message.
    Replay {
        message_id: MessageId,
    },
    /// The same key came before with another body.
    Mismatch {
        message_id: MessageId,
    },
}
