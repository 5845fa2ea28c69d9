//! The endpoint of a webhook: a real HTTP server that keeps what it was told, and answers as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `whsec_` and 32 bytes.
pub(crate) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// One request, and what it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) answer: Answer,
}

impl Told {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["data"]["message_id"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u16),
    /// With so many seconds in `Retry-After`.
    Later(u16, u64),
    After(Duration, u16),
    /// Never.
    Hang,
}

type Rule = Box<dyn Fn(&Told) -> Answer + Send>;

#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    told: Mutex<Vec<Told>>,
    rule: Mutex<Rule>,
    /// Requests under way, and the most there ever were.
    at_once: Mutex<(usize, usize)>,
    stop: CancellationToken,
}

impl Endpoint {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?key=not-for-logs", listener.local_addr().unwrap());
        let rule: Rule = Box::new(|_| Answer::Status(204));
        let stop = CancellationToken::new();
        let inner = Inner { told: Mutex::default(), rule: Mutex::new(rule), at_once: Mutex::default(), stop };
        let this = Self { url, inner: Arc::new(inner) };
        let router = Router::new().fallback(take).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    pub(crate) fn answers(&self, rule: impl Fn(&Told) -> Answer + Send + 'static) {
        *self.inner.rule.lock().unwrap() = Box::new(rule);
    }

    pub(crate) fn answers_always(&self, answer: Answer) {
        self.answers(move |_| answer);
    }

    /// Whoever is left hanging is let go, without an answer.
    pub(crate) fn let_go(&self) {
        self.inner.stop.cancel();
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.inner.told.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.told.lock().unwrap().len()
    }

    /// What it has answered with 2xx.
    pub(crate) fn taken(&self) -> Vec<Told> {
        self.told().into_iter().filter(|told| matches!(told.answer, Answer::Status(200..300))).collect()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.inner.at_once.lock().unwrap().1
    }

    /// A line of the configuration, which may stand before its tables.
    pub(crate) fn line(&self, name: &str) -> String {
        let url = &self.url;
        format!("webhooks.{name} = {{ url = \"{url}\", secret = \"{SECRET}\", allow_private = true }}\n")
    }

    /// A table of the configuration.
    pub(crate) fn toml(&self, name: &str, more: &str) -> String {
        format!("\n[webhooks.{name}]\nurl = \"{}\"\nsecret = \"{SECRET}\"\nallow_private = true\n{more}\n", self.url)
    }
}

async fn take(State(this): State<Endpoint>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let mut told = Told {
        id: text("webhook-id"),
        body: String::from_utf8(body.to_vec()).unwrap(),
        answer: Answer::Status(204),
        headers: headers.clone(),
    };
    told.answer = (this.inner.rule.lock().unwrap())(&told);
    let answer = told.answer;
    this.inner.told.lock().unwrap().push(told);
    let _at_once = AtOnce::new(this.inner.clone());
    match answer {
        Answer::Status(status) => status_of(status).into_response(),
        Answer::Later(status, seconds) => (status_of(status), [("retry-after", seconds.to_string())]).into_response(),
        Answer::After(wait, status) => {
            tokio::time::sleep(wait).await;
            status_of(status).into_response()
        }
        Answer::Hang => {
            this.inner.stop.cancelled().await;
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// Counts as under way while it lives.
struct AtOnce(Arc<Inner>);

impl AtOnce {
    fn new(inner: Arc<Inner>) -> Self {
        let mut at_once = inner.at_once.lock().unwrap();
        at_once.0 += 1;
        at_once.1 = at_once.1.max(at_once.0);
        drop(at_once);
        Self(inner)
    }
}

impl Drop for AtOnce {
    fn drop(&mut self) {
        self.0.at_once.lock().unwrap().0 -= 1;
    }
}
