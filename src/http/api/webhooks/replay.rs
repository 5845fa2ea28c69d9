//! Telling events once more.

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::strings;
use crate::domain::clock::Timestamp;
use crate::domain::event::{EventFilter, KindPattern, Position};
use crate::domain::ids::{EventId, MessageId};
use crate::domain::webhook::{DeliveryStatus, Replayed};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed};
use crate::http::extract::fields::{Faults, Fields};
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::http::extract::page;
use crate::http::extract::path::Texts;
use crate::services::webhooks::admin::WebhookAdmin;
use crate::services::webhooks::replays::PART;
use crate::store::ReplayOf;

/// What is to be told once more: events by their ids, or all that fit every condition that is set (one at least).
#[derive(Debug, Default, ToSchema)]
#[schema(example = json!({"status": "dead", "created_after": "2026-01-31T08:00:00Z", "dry_run": true}))]
pub struct ReplayRequest {
    /// 500 at most; without any condition.
    #[schema(value_type = Option<Vec<String>>)]
    pub event_ids: Option<Vec<EventId>>,
    /// Types, or how they begin.
    #[schema(value_type = Option<Vec<String>>, example = json!(["message.*"]))]
    pub types: Vec<KindPattern>,
    pub account: Option<String>,
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_after: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_before: Option<Timestamp>,
    /// Events whose last delivery to this webhook stands so.
    pub status: Option<DeliveryStatus>,
    /// `next_cursor` of the answer before: go on there.
    #[schema(value_type = Option<String>)]
    pub cursor: Option<Position>,
    /// Only count.
    #[schema(value_type = Option<bool>)]
    pub dry_run: bool,
}

/// What a replay did, or would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"dry_run": false, "matched": 3, "replayed": 2, "pending": 1, "unknown": [], "next_cursor": null}))]
pub struct ReplayedView {
    pub dry_run: bool,
    /// Events that were meant.
    pub matched: usize,
    /// Of them: a new delivery is (or would be) made.
    pub replayed: usize,
    /// Of them: one is pending already, and no second one is made.
    pub pending: usize,
    /// Ids of events that are no longer kept, or that are not for this webhook.
    #[schema(value_type = Vec<String>)]
    pub unknown: Vec<EventId>,
    /// There is more: repeat the request with this as `cursor`. Null: that was all.
    pub next_cursor: Option<String>,
}

impl ReplayedView {
    pub fn of(replayed: Replayed, dry_run: bool) -> Self {
        let next_cursor = replayed.next.map(|next| page::cursor(&format!("{}.{}", next.horizon, next.seq)));
        Self {
            dry_run,
            matched: replayed.matched,
            replayed: replayed.added,
            pending: replayed.pending,
            unknown: replayed.unknown,
            next_cursor,
        }
    }
}

impl FromJson for ReplayRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut read = Self::default();
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            read = Self::read(&mut fields, &mut faults);
            read.check(&mut faults);
            fields.close(&mut faults);
        }
        faults.check()?;
        Ok(read)
    }
}

impl ReplayRequest {
    fn read(fields: &mut Fields, faults: &mut Faults) -> Self {
        let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str);
        Self {
            event_ids: many(fields, "event_ids", "an id that begins with evt_", EventId::parse, faults),
            types: many(fields, "types", "a type, or message.*, or *", KindPattern::parse, faults).unwrap_or_default(),
            account: fields.string("account", faults),
            message_id: one(fields, "message_id", "an id that begins with msg_", MessageId::parse, faults),
            created_after: fields.time("created_after", faults),
            created_before: fields.time("created_before", faults),
            status: fields.choice("status", &statuses, DeliveryStatus::parse, faults),
            cursor: one(fields, "cursor", "the next_cursor of the answer before", position, faults),
            dry_run: fields.boolean("dry_run", faults).unwrap_or_default(),
        }
    }

    /// Nobody means everything by saying nothing.
    fn check(&self, faults: &mut Faults) {
        let is_open = self.filter() == EventFilter::default() && self.status.is_none();
        match &self.event_ids {
            Some(ids) if ids.is_empty() || ids.len() > PART => {
                faults.malformed("/event_ids", "out_of_range", format!("expected 1 to {PART} ids"));
            }
            Some(_) if !is_open => {
                let detail = "goes without conditions: events are meant by id, or by what they are";
                faults.malformed("/event_ids", "choice", detail);
            }
            None if is_open => {
                let detail =
                    "name event_ids, or one of types, account, message_id, created_after, created_before, status";
                faults.malformed("", "required", detail);
            }
            _ => {}
        }
    }

    fn filter(&self) -> EventFilter {
        EventFilter {
            visible_accounts: None,
            account: self.account.clone(),
            message_id: self.message_id,
            batch_id: None,
            kinds: self.types.clone(),
            created_after: self.created_after,
            created_before: self.created_before,
        }
    }

    fn what(&self) -> ReplayOf {
        match &self.event_ids {
            Some(ids) => ReplayOf::Events(ids.clone()),
            None => ReplayOf::Filter { filter: self.filter(), last: self.status },
        }
    }
}

