//! Faults by switch: what goes wrong, for which calls, how often. In: a call or an accepted message. Out: a fault, or none.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::calendar::{Count, end_of_minute, minute};
use crate::domain::clock::Timestamp;

/// What goes wrong. The `receipt_…` kinds strike receipts, all others API calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The answer is `errcode`; nothing is processed.
    #[default]
    Errcode,
    /// HTTP `status` with an HTML page.
    Http,
    /// HTTP 200 with an HTML page.
    Html,
    /// HTTP 200 without a body.
    Empty,
    /// Processed, then the connection is cut without an answer.
    Reset,
    /// The connection is cut, nothing is processed.
    ResetBefore,
    /// Processed; half of the JSON answer arrives.
    Truncated,
    /// Processed; the answer comes after `latency_ms`.
    Slow,
    /// No answer ever comes; the connection stays open.
    Hang,
    /// The receipt arrives before the answer to the send.
    ReceiptBefore,
    /// The receipt arrives twice.
    ReceiptTwice,
    /// A second receipt says the opposite.
    ReceiptContradicting,
    /// No receipt.
    ReceiptNever,
    /// The receipt's status is a text that nobody knows (`errmsg`, else `pending review`).
    ReceiptUnknown,
}

impl FaultKind {
    pub(super) const fn is_of_receipts(self) -> bool {
        matches!(
            self,
            Self::ReceiptBefore
                | Self::ReceiptTwice
                | Self::ReceiptContradicting
                | Self::ReceiptNever
                | Self::ReceiptUnknown
        )
    }
}

/// A switch. All conditions that are given must hold; the first fault that fits strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    pub kind: FaultKind,
    /// Appid; `None`: every account.
    pub account: Option<String>,
    /// API path such as `/cgi-bin/message/template/send`; `None`: every API.
    pub path: Option<String>,
    /// For `errcode`.
    pub errcode: i64,
    /// Instead of the usual text for this errcode.
    pub errmsg: Option<String>,
    /// For `http`.
    pub status: u16,
    /// Real time before the answer, with every kind.
    pub latency_ms: u64,
    /// Whether the call is processed all the same; `None`: as the kind says. Not for `slow` and `truncated`.
    pub after: Option<bool>,
    /// Share of the calls, 0 to 1.
    pub share: Option<f64>,
    /// Every N-th call.
    pub every: Option<u64>,
    /// Only while more than N calls of this API are under way.
    pub parallel_above: Option<u32>,
    /// Only calls above N in the current minute.
    pub per_minute: Option<u64>,
    /// Until the minute ends in which it was set.
    pub until_minute_ends: bool,
    /// That many calls, then never again.
    pub times: Option<u64>,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            kind: FaultKind::Errcode,
            account: None,
            path: None,
            errcode: -1,
            errmsg: None,
            status: 502,
            latency_ms: 0,
            after: None,
            share: None,
            every: None,
            parallel_above: None,
            per_minute: None,
            until_minute_ends: false,
            times: None,
        }
    }
}

impl Fault {
    pub fn of(kind: FaultKind) -> Self {
        Self { kind, ..Self::default() }
    }

    pub fn errcode(errcode: i64) -> Self {
        Self { errcode, ..Self::default() }
    }

    pub fn http(status: u16) -> Self {
        Self { status, ..Self::of(FaultKind::Http) }
    }

    /// Processed at once, answered late.
    pub fn slow(latency_ms: u64) -> Self {
        Self { latency_ms, ..Self::of(FaultKind::Slow) }
    }

    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    #[must_use]
    pub fn for_account(self, app_id: &str) -> Self {
        Self { account: Some(app_id.to_owned()), ..self }
    }

    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    #[must_use]
    pub fn every(self, nth: u64) -> Self {
        Self { every: Some(nth), ..self }
    }

    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self { share: Some(share), ..self }
    }

    /// Whether the call is processed before the fault strikes.
    pub(super) fn is_processed(&self) -> bool {
        match self.kind {
            // Without an answer there is nothing to delay or to cut short.
            FaultKind::Truncated | FaultKind::Slow => true,
            FaultKind::Reset => self.after.unwrap_or(true),
            _ => self.after.unwrap_or(false),
        }
    }

    /// What makes the switch senseless.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Some("share lies between 0 and 1");
        }
        if self.every == Some(0) {
            return Some("every is at least 1");
        }
        if !(200..=599).contains(&self.status) {
            return Some("status lies between 200 and 599");
        }
        None
    }
}

/// A fault that is switched on.
#[derive(Clone, Debug, Serialize)]
pub struct ArmedFault {
    pub id: u64,
    /// How many calls it saw, and how many it struck.
    pub seen: u64,
    pub struck: u64,
    pub until: Option<Timestamp>,
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(skip)]
    minute: Count,
}

/// What a fault is matched with.
pub(super) struct Scope<'a> {
    pub(super) account: Option<&'a str>,
    pub(super) path: &'a str,
    /// Calls of this API under way, this one included.
    pub(super) in_flight: u32,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    armed: Vec<ArmedFault>,
    next_id: u64,
}

