//! What stands before every route: request id, span, figures, and a body for every refusal. Panics end here as 500.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use tower::{Layer, Service};
use tracing::Instrument;

use super::context::{Peer, RequestContext, X_REQUEST_ID};
use super::error::ApiError;
use crate::telemetry::metrics::Metrics;

/// Laid over all routes, so that it knows which one matched.
#[derive(Clone)]
pub struct Front {
    metrics: Metrics,
    trusted: Arc<[(IpAddr, u8)]>,
}

impl Front {
    pub fn new(metrics: Metrics, trusted: &[(IpAddr, u8)]) -> Self {
        Self { metrics, trusted: trusted.into() }
    }
}

impl<S> Layer<S> for Front {
    type Service = Fronted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Fronted { inner, front: self.clone() }
    }
}

#[derive(Clone)]
pub struct Fronted<S> {
    inner: S,
    front: Front,
}

impl<S> Service<Request> for Fronted<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let peer = request.extensions().get::<Peer>().copied();
        let context = RequestContext::read(request.headers(), peer, &self.front.trusted, rand::random());
        let flight = Flight::start(&self.front.metrics, &request);
        request.extensions_mut().insert(context.clone());
        let span = tracing::info_span!(
            "request",
            request_id = &*context.request_id,
            trace_id = context.trace_id(),
            method = flight.method,
            route = flight.route(),
        );
        let answer = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(
            async move {
                let response = match answer.await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_panic) => {
                        tracing::error!("a handler panicked");
                        ApiError::internal().into_response()
                    }
                };
                let response = finish(response, &context);
                flight.land(response.status(), &context);
                Ok(response)
            }
            .instrument(span),
        )
    }
}

/// Writes the body of a refusal and the request's id.
fn finish(mut response: Response, context: &RequestContext) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = Body::from(error.render(&context.request_id));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    }
    if let Some(id) = context.request_id_header() {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
}

/// One request under way; counted when it is answered, or when its caller leaves before that (status 499).
struct Flight {
    metrics: Metrics,
    method: &'static str,
    route: Option<MatchedPath>,
    started: Instant,
    landed: bool,
    _held: crate::telemetry::metrics::Held,
}

impl Flight {
    fn start(metrics: &Metrics, request: &Request) -> Self {
        Self {
            metrics: metrics.clone(),
            method: known_method(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            started: Instant::now(),
            landed: false,
            _held: metrics.request_under_way(),
        }
    }

    /// Never the raw path: that would let callers make labels.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    fn land(mut self, status: StatusCode, context: &RequestContext) {
        self.landed = true;
        let took = self.started.elapsed();
        self.metrics.http_request(self.method, self.route(), status.as_str(), took);
        let client = context.client.map(tracing::field::display);
        tracing::debug!(status = status.as_u16(), duration_ms = millis(took), client.ip = client, "answered");
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.metrics.http_request(self.method, self.route(), "499", self.started.elapsed());
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    use tracing::instrument::WithSubscriber;

    use super::*;
    use crate::config::telemetry::LogFormat;
    use crate::http::error::Code;
    use crate::telemetry::logging::tests::Caught;
    use crate::telemetry::metrics::Scrape;

    async fn panics() {
        panic!("on purpose")
    }

    fn app(metrics: &Metrics) -> Router {
        crate::http::with_fallbacks(
            Router::new()
                .route("/things/{id}", get(|| async { "here" }))
                .route("/panic", get(panics))
                .route("/refuse", get(|| async { ApiError::new(Code::Forbidden, "no") })),
        )
        .layer(Front::new(metrics.clone(), &[]))
    }

    async fn ask(app: Router, method: Method, path: &str) -> (http::response::Parts, serde_json::Value) {
        let request = Request::builder().method(method).uri(path).header("x-request-id", "mine").body(Body::empty());
        let (parts, body) = app.oneshot(request.unwrap()).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    #[tokio::test]
    async fn every_fault_is_a_problem_with_the_request_id() {
        let metrics = Metrics::new();
        for (method, path, status, code) in [
            (Method::GET, "/nowhere", 404, "not_found"),
            (Method::POST, "/things/1", 405, "method_not_allowed"),
            (Method::GET, "/panic", 500, "internal"),
            (Method::GET, "/refuse", 403, "forbidden"),
        ] {
            let (parts, problem) = ask(app(&metrics), method, path).await;
            assert_eq!(parts.status.as_u16(), status, "{path}");
            assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(parts.headers["x-request-id"], "mine");
            assert_eq!((problem["code"].as_str(), problem["request_id"].as_str()), (Some(code), Some("mine")));
            if status == 405 {
                assert_eq!(parts.headers["allow"], "GET,HEAD");
            }
        }
    }

    #[tokio::test]
    async fn figures_name_the_route_and_never_the_path() {
        let metrics = Metrics::new();
        ask(app(&metrics), Method::GET, "/things/secret-id").await;
        ask(app(&metrics), Method::GET, "/made/up").await;
        let text = metrics.render(&Scrape::default());
        assert!(text.contains("{method=\"GET\",route=\"/things/{id}\",status=\"200\"} 1"), "{text}");
        assert!(text.contains("{method=\"GET\",route=\"unmatched\",status=\"404\"} 1"), "{text}");
        assert!(!text.contains("secret-id") && !text.contains("/made/up"));
    }

    #[tokio::test]
    async fn a_caller_who_leaves_is_counted() {
        let metrics = Metrics::new();
        let router = Router::new().route("/slow", get(std::future::pending::<()>));
        let mut app = router.layer(Front::new(metrics.clone(), &[]));
        let answer = app.call(Request::get("/slow").body(Body::empty()).unwrap());
        assert!(tokio::time::timeout(Duration::ZERO, answer).await.is_err());
        assert!(metrics.render(&Scrape::default()).contains("route=\"/slow\",status=\"499\"} 1"));
    }

    #[tokio::test]
    async fn a_request_full_of_secrets_leaves_none_in_the_log() {
        let caught = Caught::default();
        let request = Request::get("/things/oCLEAROPENID?signature=SIGSECRET&touser=oCLEAROPENID")
            .header("authorization", "Bearer wxg_shop_KEYSECRET")
            .header("cookie", "COOKIESECRET")
            .body(Body::from("BODYSECRET"))
            .unwrap();
        let answer = async { app(&Metrics::new()).oneshot(request).await.unwrap() };
        answer.with_subscriber(caught.subscriber(LogFormat::Json)).await;
        let text = caught.text();
        assert!(text.contains("answered"), "{text}");
        for secret in ["oCLEAROPENID", "SIGSECRET", "KEYSECRET", "COOKIESECRET", "BODYSECRET"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
