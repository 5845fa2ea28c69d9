//! Many messages accepted together: all on disk before any is answered for.

use async_trait::async_trait;

use super::Error;
use crate::domain::batch::{Batch, BatchCount, NewBatch, RejectedItem};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::message::{IdempotencyKey, NewMessage};

#[async_trait]
pub trait Batches: Send + Sync {
    /// Keeps the batch, its idempotency key and its messages (each with its place in the request, and as in
    /// [`super::Outbox::accept`] without a lease) in one transaction, or nothing of them.
    ///
    /// A message whose own idempotency key is known is not kept again: the batch then names the one that is there, or, when
    /// its body differs, a rejected item. With `atomic`, one such item and nothing is written. `Overloaded` as in `accept`.
    async fn keep(&self, batch: NewBatch, messages: Vec<(u32, NewMessage)>, atomic: bool) -> Result<KeptBatch, Error>;

    /// What became of the batch with this key: `None` when there is none. Never `KeptBatch::New` or `Refused`.
    async fn known(&self, key: &IdempotencyKey) -> Result<Option<KeptBatch>, Error>;

    /// The batch, and its messages by account and state (those that retention has taken are not counted).
    async fn look_up(&self, id: BatchId) -> Result<Option<(Batch, Vec<BatchCount>)>, Error>;

    /// As `Messages::cancel`, for each message of the batch in these accounts (`None`: all) that is `scheduled` or `queued`.
    /// → how many were.
    async fn cancel(&self, id: BatchId, accounts: Option<Vec<String>>, now: Timestamp) -> Result<usize, Error>;

    /// Forgets batches that came before `before` and have no message any more, at most `limit`; → how many.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBatch {
    New(Batch),
    /// `atomic`, and these items are in the way. Nothing was written.
    Refused(Vec<RejectedItem>),
    /// The same key and body came before.
    Replay(Batch),
    /// The same key came before with another body.
    Mismatch {
        batch_id: BatchId,
    },
}

/// The first of these with the same key, when its body is another.
pub(super) fn earlier_in<'a>(
    messages: impl IntoIterator<Item = &'a NewMessage>,
    key: &IdempotencyKey,
) -> Option<MessageId> {
    let (message, known) = messages.into_iter().find_map(|message| {
        let known = message.idempotency.as_ref()?;
        let is_same = known.client == key.client && known.endpoint == key.endpoint && known.key == key.key;
        is_same.then_some((message, known))
    })?;
    (known.body_hash != key.body_hash).then_some(message.id)
}
