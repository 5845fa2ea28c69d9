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
    /// that msgid). When no message has the msgid: exactly one message of the account and openid that is `unknown`, or
    /// `queued` with `doubtful_since`, and none that is `sending`, is taken to be the one. Otherwise the receipt is kept
    /// unmatched, for `Queue::settle` to find.
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error>;
}
