//! Who is not written to, and the operator's word that they may be again.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::time_of;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::domain::suppression::{Suppression, SuppressionFilter, SuppressionReason};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed, Read};
use crate::http::extract::page;
use crate::http::extract::path::Texts;
use crate::http::extract::query::Query;
use crate::services::suppressions::Suppressions;

/// Somebody whom sends are refused for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "account": "shop", "openid": "oABCD1234567890abcdefghijklmn", "reason": "not_subscribed", "errcode": 43004,
    "errmsg": "require subscribe", "since": "2026-01-31T08:00:00.012Z"
}))]
pub struct SuppressionView {
    pub account: String,
    pub openid: String,
    pub reason: SuppressionReason,
    /// WeChat's; there is none when a receipt said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i64>,
    pub errmsg: String,
    /// When WeChat said it last.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// One page of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionList {
    /// By openid.
    pub data: Vec<SuppressionView>,
    /// For `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

impl From<Suppression> for SuppressionView {
    fn from(suppression: Suppression) -> Self {
        Self {
            account: suppression.account,
            openid: suppression.openid.as_str().to_owned(),
            reason: suppression.reason,
            errcode: suppression.reason.errcode(),
            errmsg: suppression.errmsg,
            since: suppression.since,
        }
    }
}

/// Openids of an account that sends are refused for, because WeChat has refused them before.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/suppressions", operation_id = "list_suppressions", tag = "users",
    security(("key" = ["read"])),
    params(
        ("account" = String, Path,), ("openid" = Option<String>, Query,), ("reason" = Option<SuppressionReason>, Query,),
        ("since_after" = Option<String>, Query, description = "RFC 3339"), ("since_before" = Option<String>, Query, description = "RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1–200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page, by openid.", body = SuppressionList, headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Read>,
    State(suppressions): State<Suppressions>,
    Texts(account): Texts<String>,
    uri: Uri,
    mut query: Query,
) -> Result<Response, ApiError> {
    let filter = filter(&mut query);
    let wanted = page::take(&mut query, |key| Openid::parse(key).is_some());
    query.close()?;
    let found = suppressions.list(&caller, &account, filter, wanted).await?;
    let next_cursor = found.next.as_deref().map(page::cursor);
    let path = format!("/v1/accounts/{account}/suppressions");
    let link = next_cursor.as_deref().map(|cursor| page::next_link(&path, uri.query().unwrap_or_default(), cursor));
    let data = found.items.into_iter().map(SuppressionView::from).collect();
    let mut response = axum::Json(SuppressionList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn filter(query: &mut Query) -> SuppressionFilter {
    let reasons = SuppressionReason::ALL.map(SuppressionReason::as_str).join(", ");
    let time = "an RFC 3339 time such as 2026-01-31T08:00:00Z";
    SuppressionFilter {
        openid: query.parsed("openid", "an openid", Openid::parse),
        reason: query.parsed("reason", &reasons, SuppressionReason::parse),
        since_after: query.parsed("since_after", time, time_of),
        since_before: query.parsed("since_before", time, time_of),
    }
}

/// Let sends to this openid go to WeChat again.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/suppressions/{openid}", operation_id = "lift_suppression", tag = "users",
    security(("key" = ["admin"])),
    params(("account" = String, Path,), ("openid" = String, Path,)),
    responses(
        (status = 204, description = "It is not suppressed any more, if it was."),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn lift(
    Allowed(caller, _): Allowed<Admin>,
    State(suppressions): State<Suppressions>,
    Texts((account, openid)): Texts<(String, String)>,
) -> Result<StatusCode, ApiError> {
    suppressions.lift(&caller, &account, &openid).await?;
    Ok(StatusCode::NO_CONTENT)
}
