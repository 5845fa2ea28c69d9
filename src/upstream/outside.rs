//! Calls to subscribers: URLs that somebody else has chosen, hosts that nobody vouches for.
//!
//! Which addresses may be reached is asked when a connection is made, of the addresses that it would go to: what a name meant a
//! moment ago does not count. Nothing is followed, nothing is taken from the environment, nothing of an answer is kept.

mod fault;
mod names;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use reqwest::dns::Resolve;

pub use fault::{FaultKind, OutsideFault};
pub use names::SystemNames;
pub use reading::ReadAnswer;

use self::names::Guarded;
use super::http::{BuildError, install_tls};
use crate::domain::clock::Timestamp;
use crate::domain::webhook::address::Reach;
use crate::domain::webhook::url::WebhookUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Kept-alive connections per host.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// An answer is read so far, so that its connection can be used again.
const ANSWER_LIMIT_BYTES: usize = 64 << 10;
/// And so long: its status has told everything.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct OutsideClient {
    guarded: Line,
    /// For webhooks with `allow_private`. Its connections are never lent to the others.
    open: Line,
}

#[derive(Clone)]
struct Line {
    http: reqwest::Client,
    reach: Arc<Reach>,
}

/// One request: a POST.
#[derive(Clone)]
pub struct OutsideCall {
    pub url: WebhookUrl,
    /// Also to addresses that are not public: the operator's own choice.
    pub allow_private: bool,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// For the whole call, with the connection.
    pub timeout: Duration,
}

/// What came back, whatever the status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideAnswer {
    pub status: u16,
    pub retry_after: Option<RetryAfter>,
}

/// When the subscriber wants to be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Wait(Duration),
    Until(Timestamp),
}

impl RetryAfter {
    pub fn wait(self, now: Timestamp) -> Duration {
        match self {
            Self::Wait(wait) => wait,
            Self::Until(at) => at.since(now),
        }
    }

    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Self::Wait(Duration::from_secs(seconds)));
        }
        DateTime::parse_from_rfc2822(text).ok().map(|at| Self::Until(Timestamp::from_millis(at.timestamp_millis())))
    }
}

impl OutsideAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl OutsideClient {
    /// `reach`: what webhooks may reach that are not let everywhere.
    pub fn new(reach: Reach) -> Result<Self, BuildError> {
        Self::with_names(reach, Arc::new(SystemNames::default()))
    }

    /// `names` says which addresses a name has; it is trusted with nothing.
    pub fn with_names(reach: Reach, names: Arc<dyn Resolve>) -> Result<Self, BuildError> {
        Ok(Self { guarded: Line::new(reach, names.clone())?, open: Line::new(Reach::everywhere(), names)? })
    }

    /// What may be reached by webhooks that are not let everywhere.
    pub fn reach(&self) -> &Reach {
        &self.guarded.reach
    }

    /// An answer of any status is an answer. After a fault the request may have arrived, unless [`OutsideFault::is_unsent`].
    pub async fn post(&self, call: OutsideCall) -> Result<OutsideAnswer, OutsideFault> {
        let response = self.send(call).await?;
        let answer =
            OutsideAnswer { status: response.status().as_u16(), retry_after: RetryAfter::read(response.headers()) };
        let _ = tokio::time::timeout(DRAIN_LIMIT, drain(response)).await;
        Ok(answer)
    }

    /// The head of an answer.
    async fn send(&self, call: OutsideCall) -> Result<reqwest::Response, OutsideFault> {
        let line = if call.allow_private { &self.open } else { &self.guarded };
        // Nobody is asked for the address of an address.
        if let Some(address) = call.url.literal().filter(|address| !line.reach.allows(*address)) {
            return Err(OutsideFault::blocked(&[address]));
        }
        let request = line.http.post(call.url.url().clone()).headers(call.headers).body(call.body);
        request.timeout(call.timeout).send().await.map_err(|error| OutsideFault::of(&error))
    }
}

impl Line {
    fn new(reach: Reach, names: Arc<dyn Resolve>) -> Result<Self, BuildError> {
        install_tls();
        let reach = Arc::new(reach);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("wxgate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .dns_resolver(Guarded::new(reach.clone(), names))
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self { http, reach })
    }
}

/// What is longer is dropped with its connection.
async fn drain(mut response: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_LIMIT_BYTES {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
