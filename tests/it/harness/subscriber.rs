//! A subscriber of webhooks on loopback: it keeps what it is told, and answers as it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

/// One request that came.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What it says next: a status, a header, a body.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) header: Option<(&'static str, String)>,
    pub(crate) body: Bytes,
}

#[derive(Clone)]
pub(crate) struct Subscriber {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    told: Mutex<Vec<Told>>,
    next: Mutex<VecDeque<Say>>,
    always: Mutex<Option<Say>>,
}

impl Subscriber {
    /// It answers 204 until it is told otherwise.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let this = Self { url, inner: Arc::default() };
        let router = Router::new().fallback(take).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    /// The same, by a name instead of its address.
    pub(crate) fn by_name(&self) -> Self {
        Self { url: self.url.replace("127.0.0.1", "localhost"), inner: self.inner.clone() }
    }

    /// Answers the next requests so, one after the other.
    pub(crate) fn next(&self, statuses: &[u16]) {
        self.inner.next.lock().unwrap().extend(statuses.iter().map(|status| Say::status(*status)));
    }

    pub(crate) fn say(&self, say: Say) {
        self.inner.next.lock().unwrap().push_back(say);
    }

    /// Answers so whenever nothing else was said. `None`: 204 again.
    pub(crate) fn always(&self, say: Option<Say>) {
        *self.inner.always.lock().unwrap() = say;
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.inner.told.lock().unwrap().clone()
    }

    /// The types of what it was told, in order.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.told().iter().map(|told| told.json()["type"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn last(&self) -> Told {
        self.told().pop().expect("it was told something")
    }
}

impl Say {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, header: None, body: Bytes::new() }
    }
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// By the reference library, which looks at the clock of the machine.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }
}

async fn take(State(this): State<Subscriber>, headers: HeaderMap, body: Bytes) -> Response {
    this.inner.told.lock().unwrap().push(Told { headers, body });
    let next = this.inner.next.lock().unwrap().pop_front();
    let always = this.inner.always.lock().unwrap().clone();
    let say = next.or(always).unwrap_or_else(|| Say::status(204));
    let mut response = (StatusCode::from_u16(say.status).unwrap(), say.body).into_response();
    if let Some((name, value)) = say.header {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    response
}
