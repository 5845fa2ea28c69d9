//! Events: a list to go through, or as they happen (server-sent events; [`super::events_ws`] is the same as a WebSocket).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, LINK, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::messages::time_of;
use super::watching::Watching;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventFilter, KindPattern};
use crate::domain::ids::{BatchId, EventId, MessageId};
use crate::http::context::Patience;
use crate::http::error::{ApiError, Code, Problem};
use crate::http::extract::page;
use crate::http::extract::query::Query;
use crate::http::extract::watcher::Watcher;
use crate::services::access::Access;
use crate::services::feed::Feed;

const LIST: &str = "/v1/events";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that gather answers before they hand them on leave this one alone.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Between two signs of life; proxies close what is silent for longer.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a reader may take nothing before it is cut.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// When a browser comes back after a break.
const COME_BACK: Duration = Duration::from_secs(2);

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "type": "message.delivered", "timestamp": "2026-01-31T08:00:05.000Z",
    "account": "shop", "data": {"message_id": "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "client": "order-service",
    "touser": "oABCD1234567890abcdefghijklmn", "template_id": "TPL", "state": "delivered",
    "msgid": "3487542469355618313", "errcode": 0, "errmsg": "ok", "attempts": 1, "created_at": "2026-01-31T08:00:00.000Z"}
}))]
pub struct EventView {
    #[schema(value_type = String)]
    pub id: EventId,
    #[serde(rename = "type")]
    pub kind: String,
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// `null`: it concerns several accounts, or none.
    pub account: Option<String>,
    /// Of `callback.*`: as in `CallbackEvent`.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

impl EventView {
    fn of(event: Event) -> Self {
        Self { id: event.id, kind: event.kind, timestamp: event.at, account: event.account, data: event.data }
    }
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    pub data: Vec<EventView>,
    /// For the next page; `null`: there is none yet.
    pub next_cursor: Option<String>,
}

/// Events, oldest first; with `Accept: text/event-stream` as they happen.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "list_events", tag = "events", security(("key" = ["read"])),
    params(
        ("types" = Option<String>, Query, description = "Types, separated by commas: `message.sent`, or `message.*` for all that begin so.", example = "message.*,batch.finished"),
        ("account" = Option<String>, Query,), ("message_id" = Option<String>, Query,), ("batch_id" = Option<String>, Query,),
        ("created_after" = Option<String>, Query, description = "RFC 3339"), ("created_before" = Option<String>, Query, description = "RFC 3339"),
        ("after" = Option<String>, Query, description = "An event's id: only what came behind it."),
        ("limit" = Option<u32>, Query, description = "1–200, default 50; a list only"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; a list only"),
        ("last_event_id" = Option<String>, Query, description = "As the header; a stream only"),
        ("ticket" = Option<String>, Query, description = "In place of a key and of filters; a stream only"),
        ("Last-Event-ID" = Option<String>, Header, description = "A stream goes on behind this event. Without it (or `after`), it begins now."),
    ),
    responses(
        (status = 200, description = "A page, or a stream of server-sent events: `id`, `event` (the type) and `data` (what a page has for it).",
            content((EventList = "application/json", example = json!({"data": [{"id": "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "type": "token.conflict",
                "timestamp": "2026-01-31T08:00:05.000Z", "account": "shop", "data": {"generation": 7}}], "next_cursor": null})),
                (String = "text/event-stream", example = "id: evt_01ARZ3NDEKTSV4RRFFQ69G5FAV\nevent: message.delivered\ndata: {\"id\":\"evt_01ARZ3NDEKTSV4RRFFQ69G5FAV\",…}\n\n")),
            headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    watcher: Watcher,
    State(feed): State<Feed>,
    State(access): State<Access>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Watcher { caller, filter, mut query, web_origin } = watcher;
    let has_ticket = filter.is_some();
    let filter = filter.unwrap_or_else(|| self::filter(&mut query));
    let after = after(&mut query, "after");
    if wants_stream(&headers) {
        let last = after_header(&headers).or(self::after(&mut query, "last_event_id")).or(after);
        query.close()?;
        let listening = feed.listen(&caller, filter, last).await?;
        let mut response = stream_of(Watching::new(listening, access, caller));
        let_pages_read(web_origin, response.headers_mut());
        return Ok(response);
    }
    if has_ticket {
        let detail = "a ticket opens a stream: send Accept: text/event-stream, as EventSource does";
        return Err(ApiError::new(Code::MalformedRequest, detail));
    }
    let page = page::take(&mut query, |key| EventId::parse(key).is_some());
    query.close()?;
    let after = page.after.as_deref().and_then(EventId::parse).or(after);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let stretch = feed.list(&caller, filter, after, limit).await?;
    let last = stretch.events.last().filter(|_| stretch.is_full).map(|event| event.id.to_string());
    let next_cursor = last.as_deref().map(page::cursor);
    let link = next_cursor.as_deref().map(|cursor| page::next_link(LIST, uri.query().unwrap_or_default(), cursor));
    let data = stretch.events.into_iter().map(EventView::of).collect();
    let mut response = axum::Json(EventList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// What list, stream and WebSocket share.
pub(super) fn filter(query: &mut Query) -> EventFilter {
    let time = "an RFC 3339 time such as 2026-01-31T08:00:00Z";
    let kinds = query.parsed("types", "types such as message.sent,batch.finished or message.*", |text| {
        text.split(',').map(|part| KindPattern::parse(part.trim())).collect::<Option<Vec<_>>>()
    });
    EventFilter {
        visible_accounts: None,
        account: query.text("account"),
        message_id: query.parsed("message_id", "an id that starts with msg_", MessageId::parse),
        batch_id: query.parsed("batch_id", "an id that starts with bat_", BatchId::parse),
        kinds: kinds.unwrap_or_default(),
        created_after: query.parsed("created_after", time, time_of),
        created_before: query.parsed("created_before", time, time_of),
    }
}

pub(super) fn after(query: &mut Query, name: &'static str) -> Option<EventId> {
    query.parsed(name, "an id that starts with evt_", EventId::parse)
}

/// Browsers send back what they had last, whatever it was: what is no id of ours is as if it were not there.
pub(super) fn after_header(headers: &HeaderMap) -> Option<EventId> {
    headers.get(LAST_EVENT_ID)?.to_str().ok().and_then(EventId::parse)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim()).any(|kind| kind == "text/event-stream")
}

fn stream_of(watching: Watching) -> Response {
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    let mut response = Sse::new(frames(watching)).keep_alive(alive).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response.extensions_mut().insert(Patience(PATIENCE));
    response
}

/// The pages that a ticket is for may read the answer, wherever they come from.
fn let_pages_read(web_origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    let Some(origin) = web_origin else { return };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// The first frame comes at once, so that whoever listens knows that it does.
fn frames(watching: Watching) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    let first = stream::once(async { sse::Event::default().retry(COME_BACK).comment("listening") });
    let rest = stream::unfold(watching, |mut watching| async move {
        loop {
            let event = watching.next().await?;
            let frame = sse::Event::default().id(event.id.to_string()).event(event.kind.clone());
            match frame.json_data(&*event) {
                Ok(frame) => return Some((frame, watching)),
                Err(error) => tracing::error!(%error, event.id = %event.id, "an event cannot be told"),
            }
        }
    });
    first.chain(rest).map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_checked() {
        let mut query =
            Query::parse("types=message.*,%20batch.finished&account=shop&created_after=2026-01-31T08:00:00Z");
        let query = query.as_mut().unwrap();
        let filter = filter(query);
        assert_eq!((filter.kinds.len(), filter.account.as_deref()), (2, Some("shop")));
        for wrong in ["types=mess*", "types=a,,b", "message_id=bat_1", "created_before=today", "type=x", "after=msg_1"]
        {
            let mut query = Query::parse(wrong).unwrap();
            super::filter(&mut query);
            after(&mut query, "after");
            assert!(query.close().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_is_asked_for_by_name() {
        for (accept, expected) in
            [("text/event-stream", true), ("application/json, text/event-stream;q=0.9", true), ("*/*", false)]
        {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_stream(&headers), expected, "{accept}");
        }
    }
}