impl Faults {
    /// Switches a fault on. Its share is taken as 0 or 1 when it lies outside.
    pub(super) fn arm(&mut self, mut fault: Fault, now: Timestamp) -> u64 {
        fault.share = fault.share.map(|share| if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) });
        self.next_id += 1;
        let until = fault.until_minute_ends.then(|| end_of_minute(now));
        self.armed.push(ArmedFault { id: self.next_id, seen: 0, struck: 0, until, fault, minute: Count::default() });
        self.next_id
    }

    pub(super) fn disarm(&mut self, id: u64) -> bool {
        let before = self.armed.len();
        self.armed.retain(|armed| armed.id != id);
        self.armed.len() < before
    }

    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.armed).len()
    }

    pub(super) fn list(&self) -> Vec<ArmedFault> {
        self.armed.clone()
    }

    pub(super) fn strike_call(&mut self, scope: &Scope<'_>, now: Timestamp, rng: &mut StdRng) -> Option<Fault> {
        self.strike(false, scope, now, rng)
    }

    pub(super) fn strike_receipt(&mut self, scope: &Scope<'_>, now: Timestamp, rng: &mut StdRng) -> Option<Fault> {
        self.strike(true, scope, now, rng)
    }

    fn strike(&mut self, of_receipts: bool, scope: &Scope<'_>, now: Timestamp, rng: &mut StdRng) -> Option<Fault> {
        let candidates = self.armed.iter_mut().filter(|armed| armed.fault.kind.is_of_receipts() == of_receipts);
        for armed in candidates {
            if armed.concerns(scope, now) && armed.strikes(scope, now, rng) {
                armed.struck += 1;
                return Some(armed.fault.clone());
            }
        }
        None
    }
}

impl ArmedFault {
    fn concerns(&self, scope: &Scope<'_>, now: Timestamp) -> bool {
        let of_account = self.fault.account.is_none() || self.fault.account.as_deref() == scope.account;
        let of_path = self.fault.path.as_deref().is_none_or(|path| path == scope.path);
        of_account && of_path && self.until.is_none_or(|until| now < until)
    }

    fn strikes(&mut self, scope: &Scope<'_>, now: Timestamp, rng: &mut StdRng) -> bool {
        self.seen += 1;
        let fault = &self.fault;
        if fault.per_minute.is_some_and(|limit| self.minute.take(minute(now), limit)) {
            return false;
        }
        if fault.parallel_above.is_some_and(|limit| scope.in_flight <= limit) {
            return false;
        }
        if fault.every.is_some_and(|nth| nth == 0 || !self.seen.is_multiple_of(nth)) {
            return false;
        }
        if fault.times.is_some_and(|times| self.struck >= times) {
            return false;
        }
        fault.share.is_none_or(|share| rng.random_bool(share))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SEND: &str = "/cgi-bin/message/template/send";
    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_010);

    fn struck(fault: Fault, calls: usize, in_flight: u32, now: Timestamp) -> Vec<bool> {
        let (mut faults, mut rng) = (Faults::default(), StdRng::seed_from_u64(3));
        faults.arm(fault, NOW);
        let scope = Scope { account: Some("wx1"), path: SEND, in_flight };
        (0..calls).map(|_| faults.strike_call(&scope, now, &mut rng).is_some()).collect()
    }

    #[test]
    fn a_fault_keeps_to_its_account_and_path() {
        assert_eq!(struck(Fault::errcode(-1).on(SEND).for_account("wx1"), 1, 1, NOW), [true]);
        assert_eq!(struck(Fault::errcode(-1).on("/cgi-bin/token"), 1, 1, NOW), [false]);
        assert_eq!(struck(Fault::errcode(-1).for_account("wx2"), 1, 1, NOW), [false]);
        assert_eq!(struck(Fault::of(FaultKind::ReceiptTwice), 1, 1, NOW), [false]);
    }

    #[test]
    fn every_times_and_share_are_kept() {
        assert_eq!(struck(Fault::errcode(-1).every(3), 6, 1, NOW), [false, false, true, false, false, true]);
        assert_eq!(struck(Fault::errcode(-1).times(2), 4, 1, NOW), [true, true, false, false]);
        let half = struck(Fault::errcode(-1).share(0.5), 1_000, 1, NOW).into_iter().filter(|hit| *hit).count();
        assert!((400..600).contains(&half), "{half}");
        assert_eq!(struck(Fault::errcode(-1).share(f64::NAN), 1, 1, NOW), [false]);
    }

    #[test]
    fn limits_of_the_minute_and_of_parallel_calls_are_kept() {
        let above_two = Fault { per_minute: Some(2), ..Fault::errcode(45011) };
        assert_eq!(struck(above_two, 4, 1, NOW), [false, false, true, true]);
        let this_minute = Fault { until_minute_ends: true, ..Fault::errcode(45011) };
        assert_eq!(struck(this_minute.clone(), 1, 1, Timestamp::from_seconds(1_700_000_039)), [true]);
        assert_eq!(struck(this_minute, 1, 1, Timestamp::from_seconds(1_700_000_040)), [false]);
        let parallel = Fault { parallel_above: Some(3), ..Fault::errcode(-1) };
        assert_eq!(struck(parallel.clone(), 1, 3, NOW), [false]);
        assert_eq!(struck(parallel, 1, 4, NOW), [true]);
    }
}
