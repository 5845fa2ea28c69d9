//! The last good token of each account: in SQL for a restart, in Redis for the other nodes.

use std::time::Duration;

use async_trait::async_trait;

use super::{Allowance, Error};
use crate::domain::token::AccessToken;

#[async_trait]
pub trait Tokens: Send + Sync {
    /// `None` when there is none, or it was sealed under another key.
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error>;

    /// Keeps it sealed, unless a newer generation is kept already (`false`).
    async fn keep(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error>;
}

/// The same, shared between nodes. No verb takes longer than what is left of the allowance; an error means only: go on without.
#[async_trait]
pub trait SharedTokens: Send + Sync {
    async fn load(&self, allowance: &mut Allowance, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error>;

    /// Publishes it unless a newer generation is there (`false`). Forgotten when the token expires.
    async fn publish(
        &self,
        allowance: &mut Allowance,
        account: &str,
        app_id: &str,
        token: &AccessToken,
    ) -> Result<bool, Error>;

    /// Takes the right to refresh for `hold`; `None` when another node has it. If it was taken without our learning it, it is
    /// given back as soon as that is possible.
    async fn lock(
        &self,
        allowance: &mut Allowance,
        account: &str,
        app_id: &str,
        hold: Duration,
    ) -> Result<Option<RefreshLock>, Error>;

    /// Gives the right back, if it is still ours; after an error, as soon as that is possible.
    async fn unlock(&self, allowance: &mut Allowance, lock: RefreshLock) -> Result<(), Error>;
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
    pub hold: Duration,
}
