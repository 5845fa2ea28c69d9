//! Keys made by `wxgate key create`. File-configured ones are not here.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::caller::{Key, Signing};
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;

/// `act`: what is written into `audit` in the same transaction, if something was changed.
#[async_trait]
pub trait Keys: Send + Sync {
    /// `Unavailable` when there is a key with this id. The secret of one that signs is kept in `sealed_secret`, sealed under
    /// `secrets.key` for the row [`row_name`]; of the others that column is null.
    async fn add(&self, key: Key, act: Act) -> Result<(), Error>;

    /// All, revoked ones included, oldest first. `Signing::Lost`: what is in `sealed_secret` cannot be opened.
    async fn list(&self) -> Result<Vec<Key>, Error>;

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error>;

    /// `false` when there is no such key, or it was revoked before. Its `sealed_secret` becomes null with it.
    async fn revoke(&self, id: &str, now: Timestamp, act: Act) -> Result<bool, Error>;

    /// Keeps when keys were used last: the later of what is kept and what is given, one transaction for all of them. Keys that
    /// are not there are left out. The version stays as it is.
    async fn touch(&self, used: Vec<(String, Timestamp)>) -> Result<(), Error>;

    /// Grows when any process has added or revoked a key since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;
}

/// What is kept in `sealed_secret`.
pub(super) fn seal(sealer: &Sealer, key: &Key) -> Result<Option<String>, Error> {
    let Signing::With(secret) = &key.signing else { return Ok(None) };
    let reason = || "the secret cannot be sealed: check secrets.key".to_owned();
    sealer.seal(secret, &row_name(&key.id)).map(Some).map_err(|_| Error::Unavailable { reason: reason() })
}

/// What comes of it again.
pub(super) fn open(sealer: &Sealer, id: &str, sealed: Option<String>) -> Signing {
    match sealed.map(|sealed| sealer.open(&sealed, &row_name(id))) {
        None => Signing::Not,
        Some(Ok(secret)) => Signing::With(secret),
        Some(Err(_)) => Signing::Lost,
    }
}

/// The row that a sealed secret is bound to.
pub(super) fn row_name(id: &str) -> String {
    format!("key/{id}")
}
