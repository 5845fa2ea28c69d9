//! Keys made by `wxgate key create`. File-configured ones are not here.

use async_trait::async_trait;

use super::Error;
use crate::domain::caller::Key;
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Keys: Send + Sync {
    /// `Unavailable` when there is a key with this id.
    async fn add(&self, key: Key) -> Result<(), Error>;

    /// All, revoked ones included, oldest first.
    async fn list(&self) -> Result<Vec<Key>, Error>;

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error>;

    /// `false` when there is no such key, or it was revoked before.
    async fn revoke(&self, id: &str, now: Timestamp) -> Result<bool, Error>;

    /// Grows when any process has added or revoked a key since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;
}