fn many<T>(
    fields: &mut Fields,
    name: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
    faults: &mut Faults,
) -> Option<Vec<T>> {
    let texts = strings(fields, name, faults)??;
    let mut values = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match parse(text) {
            Some(value) => values.push(value),
            None => faults.malformed(format!("/{name}/{index}"), "choice", format!("expected {expected}")),
        }
    }
    Some(values)
}

fn one<T>(
    fields: &mut Fields,
    name: &'static str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    faults: &mut Faults,
) -> Option<T> {
    let text = fields.string(name, faults)?;
    let value = parse(&text);
    if value.is_none() {
        faults.malformed(format!("/{name}"), "choice", format!("expected {expected}"));
    }
    value
}

fn position(text: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (horizon, seq) = text.split_once('.')?;
    Some(Position { horizon: horizon.parse().ok()?, seq: seq.parse().ok()? })
}

/// Tell events once more.
///
/// Each becomes a new delivery with the same `webhook-id`: a subscriber that dedupes by it takes it once. A call makes 10,000
/// deliveries at most; `next_cursor` tells that there is more.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/replay", operation_id = "replay_events", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`, or its name in the configuration")),
    request_body = ReplayRequest,
    responses(
        (status = 200, description = "A dry run: what would be told.", body = ReplayedView),
        (status = 202, description = "The new deliveries are kept.", body = ReplayedView),
        (status = 404, description = "There is no such webhook for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn replay(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    Texts(id): Texts<String>,
    ApiJson { value: request, .. }: ApiJson<ReplayRequest>,
) -> Result<(StatusCode, axum::Json<ReplayedView>), ApiError> {
    let after = request.cursor.unwrap_or_default();
    let replayed = admin.replay(&caller, &id, request.what(), after, request.dry_run).await?;
    let status = if request.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, axum::Json(ReplayedView::of(replayed, request.dry_run))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Code;

    const ID: &str = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV";

    fn request(text: &str) -> Result<ReplayRequest, ApiError> {
        ReplayRequest::from_json(Json::parse(text).unwrap())
    }

    #[test]
    fn events_are_meant_by_id_or_by_what_they_are() {
        let read = request(&format!(r#"{{"event_ids":["{ID}"],"dry_run":true}}"#)).unwrap();
        assert!(read.dry_run && matches!(read.what(), ReplayOf::Events(ids) if ids.len() == 1));
        let text = r#"{"types":["message.*"],"account":"shop","created_after":"2026-01-31T08:00:00Z","status":"dead"}"#;
        let ReplayOf::Filter { filter, last } = request(text).unwrap().what() else { panic!("a filter") };
        assert_eq!(
            (filter.kinds.len(), filter.account.as_deref(), last),
            (1, Some("shop"), Some(DeliveryStatus::Dead))
        );
        assert!(filter.created_after.is_some());
    }

    #[test]
    fn saying_nothing_means_nothing_and_faults_have_places() {
        for (text, path) in [
            ("{}", ""),
            (r#"{"dry_run":true}"#, ""),
            (r#"{"event_ids":[]}"#, "/event_ids"),
            (r#"{"event_ids":["msg_1"]}"#, "/event_ids/0"),
            (&format!(r#"{{"event_ids":["{ID}"],"status":"dead"}}"#), "/event_ids"),
            (r#"{"types":["mess*"]}"#, "/types/0"),
            (r#"{"status":"lost"}"#, "/status"),
            (r#"{"message_id":"x"}"#, "/message_id"),
            (r#"{"account":"shop","cursor":"eA"}"#, "/cursor"),
            (r#"{"created_after":"today"}"#, "/created_after"),
            (r#"{"typs":[]}"#, "/typs"),
        ] {
            let error = request(text).unwrap_err();
            let paths: Vec<_> = error.errors().iter().map(|fault| fault.path.as_str()).collect();
            assert!(error.code() == Code::MalformedRequest && paths.contains(&path), "{text}: {paths:?}");
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let next = Some(Position { horizon: 7, seq: 42 });
        let view = ReplayedView::of(Replayed { next, ..Replayed::default() }, false);
        assert_eq!(view.next_cursor.as_deref().and_then(position), next);
    }
}
