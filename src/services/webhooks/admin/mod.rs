//! What callers may do to webhooks. Those of the configuration are changed there, those of the store are made, changed and
//! deleted here; all of them can be switched, tried, looked into and replayed.

mod change;
mod check;
mod known;
mod probe;
mod replay;
mod secrets;

use std::sync::Arc;

pub use change::WebhookChange;
pub use known::KnownWebhook;
pub use probe::Probe;
pub use secrets::NewWebhook;

use self::known::Found;
use crate::config::webhooks::WebhookConfig;
use crate::domain::audit::{Act, Action};
use crate::domain::caller::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::WebhookId;
use crate::domain::webhook::Backlog;
use crate::domain::webhook::address::Reach;
use crate::services::accept::FieldError;
use crate::services::accounts::Accounts;
use crate::services::webhooks::register::Webhooks;
use crate::store;
use crate::upstream::outside::OutsideClient;

/// Somebody else changed the same webhook in between: how often a change is tried anew.
const TRIES: usize = 5;
/// Each has connections and a lane of its own.
const MOST: usize = 200;

#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Not there, or not for this caller.
    #[error("there is no such webhook")]
    NotFound,
    /// The caller's key is bound to accounts.
    #[error("this key is bound to accounts: name one or more of them in `accounts`, and no others")]
    Forbidden,
    #[error("the webhook is not valid")]
    Invalid(Vec<FieldError>),
    /// It clashes with what is there.
    #[error("{detail}")]
    Conflict { detail: String },
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl WebhookError {
    fn busy() -> Self {
        Self::Conflict { detail: "others change this webhook all the time: try again".to_owned() }
    }

    /// Under another `secrets.key`.
    fn lost() -> Self {
        let detail = "its secret cannot be opened: rotate it first (POST /v1/webhooks/{id}/rotate)".to_owned();
        Self::Conflict { detail }
    }
}

pub struct AdminDoors {
    pub known: Webhooks,
    pub stored: Arc<dyn store::Webhooks>,
    pub deliveries: Arc<dyn store::Deliveries>,
    pub accounts: Accounts,
    pub client: OutsideClient,
    pub clock: Arc<dyn Clock>,
}

#[derive(Clone)]
pub struct WebhookAdmin {
    inner: Arc<Inner>,
}

struct Inner {
    configured: Vec<WebhookConfig>,
    doors: AdminDoors,
}

impl WebhookAdmin {
    pub fn new(doors: AdminDoors, configured: Vec<WebhookConfig>) -> Self {
        Self { inner: Arc::new(Inner { configured, doors }) }
    }

    /// Those of the configuration by name, then the others, oldest first; those that the caller may see.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<KnownWebhook>, WebhookError> {
        let configured = self.inner.configured.iter().cloned().map(Box::new).map(Found::File);
        let stored = self.inner.doors.stored.list().await?.into_iter().map(|stored| Found::Stored(Box::new(stored)));
        let visible = configured.chain(stored).filter(|found| found.is_visible_to(caller));
        let standings = self.inner.doors.stored.standings().await?;
        let mut known = Vec::new();
        for found in visible {
            let key = found.key();
            let standing = standings.iter().find(|standing| standing.webhook == key).cloned();
            let backlog = self.backlog(&found).await?;
            known.push(KnownWebhook::new(found, standing, backlog, self.reach()));
        }
        Ok(known)
    }

    pub async fn look_up(&self, caller: &Caller, key: &str) -> Result<KnownWebhook, WebhookError> {
        let found = self.find(caller, key).await?;
        let standings = self.inner.doors.stored.standings().await?;
        let standing = standings.into_iter().find(|standing| standing.webhook == key);
        let backlog = self.backlog(&found).await?;
        Ok(KnownWebhook::new(found, standing, backlog, self.reach()))
    }

    /// What is so already stays as it is, and is no act.
    pub async fn change(
        &self,
        caller: &Caller,
        key: &str,
        change: &WebhookChange,
    ) -> Result<KnownWebhook, WebhookError> {
        self.apply(caller, key, change).await?;
        self.look_again().await;
        self.look_up(caller, key).await
    }

    /// → how many deliveries were canceled.
    pub async fn delete(&self, caller: &Caller, key: &str) -> Result<u64, WebhookError> {
        let Found::Stored(stored) = self.find(caller, key).await? else {
            return Err(stands_in_file(key));
        };
        let now = self.now();
        let act = act(now, caller, Action::WebhookDeleted, key, stored.options.accounts.as_deref());
        let canceled = self.inner.doors.stored.remove(key, now, act).await?.ok_or(WebhookError::NotFound)?;
        self.look_again().await;
        Ok(canceled)
    }

    /// What may be reached by webhooks that are not let everywhere.
    fn reach(&self) -> &Reach {
        self.inner.doors.client.reach()
    }

    /// Here at once; elsewhere within a second. What fails now is done by the next tick.
    async fn look_again(&self) {
        if let Err(error) = self.inner.doors.known.refresh().await {
            tracing::warn!(%error, "the changed webhooks cannot be read: the next look takes them over");
        }
    }

    fn now(&self) -> Timestamp {
        self.inner.doors.clock.now()
    }

    async fn backlog(&self, found: &Found) -> Result<Backlog, store::Error> {
        self.inner.doors.deliveries.backlog(&found.key(), found.interest(), None).await
    }

    /// What is not there, and what the caller may not see, are the same.
    async fn find(&self, caller: &Caller, key: &str) -> Result<Found, WebhookError> {
        let configured =
            self.inner.configured.iter().find(|webhook| webhook.name == key).cloned().map(Box::new).map(Found::File);
        let found = match (configured, WebhookId::parse(key)) {
            (Some(found), _) => Some(found),
            (None, None) => None,
            (None, Some(id)) => {
                let mut stored = self.inner.doors.stored.list().await?.into_iter();
                stored.find(|stored| stored.id == id).map(|stored| Found::Stored(Box::new(stored)))
            }
        };
        found.filter(|found| found.is_visible_to(caller)).ok_or(WebhookError::NotFound)
    }
}

fn stands_in_file(name: &str) -> WebhookError {
    let detail = format!(
        "webhook {name:?} stands in the configuration ([webhooks.{name}]): change it there; only `enabled` is set here"
    );
    WebhookError::Conflict { detail }
}

/// An act on a webhook. It belongs to an account when the webhook belongs to that one alone.
fn act(now: Timestamp, caller: &Caller, action: Action, key: &str, accounts: Option<&[String]>) -> Act {
    let act = Act::new(now, caller, action, key);
    match accounts {
        Some([only]) => act.of_account(only),
        _ => act,
    }
}
