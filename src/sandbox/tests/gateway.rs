//! A tiny gateway: keeps what it gets and answers what it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use tokio::net::TcpListener;

/// One request from the sandbox.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) query: HashMap<String, String>,
    pub(super) body: String,
}

type Reply = Arc<dyn Fn(&Seen) -> (u16, String) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Gateway {
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Reply,
    pub(super) url: String,
}

impl Gateway {
    pub(super) async fn answering(reply: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/wechat/shop", listener.local_addr().unwrap());
        let gateway = Self { seen: Arc::default(), reply: Arc::new(reply), url };
        let router = Router::new().fallback(take).with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gateway
    }

    pub(super) async fn content() -> Self {
        Self::answering(|_| (200, "success".to_owned())).await
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn take(
    State(gateway): State<Gateway>,
    Query(query): Query<HashMap<String, String>>,
    body: String,
) -> (StatusCode, String) {
    let seen = Seen { query, body };
    let (status, reply) = (gateway.reply)(&seen);
    gateway.seen.lock().unwrap().push(seen);
    (StatusCode::from_u16(status).unwrap(), reply)
}
