//! Who did what to the gateway itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, Uri};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::messages::time_of;
use crate::domain::audit::{Act, ActFilter, Action};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AuditId;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed};
use crate::http::extract::page;
use crate::http::extract::query::Query;
use crate::services::audits::Audits;

const LIST: &str = "/v1/audit";

/// One administrative act.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActView {
    #[schema(value_type = String, example = "aud_01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub id: AuditId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The client; `cli:` and a system user; or `gateway`, for what it does by itself.
    #[schema(example = "ops")]
    pub actor: String,
    pub key_id: Option<String>,
    pub action: Action,
    pub account: Option<String>,
    /// The id of what was changed.
    pub object: String,
    /// More about it: names of fields, never a secret.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    pub request_id: Option<String>,
    /// Whose request it was, as far as proxies are trusted.
    pub remote: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ActList {
    pub data: Vec<ActView>,
    pub next_cursor: Option<String>,
}

impl From<Act> for ActView {
    fn from(act: Act) -> Self {
        Self {
            id: act.id,
            at: act.at,
            actor: act.actor.name,
            key_id: act.actor.key_id,
            action: act.action,
            account: act.account,
            object: act.object,
            details: act.details,
            request_id: act.actor.origin.request_id.map(|id| id.to_string()),
            remote: act.actor.origin.remote.map(|remote| remote.to_string()),
        }
    }
}

/// Administrative acts, newest first.
///
/// A key that is bound to accounts sees those of its accounts only.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "list_audit", tag = "audit", security(("key" = ["admin"])),
    params(
        ("account" = Option<String>, Query,), ("actor" = Option<String>, Query,), ("action" = Option<Action>, Query,),
        ("created_after" = Option<String>, Query, description = "RFC 3339"), ("created_before" = Option<String>, Query, description = "RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1–200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page.", body = ActList, headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Admin>,
    State(audits): State<Audits>,
    uri: Uri,
    mut query: Query,
) -> Result<Response, ApiError> {
    let actions = Action::ALL.map(Action::as_str).join(", ");
    let time = "an RFC 3339 time such as 2026-01-31T08:00:00Z";
    let filter = ActFilter {
        visible_accounts: None,
        account: query.text("account"),
        actor: query.text("actor"),
        action: query.parsed("action", &actions, Action::parse),
        after: query.parsed("created_after", time, time_of),
        before: query.parsed("created_before", time, time_of),
    };
    let wanted = page::take(&mut query, |key| AuditId::parse(key).is_some());
    query.close()?;
    let found = audits.list(&caller, filter, wanted).await?;
    let next_cursor = found.next.as_deref().map(page::cursor);
    let link = next_cursor.as_deref().map(|cursor| page::next_link(LIST, uri.query().unwrap_or_default(), cursor));
    let data = found.items.into_iter().map(ActView::from).collect();
    let mut response = axum::Json(ActList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}
