//! The face to callers and to WeChat: every route on this page. Faces translate; services decide.

pub mod api;
mod body;
mod callback;
pub mod callback_events;
pub mod code;
mod connection;
pub mod context;
mod docs;
pub mod error;
pub mod extract;
pub mod front;
pub mod health;
mod limits;
pub mod openapi;
mod page;
pub mod problems;
mod security;
pub mod server;
pub mod shed;
mod signed;
pub mod state;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, post};
use http::HeaderValue;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, X_CONTENT_TYPE_OPTIONS};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use api::{accounts, audit, batches, events, events_ws, messages, suppressions, tickets, users, webhooks};
use error::{ApiError, Code};
use extract::caller;
use front::Front;
use shed::Shed;
pub use state::{HttpParts, HttpState};

/// Every route. `/metrics` is left out when it has an address of its own ([`metrics_router`]).
pub fn router(state: HttpState) -> Router {
    let front = Front::new(state.metrics.clone(), &state.server.trusted_proxies);
    let shed = Shed::new(state.server.max_requests, state.metrics.clone());
    let mut operation = Router::new().route("/health", get(health::health)).route("/ready", get(health::ready));
    if state.server.metrics_listen.is_none() {
        operation = operation.route("/metrics", get(health::metrics));
    }
    let router = Router::new()
        .merge(api(&state).layer(ServiceBuilder::new().layer(no_store()).layer(shed)))
        .merge(operation.layer(no_store()))
        .merge(pages())
        .route("/wechat", wechat(&state))
        .route("/wechat/{account}", wechat(&state));
    behind(front, router).with_state(state)
}

/// For `server.metrics_listen`.
pub fn metrics_router(state: HttpState) -> Router {
    let front = Front::new(state.metrics.clone(), &state.server.trusted_proxies);
    let router = Router::new().route("/metrics", get(health::metrics)).route("/health", get(health::health));
    behind(front, router.layer(no_store())).with_state(state)
}

/// What callers may do. Everything in here asks who they are.
fn api(state: &HttpState) -> Router<HttpState> {
    Router::new()
        .route("/send-template", post(messages::send))
        .route("/send-template/batch", post(batches::send))
        .route("/v1/batches/{id}", get(batches::look_up).delete(batches::cancel))
        .route("/v1/events", get(events::list))
        .route("/v1/events/ws", get(events_ws::watch))
        .route("/v1/events/tickets", post(tickets::create))
        .route("/v1/messages", get(messages::list))
        .route("/v1/messages/{id}", get(messages::look_up).delete(messages::cancel))
        .route("/v1/messages/{id}/retry", post(messages::retry))
        .route("/v1/messages/{id}/resolve", post(messages::resolve))
        .route("/v1/accounts", get(accounts::list).post(accounts::create))
        .route("/v1/accounts/{account}", get(accounts::look_up).patch(accounts::change).delete(accounts::delete))
        .route("/v1/accounts/{account}/token", get(accounts::token::token))
        .route("/v1/accounts/{account}/suppressions", get(suppressions::list))
        .route("/v1/accounts/{account}/suppressions/{openid}", delete(suppressions::lift))
        .route("/v1/audit", get(audit::list))
        .route("/v1/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/v1/webhooks/{id}", get(webhooks::look_up).patch(webhooks::change).delete(webhooks::delete))
        .route("/v1/webhooks/{id}/rotate", post(webhooks::rotate))
        .route("/v1/webhooks/{id}/test", post(webhooks::test))
        .route("/v1/webhooks/{id}/replay", post(webhooks::replay::replay))
        .route("/v1/webhooks/{id}/deliveries", get(webhooks::deliveries::list))
        .route("/v1/webhooks/{id}/deliveries/{delivery}/retry", post(webhooks::deliveries::retry))
        .route("/v1/accounts/{account}/users/{openid}", get(users::look_up).put(users::change).delete(users::forget))
        .route("/v1/accounts/{account}/users", get(users::list))
        .route_layer(signed::Prove::new(state.clone()))
}

fn wechat(state: &HttpState) -> MethodRouter<HttpState> {
    get(callback::echo)
        .post(callback::take)
        .fallback(callback::wrong_method)
        .layer(from_fn_with_state(state.clone(), callback::verify))
}

/// What anybody may read.
fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(docs::index))
        .route("/docs", get(docs::docs))
        .route("/openapi.json", get(docs::json))
        .route("/problems", get(problems::list))
        .route("/problems/{code}", get(problems::look_up))
}

/// Answers of the moment: neither a cache nor a browser's history shall keep them.
fn no_store() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

/// What stands before every route, the outermost first.
fn behind<S: Clone + Send + Sync + 'static>(front: Front, router: Router<S>) -> Router<S> {
    let layers = ServiceBuilder::new()
        .layer(front)
        // Whoever prints headers sees `Sensitive` in their place.
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION, COOKIE, caller::X_WXGATE_SIGNATURE]))
        // Callers' texts come back in answers: no browser shall guess a page in them.
        .layer(SetResponseHeaderLayer::if_not_present(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(CatchPanicLayer::custom(front::after_panic));
    with_fallbacks(router).layer(layers)
}

/// Unknown paths and wrong methods in our shape (axum adds `Allow`).
fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let not_found = || async { ApiError::new(Code::NotFound, "there is no such path") };
    let not_allowed =
        || async { ApiError::new(Code::MethodNotAllowed, "this path does not know the method: see Allow") };
    router.fallback(not_found).method_not_allowed_fallback(not_allowed)
}
