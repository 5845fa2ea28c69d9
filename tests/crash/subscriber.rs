//! A subscriber who outlives every crash: what the gateway's webhook told it, in the order in which it was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) struct Subscriber {
    /// A line of the configuration.
    pub(crate) setting: String,
    told: Told,
    _ends: DropGuard,
}

/// Ids of events, repeats included.
type Told = Arc<Mutex<Vec<String>>>;

impl Subscriber {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let setting = format!("webhooks.crash = {{ url = \"{url}\", secret = \"{secret}\", allow_private = true }}\n");
        let (told, stop) = (Told::default(), CancellationToken::new());
        let router = Router::new().fallback(take).with_state(told.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            stopped.run_until_cancelled(async { axum::serve(listener, router).await }).await;
        });
        Self { setting, told, _ends: stop.drop_guard() }
    }

    /// Each event that was told → its place among the first tellings, and how often it was told.
    pub(crate) fn told(&self) -> HashMap<String, (usize, usize)> {
        let mut told = HashMap::new();
        for (place, id) in self.told.lock().unwrap().iter().enumerate() {
            told.entry(id.clone()).or_insert((place, 0)).1 += 1;
        }
        told
    }
}

async fn take(State(told): State<Told>, headers: HeaderMap) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    told.lock().unwrap().push(id.to_owned());
    StatusCode::NO_CONTENT
}
