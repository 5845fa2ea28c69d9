//! Webhooks: those made at run time, and how every one of them stands, also those in the file.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;
use crate::domain::webhook::signing::WebhookSecret;
use crate::domain::webhook::{DisabledReason, Standing, StoredWebhook, WebhookSecrets};

/// `act`: what is written into `audit` in the same transaction, if something was changed. `webhook` is always a webhook's key:
/// its name in the file, or the text of its id.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Keeps it, its secrets (which have to be there) sealed under `secrets.key` for its row and column; its standing begins at the
    /// newest event.
    async fn add(&self, webhook: StoredWebhook, act: Act) -> Result<(), Error>;

    /// All, by id: oldest first.
    async fn list(&self) -> Result<Vec<StoredWebhook>, Error>;

    /// Keeps url, secrets and options in place of revision `webhook.revision - 1`; `false` when that is not the present one.
    /// Secrets that are `None` stay as they are kept.
    async fn change(&self, webhook: StoredWebhook, act: Act) -> Result<bool, Error>;

    /// Deletes it with its standing; its pending deliveries become `canceled`. → how many; `None`: there is none.
    async fn remove(&self, webhook: &str, now: Timestamp, act: Act) -> Result<Option<u64>, Error>;

    /// Grows when any process has changed a webhook, or switched one on or off, since: cheap, for pollers.
    async fn version(&self) -> Result<i64, Error>;

    /// Makes sure that each of these has a standing: one that has none begins at the newest event, and is enabled.
    async fn enroll(&self, webhooks: Vec<String>, now: Timestamp) -> Result<(), Error>;

    /// Of all that have one, by key.
    async fn standings(&self) -> Result<Vec<Standing>, Error>;

    /// From now on nothing is claimed or tried for it; what is pending waits. `false`: it has no standing, or was disabled
    /// already (its reason stays).
    async fn disable(&self, webhook: &str, reason: DisabledReason, now: Timestamp, act: Act) -> Result<bool, Error>;

    /// It goes on where it stopped; with `skip` behind the newest event, and its pending deliveries become `canceled`.
    /// `false`: it has no standing, or was enabled already.
    async fn enable(&self, webhook: &str, skip: bool, now: Timestamp, act: Act) -> Result<bool, Error>;

    /// Those of `webhooks` whose lane is run by this process from now on: nobody else runs it, or whoever did is dead. At one time
    /// one process runs a lane; a process that has lost its place without noticing can claim nothing.
    async fn take(&self, webhooks: Vec<String>) -> Result<Vec<String>, Error>;

    /// Others may run these lanes.
    async fn give_back(&self, webhooks: Vec<String>) -> Result<(), Error>;
}

/// The columns that hold secrets.
pub(super) const SECRET: &str = "secret";
pub(super) const PREVIOUS_SECRET: &str = "previous_secret";

/// As they are kept: `secret`, `previous_secret`. Those that cannot be opened cannot be changed either: `None` stays as it is.
pub(super) type Sealed = (Option<String>, Option<String>);

pub(super) fn seal(sealer: &Sealer, id: &str, secrets: Option<&WebhookSecrets>) -> Result<Sealed, Error> {
    let seal = |secret: &WebhookSecret, column| {
        sealer
            .seal(secret.text(), &row_name(id, column))
            .map_err(|_| Error::Unavailable { reason: "the webhook cannot be sealed: check secrets.key".to_owned() })
    };
    let Some(secrets) = secrets else { return Ok((None, None)) };
    let previous = secrets.previous.as_ref().map(|previous| seal(previous, PREVIOUS_SECRET)).transpose()?;
    Ok((Some(seal(&secrets.current, SECRET)?), previous))
}

/// What comes of them again; `None`: not all of them can be opened.
pub(super) fn open(sealer: &Sealer, id: &str, secret: &str, previous: Option<&str>) -> Option<WebhookSecrets> {
    let open = |sealed: &str, column| {
        let secret = sealer.open(sealed, &row_name(id, column)).ok()?;
        WebhookSecret::parse(secret.expose())
    };
    let previous = match previous {
        Some(previous) => Some(open(previous, PREVIOUS_SECRET)?),
        None => None,
    };
    Some(WebhookSecrets { current: open(secret, SECRET)?, previous })
}

/// The row and column that a sealed secret is bound to.
pub(super) fn row_name(id: &str, column: &str) -> String {
    format!("webhook/{id}/{column}")
}
