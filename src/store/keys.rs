//! Keys made by `wxgate key create`. File-configured ones are not here.

use async_trait::async_trait;

use super::Error;
use crate::domain::caller::Key;
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Keys: Send + Sync {
    async fn add(&self, key: Key) -> Result<(), Error>;

    /// All, revoked ones included, oldest first.
    async fn list(&self) -> Result<Vec<Key>, Error>;

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error>;

    /// `false` when there is no such key, or it was revoked before.
    async fn revoke(&self, id: &str, now: Timestamp) -> Result<bool, Error>;

    /// Changes when any process has written to the store since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;
}
