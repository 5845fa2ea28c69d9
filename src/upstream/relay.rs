//! One verb: post a callback to a back end and read its answer, or how far the call came.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::outside::{FaultKind, OutsideCall, OutsideClient, OutsideFault};
use crate::domain::webhook::url::WebhookUrl;
use crate::wechat::tree::Format;

/// No passive reply is longer.
pub const ANSWER_LIMIT_BYTES: usize = 64 * 1024;

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
    /// For the whole call; callers that go on to wait for a late answer allow for it.
    pub timeout: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    #[error("not connected: {detail}")]
    NotConnected { detail: String },
    /// Asked again at once on another connection, it may answer: mostly one that it had closed meanwhile.
    #[error("the connection ended first: {detail}")]
    Broken { detail: String },
    #[error("{detail}")]
    TimedOut { detail: String },
    #[error("HTTP {status}")]
    Status { status: u16 },
    #[error("the answer is longer than 64 KiB")]
    TooLong,
}

impl RelayError {
    /// The back end is away, rather than displeased.
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::NotConnected { .. } | Self::Broken { .. } | Self::TimedOut { .. })
    }
}

impl From<OutsideFault> for RelayError {
    fn from(fault: OutsideFault) -> Self {
        let detail = fault.to_string();
        match fault.kind {
            FaultKind::Timeout => Self::TimedOut { detail },
            _ if fault.is_unsent() => Self::NotConnected { detail },
            _ => Self::Broken { detail },
        }
    }
}

/// Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct RelayClient {
    outside: OutsideClient,
}

impl RelayClient {
    pub fn new(outside: OutsideClient) -> Self {
        Self { outside }
    }

    /// The body of a 2xx answer.
    pub async fn post(&self, letter: Letter<'_>) -> Result<Vec<u8>, RelayError> {
        let media = match letter.format {
            Format::Xml => "text/xml",
            Format::Json => "application/json",
        };
        let call = OutsideCall {
            url: address(letter.url, letter.query)?,
            allow_private: letter.is_operators,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]),
            body: letter.body,
            timeout: letter.timeout,
        };
        let answer = self.outside.ask(call, ANSWER_LIMIT_BYTES).await?;
        if !(200..300).contains(&answer.status) {
            return Err(RelayError::Status { status: answer.status });
        }
        answer.body.ok_or(RelayError::TooLong)
    }
}

fn address(url: &str, query: &[(&'static str, String)]) -> Result<WebhookUrl, RelayError> {
    let fault = |fault: &dyn std::fmt::Display| RelayError::NotConnected { detail: format!("its URL {fault}") };
    let mut url = WebhookUrl::parse(url).map_err(|error| fault(&error))?.url().clone();
    url.query_pairs_mut().extend_pairs(query);
    WebhookUrl::parse(url.as_str()).map_err(|error| fault(&error))
}

/// The host for logs: the rest of a URL may hold secrets.
pub fn host_of(url: &str) -> String {
    WebhookUrl::parse(url).map(|url| url.host()).unwrap_or_default()
}
