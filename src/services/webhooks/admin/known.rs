//! A webhook, wherever it was made, and how it stands.

use crate::config::webhooks::WebhookConfig;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::webhook::address::Reach;
use crate::domain::webhook::{Backlog, Disabled, Interest, Standing, StoredWebhook, WebhookOrigin};
use crate::upstream::webhook::Subscriber;

/// Its settings.
pub(super) enum Found {
    File(Box<WebhookConfig>),
    Stored(Box<StoredWebhook>),
}

impl Found {
    pub(super) fn key(&self) -> String {
        match self {
            Self::File(webhook) => webhook.name.clone(),
            Self::Stored(webhook) => webhook.id.to_string(),
        }
    }

    pub(super) fn interest(&self) -> Interest {
        match self {
            Self::File(webhook) => webhook.interest(),
            Self::Stored(webhook) => webhook.options.interest(),
        }
    }

    pub(super) fn accounts(&self) -> Option<&[String]> {
        match self {
            Self::File(webhook) => webhook.accounts.as_deref(),
            Self::Stored(webhook) => webhook.options.accounts.as_deref(),
        }
    }

    /// Whoever is bound to accounts sees the webhooks that are told of those and no others.
    pub(super) fn is_visible_to(&self, caller: &Caller) -> bool {
        is_within(caller, self.accounts())
    }

    /// `None`: it cannot be used, as [`KnownWebhook::problem`] tells.
    pub(super) fn subscriber(&self) -> Option<Subscriber> {
        let webhook = match self {
            Self::File(webhook) => webhook.webhook(),
            Self::Stored(webhook) => webhook.webhook()?,
        };
        Some(Subscriber::of(&webhook))
    }
}

/// Does it concern accounts of this caller alone?
pub(super) fn is_within(caller: &Caller, accounts: Option<&[String]>) -> bool {
    caller.accounts.is_none()
        || accounts.is_some_and(|accounts| accounts.iter().all(|account| caller.may_use_account(account)))
}

/// What may be told of a webhook. No secret.
#[derive(Clone, Debug)]
pub struct KnownWebhook {
    /// Its name in the configuration, or the text of its id.
    pub key: String,
    pub origin: WebhookOrigin,
    pub url: String,
    pub description: Option<String>,
    /// Patterns of types; never empty.
    pub events: Vec<String>,
    pub accounts: Option<Vec<String>>,
    pub allow_private: bool,
    /// Two secrets sign.
    pub is_rotating: bool,
    pub disabled: Option<Disabled>,
    pub backlog: Backlog,
    /// Why it cannot be used as it is.
    pub problem: Option<String>,
    /// Of one of the configuration: when it was first seen.
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
}

impl KnownWebhook {
    pub(super) fn new(found: Found, standing: Option<Standing>, backlog: Backlog, reach: &Reach) -> Self {
        let (key, problem) = (found.key(), problem_of(&found, reach));
        let disabled = standing.as_ref().and_then(|standing| standing.disabled);
        match found {
            Found::File(webhook) => Self {
                key,
                origin: WebhookOrigin::File,
                url: webhook.url.as_str().to_owned(),
                description: None,
                events: patterns(webhook.events.iter().map(ToString::to_string).collect()),
                accounts: webhook.accounts,
                allow_private: webhook.allow_private,
                is_rotating: webhook.previous_secret.is_some(),
                disabled,
                backlog,
                problem,
                created_at: standing.map(|standing| standing.created_at),
                updated_at: None,
            },
            Found::Stored(webhook) => Self {
                key,
                origin: WebhookOrigin::Stored,
                url: webhook.url.as_str().to_owned(),
                description: webhook.options.description,
                events: patterns(webhook.options.events),
                accounts: webhook.options.accounts,
                allow_private: false,
                is_rotating: webhook.secrets.is_some_and(|secrets| secrets.previous.is_some()),
                disabled,
                backlog,
                problem,
                created_at: Some(webhook.created_at),
                updated_at: Some(webhook.updated_at),
            },
        }
    }
}

/// None of them means all.
fn patterns(written: Vec<String>) -> Vec<String> {
    if written.is_empty() { vec!["*".to_owned()] } else { written }
}

fn problem_of(found: &Found, reach: &Reach) -> Option<String> {
    let Found::Stored(webhook) = found else { return None };
    if webhook.secrets.is_none() {
        let cure = "put that key back, or rotate: POST /v1/webhooks/{id}/rotate";
        return Some(format!("its secret is sealed under another secrets.key: {cure}"));
    }
    let is_closed = webhook.url.is_plainly_forbidden(reach);
    is_closed.then(|| "its address is not public, and webhooks.allow_cidrs does not open it any more".to_owned())
}
