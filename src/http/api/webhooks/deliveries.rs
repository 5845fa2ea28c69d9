//! What became of deliveries.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::millis;
use super::replay::ReplayedView;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{DeliveryId, EventId, MessageId};
use crate::domain::webhook::{Delivery, DeliveryFilter, DeliveryStatus};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed};
use crate::http::extract::page;
use crate::http::extract::path::Texts;
use crate::http::extract::query::Query;
use crate::services::webhooks::admin::WebhookAdmin;

/// One event on its way to one webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "whd_01ARZ3NDEKTSV4RRFFQ69G5FAV", "event_id": "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV", "event_type": "message.delivered",
    "message_id": "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "status": "pending", "attempts": 1, "next_attempt_at": "2026-01-31T08:00:05.000Z",
    "status_code": 503, "error": "status 503", "duration_ms": 31, "created_at": "2026-01-31T08:00:00.000Z",
    "updated_at": "2026-01-31T08:00:00.000Z", "first_attempt_at": "2026-01-31T08:00:00.000Z"
}))]
pub struct DeliveryView {
    #[schema(value_type = String)]
    pub id: DeliveryId,
    #[schema(value_type = String)]
    pub event_id: EventId,
    pub event_type: String,
    pub message_id: Option<String>,
    pub status: DeliveryStatus,
    /// Tries that have ended.
    pub attempts: u32,
    /// Null: it is over, or it waits for an earlier one of its message.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// What the last try was answered with.
    pub status_code: Option<u16>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// How long the last try took.
    pub duration_ms: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_attempt_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    /// Newest first.
    pub data: Vec<DeliveryView>,
    /// For `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            message_id: delivery.message_id,
            status: delivery.status,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_at,
            status_code: delivery.status_code,
            error: delivery.error,
            duration_ms: delivery.duration.map(millis),
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
            first_attempt_at: delivery.first_tried_at,
        }
    }
}

/// Deliveries of a webhook, newest first.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deliveries", operation_id = "list_deliveries", tag = "webhooks", security(("key" = ["admin"])),
    params(
        ("id" = String, Path, description = "`wh_…`, or its name in the configuration"),
        ("status" = Option<DeliveryStatus>, Query,), ("event_id" = Option<String>, Query,), ("message_id" = Option<String>, Query,),
        ("limit" = Option<u32>, Query, description = "1–200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page.", body = DeliveryList, headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    Texts(id): Texts<String>,
    uri: Uri,
    mut query: Query,
) -> Result<Response, ApiError> {
    let statuses = DeliveryStatus::ALL.map(DeliveryStatus::as_str).join(", ");
    let filter = DeliveryFilter {
        webhook: None,
        status: query.parsed("status", &statuses, DeliveryStatus::parse),
        event_id: query.parsed("event_id", "an id that begins with evt_", EventId::parse),
        message_id: query.parsed("message_id", "an id that begins with msg_", MessageId::parse),
    };
    let wanted = page::take(&mut query, |key| DeliveryId::parse(key).is_some());
    query.close()?;
    let found = admin.deliveries(&caller, &id, filter, wanted).await?;
    let next_cursor = found.next.as_deref().map(page::cursor);
    let path = format!("/v1/webhooks/{id}/deliveries");
    let link = next_cursor.as_deref().map(|cursor| page::next_link(&path, uri.query().unwrap_or_default(), cursor));
    let data = found.items.into_iter().map(DeliveryView::from).collect();
    let mut response = axum::Json(DeliveryList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Tell the event of one delivery once more, as a new delivery.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/deliveries/{delivery}/retry", operation_id = "retry_delivery", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`, or its name in the configuration"), ("delivery" = String, Path, description = "`whd_…`")),
    responses(
        (status = 202, description = "The new delivery is kept.", body = ReplayedView),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: it is pending, or its event is no longer kept.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn retry(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    Texts((id, delivery)): Texts<(String, String)>,
) -> Result<(StatusCode, axum::Json<ReplayedView>), ApiError> {
    let delivery = DeliveryId::parse(&delivery).ok_or_else(ApiError::not_found)?;
    let again = admin.retry(&caller, &id, delivery).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(ReplayedView::of(again, false))))
}
