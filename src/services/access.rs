//! Station 1: who calls. Keys from the configuration and from the store.

use crate::domain::caller::{Caller, Key, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No such key, wrong secret, expired or revoked: the caller learns no more.
    #[error("the key is not known, has expired or was revoked")]
    Refused,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    pub client: String,
    pub scopes: Vec<Scope>,
    pub accounts: Option<Vec<String>>,
    pub templates: Option<Vec<String>>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone)]
pub struct Access {}

impl Access {
    /// `wxg_<keyid>_<secret>` → the caller.
    pub async fn authenticate(&self, _bearer: &str) -> Result<Caller, AccessError> {
        todo!()
    }

    /// Makes a key; the whole text `wxg_…` is known only now.
    pub async fn create(&self, _request: KeyRequest) -> Result<(Key, Secret), store::Error> {
        todo!()
    }

    /// Is there any key at all, configured or stored, that still works?
    pub async fn has_keys(&self) -> Result<bool, store::Error> {
        todo!()
    }
}
