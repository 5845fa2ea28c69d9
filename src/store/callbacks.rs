//! What WeChat told us: kept first, then acknowledged.

use async_trait::async_trait;

use super::Error;
use crate::domain::callback::{NewCallback, Recorded};

#[async_trait]
pub trait Inbox: Send + Sync {
    /// Keeps the callback, its receipts' effects and the user's sign of life in one transaction, once per
    /// `(account, dedupe_key)`: a repeat writes nothing and gets the first reply. Never refused as overloaded: it waits.
    ///
    /// A final receipt settles the message of `(account, msgid)` when that is `sent` (or `sending`, `queued`, `unknown` with
    /// that msgid); of several, the receipt's own user's first. When no message has the msgid: exactly one message of the
    /// account and openid that is in doubt since less than a day (`unknown`, `queued` with `doubtful_since`, or `sent` without a
    /// msgid), and none that is `sending`, is taken to be the one. Otherwise the receipt is kept unmatched, for
    /// `Queue::settle` to find. The settled message's date of change is `received_at`.
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error>;
}
