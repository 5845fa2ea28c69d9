//! The last good token of each account: in SQL for a restart, in Redis for the other nodes.

use std::time::Duration;

use async_trait::async_trait;

use super::Error;
use crate::domain::token::AccessToken;

#[async_trait]
pub trait Tokens: Send + Sync {
    /// `None` when there is none, or it was sealed under another key.
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error>;

    /// Keeps it sealed, unless a newer generation is kept already (`false`).
    async fn keep(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error>;
}

/// The same, shared between nodes. Every verb gives up within 100 ms; an error means only: go on without.
#[async_trait]
pub trait SharedTokens: Send + Sync {
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error>;

    /// Publishes it unless a newer generation is there (`false`). Forgotten when the token expires.
    async fn publish(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error>;

    /// Takes the right to refresh for `hold`; `None` when another node has it.
    async fn lock(&self, account: &str, app_id: &str, hold: Duration) -> Result<Option<RefreshLock>, Error>;

    /// Gives the right back, if it is still ours.
    async fn unlock(&self, lock: RefreshLock) -> Result<(), Error>;

    /// For `/ready` and `doctor`.
    async fn ping(&self) -> Result<(), Error>;
}

/// The row that a sealed token is bound to.
pub(super) fn row_name(account: &str) -> String {
    format!("token/{account}")
}

/// The right to refresh one account's token.
#[derive(Debug, Clone)]
pub struct RefreshLock {
    pub key: String,
    pub holder: String,
}
