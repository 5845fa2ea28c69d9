//! What WeChat told us: kept first, then acknowledged.

use async_trait::async_trait;

use super::Error;
use crate::domain::callback::{NewCallback, Recorded, RelayStanding, RelayStep};
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Inbox: Send + Sync {
    /// Keeps the callback, its receipts' effects and the user's sign of life in one transaction, once per
    /// `(account, dedupe_key)`: a repeat writes nothing and gets the first reply
    /// and how its relay stands (one that is relayed begins `pending`). Never refused as overloaded: it waits.
    ///
    /// A final receipt settles the message of its `(account, msgid)` and its user when that is `sent` (or `sending`,
    /// `queued`, `unknown` with that msgid): a msgid alone is not enough, WeChat has given one to two users. When there is
    /// none, and it reports a template message: exactly one message of the account and openid that is in doubt since less
    /// than a day (`doubtful_since` is set, and it is `unknown`, `queued` or `sent`: a repeat may be answered with another
    /// msgid than the one its receipt names), unless there is a rival, is taken to be the one. Otherwise the receipt is kept
    /// unmatched, for `Queue::settle` to find. The settled message's date of change is `received_at`.
    ///
    /// A rival is another message of the account and openid that WeChat may have shown under a msgid that we do not know:
    /// one that is `sending`, and, since less than a day, one that was answered with "busy" and has no receipt, or one that an
    /// operator has ended as `failed`.
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error>;

    /// Takes a step of a relayed callback if it stands where the step begins: its state, the reply that repeats get, and the
    /// event. Otherwise nothing is changed. → how it stands now; `None`: there is no such callback (any more).
    async fn step_relay(&self, step: RelayStep) -> Result<Option<RelayStanding>, Error>;

    /// Forgets callbacks, what makes each one of a kind, and receipts that came before `before`: at most `limit` rows in all,
    /// oldest first; returns how many. A repeat of a forgotten callback is a first one again, and a forgotten receipt settles
    /// nothing any more.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}
