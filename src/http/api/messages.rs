//! Sends, and messages read back and changed.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LOCATION, CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderName, HeaderValue, Uri};
use utoipa::ToSchema;

use super::send_request::SendRequest;
use super::views::{MessageList, MessageView, RehearsalView, SentView, status_of};
use crate::config::http::ApiConfig;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::message::MessageFilter;
use crate::domain::state;
use crate::failpoint::{Point, reach};
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed, Read, Send};
use crate::http::extract::fields::{Faults, Fields};
use crate::http::extract::idempotency::IdempotencyKey;
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::http::extract::page;
use crate::http::extract::path::MessagePath;
use crate::http::extract::prefer::Prefer;
use crate::http::extract::query::Query;
use crate::http::limits;
use crate::services::accept::{Accept, Kept, Wait};
use crate::services::reports::Reports;

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const LIST: &str = "/v1/messages";

/// Send one message.
///
/// 200: WeChat has accepted it. 202: it is kept and under way. Any 4xx or 5xx: nothing more will be sent.
#[utoipa::path(
    post, path = "/send-template", operation_id = "send_template", tag = "messages", security(("key" = ["send"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1–255 visible ASCII characters, kept 7 days: the same key and body give the same message."),
        ("Prefer" = Option<String>, Header, description = "`respond-async`: 202 at once. `wait=N`: wait N seconds for the outcome, at most 30."),
    ),
    request_body = SendRequest,
    responses(
        (status = 200, description = "WeChat has accepted it (or, for a dry run, what would be sent).", body = SentView,
            headers(("Location" = String, description = "The message."), ("Idempotency-Replayed" = bool, description = "`true`: it was here before."))),
        (status = 202, description = "It is kept and under way.", body = SentView),
        (status = "4XX", description = "Refused; see `code`.", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not sent; see `code`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn send(
    Allowed(caller, _): Allowed<Send>,
    State(accept): State<Accept>,
    State(api): State<Arc<ApiConfig>>,
    Extension(context): Extension<RequestContext>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    prefer: Prefer,
    ApiJson { value: request, hash }: ApiJson<SendRequest>,
) -> Result<Response, ApiError> {
    reach(Point::RequestRead);
    let (dry_run, wait) = (request.dry_run, if request.r#async { Wait::Not } else { prefer.wait(api.wait) });
    let mut input = request.into_input();
    input.idempotency_key = idempotency_key;
    input.body_hash = hash;
    input.trace = context.traceparent.as_deref().map(str::to_owned);
    if dry_run {
        let rehearsal = accept.rehearse(&caller, input).await?;
        return Ok(axum::Json(RehearsalView::of(rehearsal)?).into_response());
    }
    Ok(answer(accept.send(&caller, input, wait).await?))
}

/// The answer for a message that is kept, whatever became of it.
fn answer(kept: Kept) -> Response {
    reach(Point::AnswerReady);
    let id = kept.message.id;
    let mut response = match status_of(&kept.message) {
        Ok(status) => match serde_json::to_vec(&SentView::of(kept.message, kept.warnings)) {
            Ok(body) => (status, [(CONTENT_TYPE, JSON)], body).into_response(),
            Err(_) => ApiError::internal().into_response(),
        },
        Err(problem) => problem.into_response(),
    };
    if let Ok(location) = HeaderValue::from_str(&format!("{LIST}/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    if kept.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    limits::tell(response.headers_mut(), &kept.limits);
    response
}

/// One message, with its attempts and history.
#[utoipa::path(
    get, path = "/v1/messages/{id}", operation_id = "read_message", tag = "messages", security(("key" = ["read"])),
    params(("id" = String, Path, description = "`msg_…`")),
    responses(
        (status = 200, description = "The message.", body = MessageView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look_up(
    Allowed(caller, _): Allowed<Read>,
    State(reports): State<Reports>,
    State(clock): State<Arc<dyn Clock>>,
    MessagePath(id): MessagePath,
) -> Result<axum::Json<MessageView>, ApiError> {
    let message = reports.look_up(&caller, id).await?;
    Ok(axum::Json(MessageView::of(message, clock.now())))
}

/// Messages, newest first.
#[utoipa::path(
    get, path = "/v1/messages", operation_id = "list_messages", tag = "messages", security(("key" = ["read"])),
    params(
        ("account" = Option<String>, Query,), ("state" = Option<state::State>, Query,), ("touser" = Option<String>, Query,),
        ("template_id" = Option<String>, Query,), ("batch_id" = Option<String>, Query,), ("client" = Option<String>, Query,),
        ("created_after" = Option<String>, Query, description = "RFC 3339"), ("created_before" = Option<String>, Query, description = "RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1–200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page.", body = MessageList, headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Read>,
    State(reports): State<Reports>,
    State(clock): State<Arc<dyn Clock>>,
    uri: Uri,
    mut query: Query,
) -> Result<Response, ApiError> {
    let filter = filter(&mut query);
    let wanted = page::take(&mut query, |key| MessageId::parse(key).is_some());
    query.close()?;
    let found = reports.list(&caller, filter, wanted).await?;
    let next_cursor = found.next.as_deref().map(page::cursor);
    let link = next_cursor.as_deref().map(|cursor| page::next_link(LIST, uri.query().unwrap_or_default(), cursor));
    let now = clock.now();
    let data = found.items.into_iter().map(|message| MessageView::of(message, now)).collect();
    let mut response = axum::Json(MessageList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn filter(query: &mut Query) -> MessageFilter {
    let states: Vec<&str> = state::State::ALL.iter().map(|state| state.as_str()).collect();
    let time = "an RFC 3339 time such as 2026-01-31T08:00:00Z";
    MessageFilter {
        visible_accounts: None,
        account: query.text("account"),
        state: query.parsed("state", &states.join(", "), state::State::parse),
        touser: query.text("touser"),
        template_id: query.text("template_id"),
        batch_id: query.parsed("batch_id", "an id that starts with bat_", BatchId::parse),
        client: query.text("client"),
        created_after: query.parsed("created_after", time, time_of),
        created_before: query.parsed("created_before", time, time_of),
    }
}

/// In a query a bare `+` means a blank, and everybody forgets that when they write `+08:00`.
pub(super) fn time_of(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&text.replacen(' ', "+", 1)))
}

/// Cancel a message that still waits.
#[utoipa::path(
    delete, path = "/v1/messages/{id}", operation_id = "cancel_message", tag = "messages", security(("key" = ["send"])),
    params(("id" = String, Path, description = "`msg_…`")),
    responses(
        (status = 200, description = "It is `canceled`.", body = MessageView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_sending`: too late.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(
    Allowed(caller, _): Allowed<Send>,
    State(reports): State<Reports>,
    State(clock): State<Arc<dyn Clock>>,
    MessagePath(id): MessagePath,
) -> Result<axum::Json<MessageView>, ApiError> {
    let message = reports.cancel(&caller, id).await?;
    Ok(axum::Json(MessageView::of(message, clock.now())))
}

/// Send a `failed`, `expired`, `undelivered` or `unknown` message again, as a new one.
#[utoipa::path(
    post, path = "/v1/messages/{id}/retry", operation_id = "retry_message", tag = "messages", security(("key" = ["send"])),
    params(("id" = String, Path, description = "`msg_…`")),
    responses(
        (status = 200, description = "WeChat has accepted the new message.", body = SentView),
        (status = 202, description = "The new message is kept and under way; `retry_of` names the old one.", body = SentView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_sending`: its state does not allow a retry.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn retry(
    Allowed(caller, _): Allowed<Send>,
    State(reports): State<Reports>,
    MessagePath(id): MessagePath,
) -> Result<Response, ApiError> {
    let kept = reports.retry(&caller, id).await?;
    let mut response = answer(kept);
    if let Some(location) = response.headers().get(LOCATION).cloned() {
        response.headers_mut().insert(CONTENT_LOCATION, location);
    }
    Ok(response)
}

/// What an operator found out about an `unknown` message.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"state": "sent"}))]
pub struct ResolveRequest {
    #[schema(value_type = ResolvedState)]
    pub state: state::State,
}

#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ResolvedState {
    Sent,
    Failed,
}

impl FromJson for ResolveRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut state = None;
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            let parse = |text: &str| match state::State::parse(text) {
                Some(state @ (state::State::Sent | state::State::Failed)) => Some(state),
                _ => None,
            };
            state = fields.choice("state", &["sent", "failed"], parse, &mut faults);
            fields.close(&mut faults);
        }
        faults.check()?;
        if let Some(state) = state {
            return Ok(Self { state });
        }
        let mut faults = Faults::default();
        faults.malformed("/state", "required", "expected sent or failed");
        faults.check().and(Err(ApiError::internal()))
    }
}

/// Settle an `unknown` message by an operator's word.
#[utoipa::path(
    post, path = "/v1/messages/{id}/resolve", operation_id = "resolve_message", tag = "messages", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`msg_…`")),
    request_body = ResolveRequest,
    responses(
        (status = 200, description = "It is settled.", body = MessageView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`already_sending`: it is not `unknown`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn resolve(
    Allowed(caller, _): Allowed<Admin>,
    State(reports): State<Reports>,
    State(clock): State<Arc<dyn Clock>>,
    MessagePath(id): MessagePath,
    ApiJson { value: request, .. }: ApiJson<ResolveRequest>,
) -> Result<axum::Json<MessageView>, ApiError> {
    let message = reports.resolve(&caller, id, request.state).await?;
    Ok(axum::Json(MessageView::of(message, clock.now())))
}

#[cfg(test)]
mod tests {
    use super::super::views::tests::message;
    use super::*;
    use crate::http::error::Code;

    #[test]
    fn a_kept_message_has_its_place_whatever_became_of_it() {
        for (state, status) in [(state::State::Sent, 200), (state::State::Queued, 202), (state::State::Failed, 502)] {
            let kept = Kept { message: message(state), replayed: true, warnings: Vec::new(), limits: Vec::new() };
            let response = answer(kept);
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[LOCATION], "/v1/messages/msg_01ARZ3NDEKTSV4RRFFQ69G5FAV");
            assert_eq!(response.headers()[IDEMPOTENCY_REPLAYED], "true");
        }
        let kept =
            Kept { message: message(state::State::Sent), replayed: false, warnings: Vec::new(), limits: Vec::new() };
        assert!(!answer(kept).headers().contains_key(IDEMPOTENCY_REPLAYED));
    }

    #[test]
    fn filters_are_read_and_checked() {
        let mut query = Query::parse("account=shop&state=sent&created_after=2026-01-31T08:00:00Z&client=a").unwrap();
        let filter = filter(&mut query);
        assert!(query.close().is_ok());
        assert_eq!((filter.account.as_deref(), filter.state), (Some("shop"), Some(state::State::Sent)));
        for wrong in ["state=gone", "created_before=today", "batch_id=msg_1", "sate=sent"] {
            let mut query = Query::parse(wrong).unwrap();
            super::filter(&mut query);
            assert!(query.close().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_operator_may_say_sent_or_failed() {
        let read = |text: &str| ResolveRequest::from_json(Json::parse(text).unwrap());
        assert_eq!(read(r#"{"state":"failed"}"#).unwrap().state, state::State::Failed);
        for wrong in ["{}", r#"{"state":"queued"}"#, r#"{"state":null}"#, r#"{"state":"sent","x":1}"#, "[]"] {
            assert_eq!(read(wrong).unwrap_err().code(), Code::MalformedRequest, "{wrong}");
        }
    }
}
