//! What an engine remembers of its tries: the flight under way, the budget, the pause after a failure.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};

use super::TokenError;
use super::rules::{self, Budget};
use crate::domain::clock::{Clock, Steady, Timestamp};
use crate::domain::token::AccessToken;
use crate::wechat::errcode::{self, Class};

pub(super) type Outcome = Result<Arc<AccessToken>, TokenError>;
pub(super) type Flight = Shared<BoxFuture<'static, Outcome>>;

/// Why a flight brought no token.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: TokenError,
    pub(super) kind: FailureKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// An earlier failure forbids to ask now.
    Paused,
    /// Nothing left for WeChat.
    NotAsked,
    /// It was asked: no answer, busy, or of no use.
    Asked,
    /// It was asked and says that the account is at fault, or asks too often.
    Refused(i64),
}

impl Failure {
    pub(super) fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { error: TokenError::Unavailable { reason: reason.into() }, kind }
    }

    pub(super) fn refused(errcode: i64, errmsg: String, rid: Option<String>) -> Self {
        let kind = match errcode::class_on_token_call(errcode) {
            Class::Transient => FailureKind::Asked,
            _ => FailureKind::Refused(errcode),
        };
        Self { error: TokenError::Refused { errcode, errmsg, rid }, kind }
    }
}

/// All times in it are steady ones.
pub(super) struct Book {
    pub(super) flight: Option<Flight>,
    pub(super) budget: Budget,
    /// SQL has been asked once, at the first need.
    pub(super) loaded: bool,
    /// The generation of the last alarm "refused again".
    pub(super) alarmed: Option<i64>,
    steady: Steady,
    failures_in_a_row: u32,
    paused_until: Option<Timestamp>,
    problem: Option<TokenError>,
    refresh_at: Option<Timestamp>,
}

impl Book {
    pub(super) fn new(max_refreshes_per_hour: u32) -> Self {
        Self {
            flight: None,
            budget: Budget::new(max_refreshes_per_hour),
            loaded: false,
            alarmed: None,
            steady: Steady::default(),
            failures_in_a_row: 0,
            paused_until: None,
            problem: None,
            refresh_at: None,
        }
    }

    /// The clock is read while the book is held, so that two readers cannot look like a clock that runs backwards.
    pub(super) fn now(&mut self, clock: &dyn Clock) -> Timestamp {
        self.steady.at(clock.now())
    }

    /// The failure that forbids to ask WeChat now.
    pub(super) fn pause(&mut self, clock: &dyn Clock) -> Option<Failure> {
        let now = self.now(clock);
        if self.paused_until.is_none_or(|until| until <= now) {
            return None;
        }
        let error = self.problem.clone();
        let error = error.unwrap_or(TokenError::Unavailable { reason: "the last token refresh failed".to_owned() });
        Some(Failure { error, kind: FailureKind::Paused })
    }

    pub(super) fn is_due(&mut self, clock: &dyn Clock) -> bool {
        let now = self.now(clock);
        self.refresh_at.is_none_or(|at| at <= now)
    }

    /// A token that lives for `left` is in use from now on.
    pub(super) fn plan_refresh(&mut self, clock: &dyn Clock, left: Duration, jitter: f64) {
        let now = self.now(clock);
        self.refresh_at = Some(rules::refresh_at(now, now.plus(left), jitter));
    }

    pub(super) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
        self.paused_until = None;
        self.problem = None;
    }

    /// → how long WeChat is not asked again; `None` when it was not asked for an earlier failure's sake.
    pub(super) fn failed(&mut self, failure: &Failure, clock: &dyn Clock) -> Option<Duration> {
        let now = self.now(clock);
        let failures = self.failures_in_a_row.saturating_add(1);
        let pause = match failure.kind {
            FailureKind::Paused => return None,
            FailureKind::NotAsked => rules::pause_after_silence(failures),
            FailureKind::Asked => rules::pause_after_silence(failures).max(self.budget.pace(now)),
            FailureKind::Refused(errcode) => rules::pause_after_refusal(errcode, failures),
        };
        self.failures_in_a_row = failures;
        self.paused_until = Some(now.plus(pause));
        self.problem = Some(failure.error.clone());
        Some(pause)
    }

    /// The last failure was the first since a token came.
    pub(super) fn has_just_begun_to_fail(&self) -> bool {
        self.failures_in_a_row == 1
    }

    /// Why the last refresh failed, if it did.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.as_ref().map(ToString::to_string)
    }
}
