//! A back end as a team would have it: it checks WeChat's plain signature, keeps what it got, and says what it is told to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use wxgate::wechat::inbound::Inbound;
use wxgate::wechat::reply::{self, Reply};
use wxgate::wechat::signature;

use crate::harness::CALLBACK_TOKEN;

#[derive(Clone)]
pub(crate) struct BackEnd {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    token: String,
    asked: Mutex<Vec<Asked>>,
    count: watch::Sender<usize>,
    say: Mutex<Say>,
    release: Semaphore,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) query: HashMap<String, String>,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// To the person who wrote, as the account.
    Reply(Reply),
    /// The same, once it is released.
    Held(Reply),
    /// The same, each time numbered anew.
    Numbered,
    /// `<to>` and `<from>` are filled in.
    Text(u16, String),
    Redirect(String),
    /// The head, and then the connection is cut.
    Cut,
}

pub(crate) fn text(content: &str) -> Reply {
    Reply::Text { content: content.to_owned() }
}

impl BackEnd {
    pub(crate) async fn start(say: Say) -> Self {
        Self::with_token(say, CALLBACK_TOKEN).await
    }

    pub(crate) async fn with_token(say: Say, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/wechat?app=7", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            token: token.to_owned(),
            asked: Mutex::default(),
            count: watch::channel(0).0,
            say: Mutex::new(say),
            release: Semaphore::new(0),
        });
        let router = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, inner }
    }

    pub(crate) fn say(&self, say: Say) {
        *self.inner.say.lock().unwrap() = say;
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().unwrap().clone()
    }

    /// Until it was asked so often.
    pub(crate) async fn until_asked(&self, times: usize) -> Vec<Asked> {
        self.inner.count.subscribe().wait_for(|count| *count >= times).await.unwrap();
        self.asked()
    }

    /// So many that are held go on.
    pub(crate) fn release(&self, count: usize) {
        self.inner.release.add_permits(count);
    }
}

async fn answer(
    State(inner): State<Arc<Inner>>,
    method: Method,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let part = |name: &str| query.get(name).cloned().unwrap_or_default();
    let signed = [inner.token.as_str(), &part("timestamp"), &part("nonce")];
    if method != Method::POST || part("app") != "7" || !signature::verify(&part("signature"), &signed) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let content_type = headers[CONTENT_TYPE].to_str().unwrap().to_owned();
    let inbound = Inbound::parse(&body).unwrap();
    inner.asked.lock().unwrap().push(Asked { query, content_type, body: body.to_vec() });
    inner.count.send_modify(|count| *count += 1);
    let say = inner.say.lock().unwrap().clone();
    let (to, from) = (&inbound.from_user_name, &inbound.to_user_name);
    let write = |reply: &Reply| reply::render(reply, to, from, inbound.create_time, inbound.format).into_response();
    match say {
        Say::Reply(reply) => write(&reply),
        Say::Held(reply) => {
            inner.release.acquire().await.unwrap().forget();
            write(&reply)
        }
        Say::Numbered => write(&text(&format!("answer {}", *inner.count.borrow()))),
        Say::Text(status, body) => {
            let body = body.replace("<to>", to).replace("<from>", from);
            (StatusCode::from_u16(status).unwrap(), body).into_response()
        }
        Say::Redirect(url) => (StatusCode::FOUND, [(LOCATION, url)]).into_response(),
        Say::Cut => {
            let broken = futures_util::stream::iter([Ok("<xml>"), Err(std::io::Error::other("cut"))]);
            Body::from_stream(broken).into_response()
        }
    }
}
