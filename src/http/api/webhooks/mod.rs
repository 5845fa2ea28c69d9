//! Webhooks: list, make, change, delete; their secrets, and a try by hand.

pub mod deliveries;
pub mod replay;
pub mod request;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use self::request::{NewWebhookRequest, RotateRequest, WebhookFields};
use self::view::{DeletedWebhook, NewWebhookView, TriedView, WebhookList, WebhookView};
use crate::domain::clock::Clock;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed};
use crate::http::extract::json::ApiJson;
use crate::http::extract::path::Texts;
use crate::http::extract::query::Query;
use crate::services::webhooks::admin::WebhookAdmin;

/// The webhooks that this key may see: those of the configuration, then the others, oldest first.
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "list_webhooks", tag = "webhooks", security(("key" = ["admin"])),
    responses((status = 200, description = "All of them.", body = WebhookList)),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    State(clock): State<Arc<dyn Clock>>,
    query: Query,
) -> Result<axum::Json<WebhookList>, ApiError> {
    query.close()?;
    let known = admin.list(&caller).await?;
    let now = clock.now();
    Ok(axum::Json(WebhookList { data: known.into_iter().map(|known| WebhookView::of(known, now)).collect() }))
}

/// Make a webhook.
///
/// It is told what happens from now on; what happened before can be replayed. The answer holds its secret, this once.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "create_webhook", tag = "webhooks", security(("key" = ["admin"])),
    request_body = NewWebhookRequest,
    responses(
        (status = 201, description = "The webhook and its secret.", body = NewWebhookView, headers(("Location" = String, description = "The webhook."))),
        (status = 403, description = "`forbidden`: the key is bound to accounts, and `accounts` names others, or none.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: there are too many.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_webhook`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    State(clock): State<Arc<dyn Clock>>,
    ApiJson { value: request, .. }: ApiJson<NewWebhookRequest>,
) -> Result<Response, ApiError> {
    let (known, secret) = admin.create(&caller, request.into_new()).await?;
    let location = HeaderValue::from_str(&format!("/v1/webhooks/{}", known.key));
    let view = NewWebhookView::of(known, &secret, clock.now());
    let mut response = (StatusCode::CREATED, axum::Json(view)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// One webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", operation_id = "read_webhook", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`, or its name in the configuration")),
    responses(
        (status = 200, description = "The webhook.", body = WebhookView),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look_up(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    State(clock): State<Arc<dyn Clock>>,
    Texts(id): Texts<String>,
) -> Result<axum::Json<WebhookView>, ApiError> {
    Ok(axum::Json(WebhookView::of(admin.look_up(&caller, &id).await?, clock.now())))
}

/// Change a webhook, or switch it on or off.
///
/// A JSON merge patch (RFC 7396): what is not named stays, null clears. Of a webhook of the configuration only `enabled` can be set.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", operation_id = "change_webhook", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`, or its name in the configuration")),
    request_body = WebhookFields,
    responses(
        (status = 200, description = "The webhook as it is now.", body = WebhookView),
        (status = 403, description = "`forbidden`: the key is bound to other accounts.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: it stands in the configuration.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_webhook`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    State(clock): State<Arc<dyn Clock>>,
    Texts(id): Texts<String>,
    ApiJson { value: request, .. }: ApiJson<WebhookFields>,
) -> Result<axum::Json<WebhookView>, ApiError> {
    let known = admin.change(&caller, &id, &request.into_change()).await?;
    Ok(axum::Json(WebhookView::of(known, clock.now())))
}

/// Delete a webhook. What it has not been told is canceled.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", operation_id = "delete_webhook", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`")),
    responses(
        (status = 200, description = "It is deleted.", body = DeletedWebhook),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: it stands in the configuration.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    Texts(id): Texts<String>,
    query: Query,
) -> Result<axum::Json<DeletedWebhook>, ApiError> {
    query.close()?;
    let canceled_deliveries = admin.delete(&caller, &id).await?;
    Ok(axum::Json(DeletedWebhook { id, canceled_deliveries }))
}

/// Give a webhook another secret.
///
/// The answer holds it, this once. Deliveries are signed with both until the old one is dropped: `PATCH {"previous_secret": null}`.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", operation_id = "rotate_webhook_secret", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`")),
    request_body = Option<RotateRequest>,
    responses(
        (status = 200, description = "The webhook and its new secret.", body = NewWebhookView),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: the secret before has not been dropped, or the webhook stands in the configuration.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_webhook`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn rotate(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    State(clock): State<Arc<dyn Clock>>,
    Texts(id): Texts<String>,
    request: Option<ApiJson<RotateRequest>>,
) -> Result<axum::Json<NewWebhookView>, ApiError> {
    let given = request.and_then(|ApiJson { value, .. }| value.secret);
    let (known, secret) = admin.rotate(&caller, &id, given).await?;
    Ok(axum::Json(NewWebhookView::of(known, &secret, clock.now())))
}

/// Send a `webhook.test` now, and see what comes of it.
///
/// Signed and sent as every delivery is, also while the webhook is disabled. It is not kept and not tried again.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks", security(("key" = ["admin"])),
    params(("id" = String, Path, description = "`wh_…`, or its name in the configuration")),
    responses(
        (status = 200, description = "What came of it, whatever that is.", body = TriedView),
        (status = 404, description = "There is none for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_conflict`: its secret cannot be opened.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn test(
    Allowed(caller, _): Allowed<Admin>,
    State(admin): State<WebhookAdmin>,
    Texts(id): Texts<String>,
) -> Result<axum::Json<TriedView>, ApiError> {
    Ok(axum::Json(admin.test(&caller, &id).await?.into()))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
