//! What people and programs do to the gateway itself, and who did it: one entry for each administrative act.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::caller::Caller;
use super::clock::Timestamp;
use super::ids::AuditId;

/// What was done. Its text never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub enum Action {
    #[serde(rename = "key.created")]
    KeyCreated,
    #[serde(rename = "key.revoked")]
    KeyRevoked,
    #[serde(rename = "account.created")]
    AccountCreated,
    #[serde(rename = "account.changed")]
    AccountChanged,
    #[serde(rename = "account.deleted")]
    AccountDeleted,
    /// An `unknown` message was settled by an operator's word.
    #[serde(rename = "message.resolved")]
    MessageResolved,
    /// A business user id was bound or unbound.
    #[serde(rename = "user.bound")]
    UserBound,
    /// A user got other tags.
    #[serde(rename = "user.tagged")]
    UserTagged,
    /// What is known of a user here was deleted.
    #[serde(rename = "user.forgotten")]
    UserForgotten,
    /// Somebody whom WeChat has refused may be written to again.
    #[serde(rename = "suppression.lifted")]
    SuppressionLifted,
    #[serde(rename = "webhook.created")]
    WebhookCreated,
    #[serde(rename = "webhook.changed")]
    WebhookChanged,
    #[serde(rename = "webhook.deleted")]
    WebhookDeleted,
    #[serde(rename = "webhook.enabled")]
    WebhookEnabled,
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// It was given another secret.
    #[serde(rename = "webhook.rotated")]
    WebhookRotated,
    /// Events were told once more.
    #[serde(rename = "webhook.replayed")]
    WebhookReplayed,
    /// `wxgate secrets rekey`
    #[serde(rename = "secrets.rekeyed")]
    SecretsRekeyed,
    /// `wxgate restore-check --apply`
    #[serde(rename = "restore.applied")]
    RestoreApplied,
}

impl Action {
    pub const ALL: [Self; 19] = [
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::AccountCreated,
        Self::AccountChanged,
        Self::AccountDeleted,
        Self::MessageResolved,
        Self::UserBound,
        Self::UserTagged,
        Self::UserForgotten,
        Self::SuppressionLifted,
        Self::WebhookCreated,
        Self::WebhookChanged,
        Self::WebhookDeleted,
        Self::WebhookEnabled,
        Self::WebhookDisabled,
        Self::WebhookRotated,
        Self::WebhookReplayed,
        Self::SecretsRekeyed,
        Self::RestoreApplied,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyCreated => "key.created",
            Self::KeyRevoked => "key.revoked",
            Self::AccountCreated => "account.created",
            Self::AccountChanged => "account.changed",
            Self::AccountDeleted => "account.deleted",
            Self::MessageResolved => "message.resolved",
            Self::UserBound => "user.bound",
            Self::UserTagged => "user.tagged",
            Self::UserForgotten => "user.forgotten",
            Self::SuppressionLifted => "suppression.lifted",
            Self::WebhookCreated => "webhook.created",
            Self::WebhookChanged => "webhook.changed",
            Self::WebhookDeleted => "webhook.deleted",
            Self::WebhookEnabled => "webhook.enabled",
            Self::WebhookDisabled => "webhook.disabled",
            Self::WebhookRotated => "webhook.rotated",
            Self::WebhookReplayed => "webhook.replayed",
            Self::SecretsRekeyed => "secrets.rekeyed",
            Self::RestoreApplied => "restore.applied",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// By which request something was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub request_id: Option<Arc<str>>,
    /// As far as proxies are trusted.
    pub remote: Option<IpAddr>,
}

/// Who does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The client's name; `cli:<system user>` of a command; `gateway` of what it does by itself.
    pub name: String,
    pub key_id: Option<String>,
    pub origin: Origin,
}

impl Actor {
    /// What the gateway does by itself, at its first start.
    pub fn gateway() -> Self {
        Self { name: "gateway".to_owned(), key_id: None, origin: Origin::default() }
    }

    /// A command of the command line.
    pub fn command(system_user: &str) -> Self {
        Self { name: format!("cli:{system_user}"), key_id: None, origin: Origin::default() }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        Self { name: caller.client.clone(), key_id: Some(caller.key_id.clone()), origin: caller.origin.clone() }
    }
}

/// One act. It is kept in the transaction of the change that it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub id: AuditId,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    /// The account it belongs to: who is bound to accounts sees only acts of those.
    pub account: Option<String>,
    /// The id of what was changed.
    pub object: String,
    /// More about it: names of fields, never a secret.
    pub details: Map<String, Value>,
}

impl Act {
    pub fn new(now: Timestamp, actor: impl Into<Actor>, action: Action, object: impl Into<String>) -> Self {
        Self {
            id: AuditId::generate(now),
            at: now,
            actor: actor.into(),
            action,
            account: None,
            object: object.into(),
            details: Map::new(),
        }
    }

    #[must_use]
    pub fn of_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// What a list of acts is narrowed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActFilter {
    /// Of these accounts only; `None`: of all, and of none.
    pub visible_accounts: Option<Vec<String>>,
    pub account: Option<String>,
    pub actor: Option<String>,
    pub action: Option<Action>,
    /// The first moment that counts.
    pub after: Option<Timestamp>,
    /// The first moment that no longer does.
    pub before: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{}\"", action.as_str()));
        }
    }
}
