//! Load shedding: at most so many API requests under way; the rest is refused at once. Laid over API routes only, never
//! over callbacks, health and figures.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::error::{ApiError, Code};
use crate::telemetry::metrics::Metrics;

#[derive(Clone)]
pub struct Shed {
    room: Arc<Semaphore>,
    metrics: Metrics,
}

impl Shed {
    /// Room for `max` requests under way, shared by all routes that this is laid over.
    pub fn new(max: usize, metrics: Metrics) -> Self {
        Self { room: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))), metrics }
    }
}

impl<S> Layer<S> for Shed {
    type Service = Shedding<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shedding { inner, shed: self.clone() }
    }
}

#[derive(Clone)]
pub struct Shedding<S> {
    inner: S,
    shed: Shed,
}

impl<S> Service<Request> for Shedding<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Ok(place) = self.shed.room.clone().try_acquire_owned() else {
            self.shed.metrics.http_shed();
            let refusal = ApiError::new(Code::Overloaded, "too many requests are under way");
            return Box::pin(std::future::ready(Ok(refusal.into_response())));
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _place = place;
            answer.await
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn one_too_many_is_refused_at_once_and_room_comes_back() {
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (entered, leave) = (entered.clone(), leave.clone());
            move || async move {
                entered.notify_one();
                leave.notified().await;
            }
        };
        let app = Router::new().route("/", get(handler)).layer(Shed::new(1, Metrics::new()));
        let ask = |app: Router| app.oneshot(Request::get("/").body(Body::empty()).unwrap());
        let first = tokio::spawn(ask(app.clone()));
        entered.notified().await;
        let second = ask(app.clone()).await.unwrap();
        assert_eq!(second.status(), 503);
        assert_eq!(second.headers()["retry-after"], "1");
        leave.notify_one();
        assert_eq!(first.await.unwrap().unwrap().status(), 200);
        leave.notify_one();
        assert_eq!(ask(app).await.unwrap().status(), 200);
    }
}
