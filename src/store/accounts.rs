//! Accounts made at run time. File-configured ones are not here.

use async_trait::async_trait;

use super::Error;
use crate::domain::account::{AccountSecrets, SecretField, StoredAccount};
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;
use crate::domain::secret::Secret;

/// `act`: what is written into `audit` in the same transaction, if something was changed.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Keeps it, every secret sealed under `secrets.key` for its row and column.
    async fn add(&self, account: StoredAccount, act: Act) -> Result<Added, Error>;

    /// All, by name. A secret that cannot be opened is named in `lost`.
    async fn list(&self) -> Result<Vec<StoredAccount>, Error>;

    async fn look_up(&self, name: &str) -> Result<Option<StoredAccount>, Error>;

    /// Keeps it in place of revision `account.revision - 1`; `false` when that is not the present one. Its `app_id` stays.
    async fn change(&self, account: StoredAccount, act: Act) -> Result<bool, Error>;

    /// Deletes it with its kept token; its messages, users and callbacks stay. Not while messages of it are under way,
    /// unless `force`.
    async fn remove(&self, name: &str, force: bool, act: Act) -> Result<Removed, Error>;

    /// Grows when any process has changed an account since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;
}

/// What `add` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    Kept,
    /// There is an account with this name.
    NameTaken,
    /// There is one with this `app_id`.
    AppTaken,
}

/// What `remove` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// With so many messages left that wait for the account.
    Done {
        waiting: u64,
    },
    /// So many messages of it are under way.
    Busy {
        waiting: u64,
    },
    NotThere,
}

/// The columns that hold secrets, as they are kept, in the order of [`SecretField::ALL`].
pub(super) type Sealed = [Option<String>; SecretField::ALL.len()];

pub(super) fn seal(sealer: &Sealer, name: &str, secrets: &AccountSecrets) -> Result<Sealed, Error> {
    let mut sealed = Sealed::default();
    for (field, sealed) in SecretField::ALL.into_iter().zip(&mut sealed) {
        let Some(secret) = secrets.get(field) else { continue };
        let reason = || "the account cannot be sealed: check secrets.key".to_owned();
        let text = sealer.seal(secret, &row_name(name, field)).map_err(|_| Error::Unavailable { reason: reason() })?;
        *sealed = Some(text);
    }
    Ok(sealed)
}

/// What comes of them again, and what cannot be opened.
pub(super) fn open(sealer: &Sealer, name: &str, sealed: Sealed) -> (AccountSecrets, Vec<SecretField>) {
    let (mut secrets, mut lost) = (AccountSecrets::default(), Vec::new());
    for (field, sealed) in SecretField::ALL.into_iter().zip(sealed) {
        let opened: Option<Result<Secret, _>> = sealed.map(|sealed| sealer.open(&sealed, &row_name(name, field)));
        match opened {
            None => {}
            Some(Ok(secret)) => secrets.set(field, Some(secret)),
            Some(Err(_)) => lost.push(field),
        }
    }
    (secrets, lost)
}

/// The row and column that a sealed secret is bound to.
pub(super) fn row_name(name: &str, field: SecretField) -> String {
    format!("account/{name}/{}", field.as_str())
}
