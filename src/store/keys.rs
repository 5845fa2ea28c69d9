//! Keys made by `wxgate key create`. File-configured ones are not here.

use async_trait::async_trait;

use super::Error;
use crate::domain::caller::Key;
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Keys: Send + Sync {
    /// `Unavailable` when there is a key with this id. The secret of one that signs is kept in `sealed_secret`, sealed under
    /// `secrets.key` for the row [`row_name`]; of the others that column is null.
    async fn add(&self, key: Key) -> Result<(), Error>;

    /// All, revoked ones included, oldest first. `Signing::Lost`: what is in `sealed_secret` cannot be opened.
    async fn list(&self) -> Result<Vec<Key>, Error>;

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error>;

    /// `false` when there is no such key, or it was revoked before. Its `sealed_secret` becomes null with it.
    async fn revoke(&self, id: &str, now: Timestamp) -> Result<bool, Error>;

    /// Keeps when keys were used last: the later of what is kept and what is given, one transaction for all of them. Keys that
    /// are not there are left out. The version stays as it is.
    async fn touch(&self, used: Vec<(String, Timestamp)>) -> Result<(), Error>;

    /// Grows when any process has added or revoked a key since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;
}

/// The row that a sealed secret is bound to.
pub(super) fn row_name(id: &str) -> String {
    format!("key/{id}")
}
