//! `/health`, `/ready` and `/metrics`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;

use crate::services::health::{Component, Health, Status};
use crate::telemetry::metrics::Metrics;

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    #[schema(example = "ok")]
    pub status: &'static str,
    pub version: &'static str,
}

/// May traffic come?
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyView {
    pub ready: bool,
    pub components: Vec<Component>,
}

/// Does the process live? Looks at nothing else.
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, description = "It lives.", body = HealthView)))]
pub async fn health() -> Response {
    let view = HealthView { status: "ok", version: env!("CARGO_PKG_VERSION") };
    ([(CACHE_CONTROL, "no-store")], axum::Json(view)).into_response()
}

/// May traffic come? Redis or WeChat being away does not make the gateway unready.
#[utoipa::path(
    get, path = "/ready", tag = "operation",
    responses(
        (status = 200, description = "Yes.", body = ReadyView),
        (status = 503, description = "No: a component is `down`.", body = ReadyView),
    ),
)]
pub async fn ready(State(health): State<Health>) -> Response {
    answer(health.ready().await)
}

fn answer(components: Vec<Component>) -> Response {
    let ready = components.iter().all(|component| component.status != Status::Down);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], axum::Json(ReadyView { ready, components })).into_response()
}

/// Figures in Prometheus' text form.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text.", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(health): State<Health>, State(metrics): State<Metrics>) -> Response {
    let text = metrics.render(&health.figures().await);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(status: Status) -> Component {
        Component { name: "x".to_owned(), status, detail: None }
    }

    #[test]
    fn only_a_component_that_is_down_makes_us_unready() {
        assert_eq!(answer(vec![component(Status::Ok), component(Status::Degraded)]).status(), 200);
        assert_eq!(answer(vec![component(Status::Ok), component(Status::Down)]).status(), 503);
    }
}
