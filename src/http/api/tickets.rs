//! Tickets for browsers, whose `EventSource` and `WebSocket` cannot set headers.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::event::{EventFilter, KindPattern};
use crate::domain::ids::{BatchId, MessageId};
use crate::http::error::{ApiError, Code, Problem};
use crate::http::extract::caller::{Allowed, Read};
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::services::access::{Access, TicketRequest};

const DEFAULT_TTL_S: u64 = 3_600;
const MAX_TTL_S: u64 = 86_400;
/// More patterns than types make no sense, and the ticket stands in a URL.
const MAX_TYPES: usize = 20;

/// What the page shall see, and for how long. Conditions are those of a list of events.
#[derive(Debug, ToSchema)]
#[schema(as = TicketRequest, example = json!({"types": ["message.*"], "account": "shop", "ttl_s": 3600, "origin": "https://console.example.com"}))]
pub struct TicketBody {
    /// `message.sent`, or `message.*` for all that begin so; 20 at most.
    #[schema(value_type = Option<Vec<String>>)]
    pub types: Vec<KindPattern>,
    pub account: Option<String>,
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    #[schema(value_type = Option<String>)]
    pub batch_id: Option<BatchId>,
    /// The web origin whose pages may use it, when it is not the gateway's own.
    pub origin: Option<String>,
    /// Seconds for which a stream can be begun or resumed, 1–86400; default 3600.
    #[schema(value_type = Option<u64>)]
    pub ttl_s: u64,
}

impl FromJson for TicketBody {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::open(json, "", &mut faults) else {
            faults.check()?;
            return Err(ApiError::internal());
        };
        let read = Self {
            types: types(&mut fields, &mut faults),
            account: fields.string("account", &mut faults),
            message_id: id(&mut fields, "message_id", "msg_", MessageId::parse, &mut faults),
            batch_id: id(&mut fields, "batch_id", "bat_", BatchId::parse, &mut faults),
            origin: origin(&mut fields, &mut faults),
            ttl_s: fields.integer("ttl_s", 1..=MAX_TTL_S, &mut faults).unwrap_or(DEFAULT_TTL_S),
        };
        fields.close(&mut faults);
        faults.check()?;
        Ok(read)
    }
}

fn types(fields: &mut Fields, faults: &mut Faults) -> Vec<KindPattern> {
    let Some(json) = fields.take("types") else { return Vec::new() };
    let path = fields.path_of("types");
    let Json::Array(items) = json else {
        wrong_type(faults, &path, "an array of strings", &json);
        return Vec::new();
    };
    if items.len() > MAX_TYPES {
        faults.invalid(&path, "too_many", format!("at most {MAX_TYPES} types"));
    }
    let mut kinds = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("{path}/{index}");
        match item {
            Json::String(text) => match KindPattern::parse(&text) {
                Some(kind) => kinds.push(kind),
                None => faults.malformed(path, "type_name", "expected a type such as message.sent, or message.*"),
            },
            other => wrong_type(faults, &path, "a string", &other),
        }
    }
    kinds
}

fn id<T>(
    fields: &mut Fields,
    name: &'static str,
    prefix: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    faults: &mut Faults,
) -> Option<T> {
    let id = parse(&fields.string(name, faults)?);
    if id.is_none() {
        faults.malformed(fields.path_of(name), "id", format!("expected an id that starts with {prefix}"));
    }
    id
}

/// As browsers write it in `Origin`: scheme, host, and a port that is not the scheme's own.
fn origin(fields: &mut Fields, faults: &mut Faults) -> Option<String> {
    let text = fields.string("origin", faults)?;
    let is_origin = Url::parse(&text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text);
    if !is_origin {
        let detail = "expected an origin such as https://console.example.com: no path, no slash behind it";
        faults.malformed(fields.path_of("origin"), "origin", detail);
    }
    is_origin.then_some(text)
}

/// A ticket, and where to take it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"ticket": "wxt_…", "expires_at": "2026-01-31T09:00:00.000Z", "stream": "/v1/events?ticket=wxt_…", "websocket": "/v1/events/ws?ticket=wxt_…"}))]
pub struct TicketView {
    pub ticket: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// For `new EventSource(…)`.
    pub stream: String,
    /// For `new WebSocket(…)`.
    pub websocket: String,
}

/// Make a ticket for a browser.
///
/// It may stand in a URL: it opens the stream of events that it was made for, nothing else, until it expires or its maker's key
/// ends.
#[utoipa::path(
    post, path = "/v1/events/tickets", operation_id = "create_event_ticket", tag = "events", security(("key" = ["read"])),
    request_body = TicketBody,
    responses((status = 201, description = "The ticket.", body = TicketView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_message`: a value is out of range.", body = Problem, content_type = "application/problem+json")),
)]
pub async fn create(
    Allowed(caller, _): Allowed<Read>,
    State(access): State<Access>,
    ApiJson { value: body, .. }: ApiJson<TicketBody>,
) -> Result<(StatusCode, axum::Json<TicketView>), ApiError> {
    let TicketBody { types, account, message_id, batch_id, origin, ttl_s } = body;
    if account.as_ref().is_some_and(|account| !caller.may_use_account(account)) {
        return Err(ApiError::new(Code::NotFound, "there is no such account for this key"));
    }
    let filter = EventFilter { account, message_id, batch_id, kinds: types, ..EventFilter::default() };
    let request = TicketRequest { filter, web_origin: origin, ttl: Duration::from_secs(ttl_s) };
    let ticket = access.issue_ticket(&caller, request)?;
    let text = ticket.text.expose();
    let view = TicketView {
        ticket: text.to_owned(),
        expires_at: ticket.expires_at,
        stream: format!("/v1/events?ticket={text}"),
        websocket: format!("/v1/events/ws?ticket={text}"),
    };
    Ok((StatusCode::CREATED, axum::Json(view)))
}
