//! Every route of the sandbox on one page, and the handler of the WeChat side.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Router, http};

use super::api;
use super::call::{Answer, Call, Peer};
use super::control;
use super::model::Sandbox;

const PAGE: &str = include_str!("page.html");
/// The page brings its own style and script and talks to this server only.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl Sandbox {
    /// The WeChat side, the control API and the page.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/sandbox", get(page))
            .route("/sandbox/", get(page))
            .route("/sandbox/info", get(control::info))
            .route("/sandbox/messages", get(control::messages))
            .route("/sandbox/deliveries", get(control::deliveries))
            .route("/sandbox/chat", get(control::chat))
            .route("/sandbox/users", get(control::users).post(control::change_user))
            .route("/sandbox/faults", get(control::faults).post(control::set_fault).delete(control::clear_faults))
            .route("/sandbox/faults/{id}", delete(control::remove_fault))
            .route("/sandbox/tokens", get(control::tokens))
            .route("/sandbox/tokens/{action}", post(control::change_tokens))
            .route("/sandbox/settings", get(control::settings).post(control::change_settings))
            .route("/sandbox/quota", post(control::set_quota))
            .route("/sandbox/callback-target", get(control::target).post(control::set_target))
            .route("/sandbox/callbacks", post(control::send_callback))
            .route("/sandbox/receipts", post(control::deliver_receipts))
            .route("/sandbox/reset", post(control::reset))
            .route("/sandbox/{*rest}", get(control::not_found).post(control::not_found))
            .method_not_allowed_fallback(control::method_not_allowed)
            .fallback(wechat)
            .with_state(self.clone())
    }

    /// Answers one WeChat call.
    async fn answer(&self, call: &Call) -> Answer {
        let in_flight = self.enter(&call.path);
        let outcome = self.with(|world, now| api::process(world, call, in_flight.count, now));
        if outcome.receipts_first {
            self.deliver_first(outcome.receipts).await;
        } else {
            self.schedule(outcome.receipts);
        }
        if !outcome.wait.is_zero() {
            tokio::time::sleep(outcome.wait).await;
        }
        if matches!(outcome.answer, Answer::Hang) {
            std::future::pending::<()>().await;
        }
        outcome.answer
    }
}

async fn page() -> Response {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)], PAGE).into_response()
}

async fn wechat(
    State(sandbox): State<Sandbox>,
    peer: Option<Extension<Peer>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    if !uri.path().starts_with("/cgi-bin/") {
        return http::StatusCode::NOT_FOUND.into_response();
    }
    let caller: Option<IpAddr> = peer.map(|Extension(Peer(address))| address.ip());
    sandbox.answer(&Call::new(&method, &uri, body, caller)).await.into_response()
}
