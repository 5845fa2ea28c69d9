//! Why a subscriber could not be reached, fit for an operator: no URL in it, no body, no secret.

use std::io;
use std::net::IpAddr;

use super::names::{Blocked, Unresolved};

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The address must not be reached.
    Blocked,
    /// The name has no address.
    Dns,
    Connect,
    Tls,
    Timeout,
    /// The connection broke before an answer was there, or what came is no HTTP.
    Broken,
}

impl FaultKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", kind.as_str())]
pub struct OutsideFault {
    pub kind: FaultKind,
    pub detail: String,
}

impl OutsideFault {
    pub(super) fn blocked(addresses: &[IpAddr]) -> Self {
        let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let detail = format!("{addresses} is not a public address: webhooks.allow_cidrs opens it");
        Self { kind: FaultKind::Blocked, detail }
    }

    /// No byte of the request has left.
    pub const fn is_unsent(&self) -> bool {
        matches!(self.kind, FaultKind::Blocked | FaultKind::Dns | FaultKind::Connect | FaultKind::Tls)
    }

    pub(super) fn of(error: &reqwest::Error) -> Self {
        let causes: Vec<_> = causes_of(error).collect();
        if let Some(Blocked(addresses)) = causes.iter().find_map(|cause| cause.downcast_ref()) {
            return Self::blocked(addresses);
        }
        if let Some(Unresolved(detail)) = causes.iter().find_map(|cause| cause.downcast_ref()) {
            return Self { kind: FaultKind::Dns, detail: detail.clone() };
        }
        if let Some(tls) = causes.iter().find_map(|cause| tls_of(*cause)) {
            return Self { kind: FaultKind::Tls, detail: tls.to_string() };
        }
        let kind = match error {
            error if error.is_timeout() => FaultKind::Timeout,
            error if error.is_connect() => FaultKind::Connect,
            _ => FaultKind::Broken,
        };
        let innermost = || causes.last().map_or_else(|| "no further detail".to_owned(), ToString::to_string);
        let detail = match kind {
            FaultKind::Timeout if error.is_connect() => "no connection in time".to_owned(),
            FaultKind::Timeout => "no answer in time".to_owned(),
            _ => innermost(),
        };
        Self { kind, detail }
    }
}

/// Without the error itself, which repeats the URL.
fn causes_of(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// An error of I/O hides the one that it carries.
fn tls_of<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let carried = || cause.downcast_ref::<io::Error>()?.get_ref();
    cause.downcast_ref().or_else(|| tls_of(carried()?))
}
