//! `Prefer: respond-async` and `Prefer: wait=N` (RFC 7240). What cannot be understood is ignored, as the RFC asks.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::services::accept::Wait;

const MAX_WAIT_SECONDS: u64 = 30;

/// How long the caller would like to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    pub respond_async: bool,
    /// At most 30 s.
    pub wait: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::read(&parts.headers))
    }
}

impl Prefer {
    fn read(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            // Parameters behind a semicolon are none of ours.
            let preference = preference.split(';').next().unwrap_or_default().trim();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("respond-async") {
                prefer.respond_async = true;
            } else if name.eq_ignore_ascii_case("wait")
                && prefer.wait.is_none()
                && let Ok(seconds) = value.parse::<u64>()
            {
                prefer.wait = Some(Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)));
            }
        }
        prefer
    }

    /// The wait in force; `default` is `api.wait`.
    pub fn wait(self, default: Duration) -> Wait {
        match self.wait.unwrap_or(default) {
            _ if self.respond_async => Wait::Not,
            Duration::ZERO => Wait::Not,
            wait => Wait::UpTo(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_and_nonsense_is_ignored() {
        let ten = Duration::from_secs(10);
        for (header, wait) in [
            ("", Wait::UpTo(ten)),
            ("respond-async", Wait::Not),
            ("wait=5", Wait::UpTo(Duration::from_secs(5))),
            ("wait=600", Wait::UpTo(Duration::from_secs(30))),
            ("wait=0", Wait::Not),
            ("wait=soon, return=minimal", Wait::UpTo(ten)),
            ("Respond-Async, wait=10", Wait::Not),
            ("return=minimal; wait=3, wait=\"7\"", Wait::UpTo(Duration::from_secs(7))),
        ] {
            let headers = [(http::HeaderName::from_static("prefer"), header.parse().unwrap())];
            assert_eq!(Prefer::read(&headers.into_iter().collect()).wait(ten), wait, "{header}");
        }
    }
}
