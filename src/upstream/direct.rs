//! The client of the road that every message takes: hyper's own, without what reqwest adds to each call. It knows no proxy.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::uri::Uri;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tower::Service;

use super::http::{IDLE_CONNECTIONS, IDLE_TIMEOUT, NAME};
use crate::config::wechat::WechatConfig;
use crate::failpoint::{Point, reach};

type Connector = Patient<HttpsConnector<HttpConnector>>;

/// Cheap to clone; connections are shared.
#[derive(Clone)]
pub(super) struct Direct {
    client: Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

/// How a call ended without an answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// No byte of it was written.
    NotSent(String),
    TimedOut,
    /// The connection ended before the answer.
    Broken(String),
    TooLong,
}

impl Direct {
    /// The same time-outs and pool as the other client's.
    pub(super) fn new(config: &WechatConfig, tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(Patient { inner: https, patience: config.connect_timeout });
        Self { client, timeout: config.timeout }
    }

    /// Posts to this address → status and body, of at most `limit` bytes.
    pub(super) async fn post(
        &self,
        address: &str,
        content_type: &'static str,
        body: Bytes,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let uri = uri_of(address)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(NAME));
        let call = async {
            let response = self.client.request(request).await.map_err(|error| how_far(&error))?;
            reach(Point::CallHead);
            let status = response.status();
            let body = Limited::new(response.into_body(), limit).collect().await.map_err(of_body)?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, call).await.unwrap_or(Err(Fault::TimedOut))
    }
}

/// As people write it: a name or path in other letters, or with blanks, is spelt out.
fn uri_of(address: &str) -> Result<Uri, Fault> {
    let not_sent = |error: &dyn std::error::Error| Fault::NotSent(error.to_string());
    address.parse().or_else(|_| {
        let spelt = url::Url::parse(address).map_err(|error| not_sent(&error))?;
        spelt.as_str().parse().map_err(|error: http::uri::InvalidUri| not_sent(&error))
    })
}

/// No byte of a request is written before there is a connection: name, address and TLS handshake fail as "connect". A
/// request that the connection never took from its queue comes back as "canceled"; on a pooled connection the client
/// repeats it by itself. Everything else may have arrived.
fn how_far(error: &hyper_util::client::legacy::Error) -> Fault {
    let is_canceled =
        causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
    let detail = causes(error).last().map_or_else(|| "no further detail".to_owned(), ToString::to_string);
    if error.is_connect() || is_canceled { Fault::NotSent(detail) } else { Fault::Broken(detail) }
}

fn of_body(error: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    if error.is::<LengthLimitError>() {
        return Fault::TooLong;
    }
    Fault::Broken(causes(&*error).last().map_or_else(|| error.to_string(), ToString::to_string))
}

/// Without the error itself.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// Gives a connection so much time, from the look-up of the name to the end of the TLS handshake.
#[derive(Clone)]
struct Patient<S> {
    inner: S,
    patience: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S> Service<Uri> for Patient<S>
where
    S: Service<Uri>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, patience) = (self.inner.call(address), self.patience);
        Box::pin(async move {
            match tokio::time::timeout(patience, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err("no connection in time".into()),
            }
        })
    }
}
