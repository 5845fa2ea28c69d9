//! Webhooks as callers see them: a secret only once, when it is made.

use serde::Serialize;
use utoipa::ToSchema;

use super::millis;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;
use crate::domain::secret::Secret;
use crate::domain::webhook::{DisabledReason, WebhookOrigin};
use crate::services::webhooks::admin::{KnownWebhook, Probe};

/// Where a webhook is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookOrigin)]
pub enum OriginView {
    /// In the configuration; it is changed there.
    File,
    /// In the store; it is changed by this API.
    Store,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "wh_01ARZ3NDEKTSV4RRFFQ69G5FAV", "origin": "store", "url": "https://crm.example.com/wechat", "description": null,
    "events": ["message.*"], "accounts": ["shop"], "allow_private": false, "previous_secret_set": false, "enabled": true,
    "disabled_reason": null, "disabled_since": null, "pending": 0, "dead": 0, "lag_s": 0, "problem": null,
    "created_at": "2026-01-31T08:00:00.000Z", "updated_at": "2026-01-31T08:00:00.000Z"
}))]
pub struct WebhookView {
    /// `wh_…`, or its name in the configuration.
    pub id: String,
    pub origin: OriginView,
    pub url: String,
    pub description: Option<String>,
    /// Types, or how they begin; `["*"]`: all.
    pub events: Vec<String>,
    /// Null: of all accounts, and of none.
    pub accounts: Option<Vec<String>>,
    /// Addresses that are not public may be reached.
    pub allow_private: bool,
    /// Deliveries are signed with two secrets.
    pub previous_secret_set: bool,
    pub enabled: bool,
    /// `gone`: it has answered 410. `operator`: somebody has switched it off.
    pub disabled_reason: Option<DisabledReason>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub disabled_since: Option<Timestamp>,
    /// Deliveries under way: to be tried (again).
    pub pending: u64,
    /// Deliveries that were given up and are still kept.
    pub dead: u64,
    /// How long ago the oldest event happened that it has not been told, in seconds; 0: it has been told all.
    pub lag_s: u64,
    /// Why it cannot be used as it is; null when all is well.
    pub problem: Option<String>,
    /// Of a webhook of the configuration: when it was first seen.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookList {
    pub data: Vec<WebhookView>,
}

/// A webhook and its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewWebhookView {
    #[serde(flatten)]
    #[schema(inline)]
    pub webhook: WebhookView,
    /// What deliveries are signed with. It is not told again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedWebhook {
    pub id: String,
    /// Deliveries that were under way.
    pub canceled_deliveries: u64,
}

/// What came of a try.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "event_id": "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "delivered": false, "status_code": null, "duration_ms": 12,
    "error": "connect", "detail": "Connection refused (os error 111)"
}))]
pub struct TriedView {
    /// As in the header `webhook-id`.
    #[schema(value_type = String)]
    pub event_id: EventId,
    /// The endpoint has answered 2xx.
    pub delivered: bool,
    /// Null: there was no answer.
    pub status_code: Option<u16>,
    pub duration_ms: u64,
    /// `status` (an answer that is not 2xx), `blocked` (an address that must not be reached), `dns`, `connect`, `tls`, `timeout`,
    /// `broken` (the connection broke, or the answer is no HTTP); null: delivered.
    pub error: Option<&'static str>,
    /// More about it.
    pub detail: Option<String>,
}

impl WebhookView {
    pub fn of(known: KnownWebhook, now: Timestamp) -> Self {
        let lag = known.backlog.oldest_at.map(|oldest| now.since(oldest)).unwrap_or_default();
        Self {
            id: known.key,
            origin: match known.origin {
                WebhookOrigin::File => OriginView::File,
                WebhookOrigin::Stored => OriginView::Store,
            },
            url: known.url,
            description: known.description,
            events: known.events,
            accounts: known.accounts,
            allow_private: known.allow_private,
            previous_secret_set: known.is_rotating,
            enabled: known.disabled.is_none(),
            disabled_reason: known.disabled.map(|disabled| disabled.reason),
            disabled_since: known.disabled.map(|disabled| disabled.since),
            pending: known.backlog.pending,
            dead: known.backlog.dead,
            lag_s: lag.as_secs(),
            problem: known.problem,
            created_at: known.created_at,
            updated_at: known.updated_at,
        }
    }
}

impl NewWebhookView {
    pub fn of(known: KnownWebhook, secret: &Secret, now: Timestamp) -> Self {
        Self { webhook: WebhookView::of(known, now), secret: secret.expose().to_owned() }
    }
}

impl From<Probe> for TriedView {
    fn from(probe: Probe) -> Self {
        let status_code = probe.answer.as_ref().ok().map(|answer| answer.status);
        let (error, detail) = match probe.answer {
            Ok(answer) if answer.is_success() => (None, None),
            Ok(answer) => (Some("status"), Some(advice(answer.status))),
            Err(fault) => (Some(fault.kind.as_str()), Some(fault.detail)),
        };
        Self {
            event_id: probe.event_id,
            delivered: error.is_none(),
            status_code,
            duration_ms: millis(probe.took),
            error,
            detail,
        }
    }
}

fn advice(status: u16) -> String {
    match status {
        300..=399 => format!("{status}: redirects are not followed; name the URL that this one leads to"),
        401 | 403 => format!("{status}: the endpoint refuses us; does it verify the signature with this secret?"),
        410 => "410: the endpoint is gone; a delivery that is answered so disables the webhook".to_owned(),
        status => format!("{status}: only 2xx counts as delivered"),
    }
}
