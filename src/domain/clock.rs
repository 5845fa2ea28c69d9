//! Time as a value: `Timestamp` is what rows, JSON and rules use, `Clock` is where it comes from.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in milliseconds since 1970-01-01 UTC. Written as RFC 3339 with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as WeChat writes `CreateTime`.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(span)))
    }

    /// The span since `earlier`; zero when `earlier` lies later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 text (any offset) → a time; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|at| Self(at.timestamp_millis()))
    }
}

fn millis_of(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 time such as 2026-01-31T08:00:00Z"))
    }
}

/// Where time comes from. Services hold one; stores and values are handed a `Timestamp`.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        Timestamp(Utc::now().timestamp_millis())
    }
}

/// A clock that moves only when told to: for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn starting_at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.as_millis()))
    }

    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(millis_of(span), Ordering::SeqCst);
    }

    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A clock that is behind what it said before by more than this was set back; less is two readings that cross.
pub const JUMP: Duration = Duration::from_secs(5);

/// A time that never runs backwards, made of a wall clock that may: pauses and budgets go by it, so that a clock that is
/// set back by hours does not make them hours. Only spans of it mean anything.
#[derive(Debug, Default)]
pub struct Steady {
    last: Timestamp,
    behind: Duration,
}

impl Steady {
    pub fn at(&mut self, wall: Timestamp) -> Timestamp {
        let backwards = self.last.since(wall.plus(self.behind));
        if backwards > JUMP {
            self.behind += backwards;
        }
        self.last = self.last.max(wall.plus(self.behind));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_goes_on_when_the_clock_is_set_back() {
        let mut steady = Steady::default();
        let start = steady.at(Timestamp::from_seconds(50_000));
        assert_eq!(steady.at(Timestamp::from_seconds(50_010)).since(start), Duration::from_secs(10));
        assert_eq!(steady.at(Timestamp::from_seconds(10_000)).since(start), Duration::from_secs(10), "set back");
        assert_eq!(
            steady.at(Timestamp::from_seconds(10_005)).since(start),
            Duration::from_secs(15),
            "and on from there"
        );
        assert_eq!(steady.at(Timestamp::from_seconds(9_000)).since(start), Duration::from_secs(15), "set back again");
        assert_eq!(steady.at(Timestamp::from_seconds(9_001)).since(start), Duration::from_secs(16));
        assert_eq!(
            steady.at(Timestamp::from_seconds(9_000)).since(start),
            Duration::from_secs(16),
            "two readings that cross"
        );
        assert_eq!(
            steady.at(Timestamp::from_seconds(9_002)).since(start),
            Duration::from_secs(17),
            "do not make it faster"
        );
    }

    #[test]
    fn a_time_is_written_and_read_as_rfc3339() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp::parse("2023-11-15T06:13:20.123+08:00"), Some(at));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn since_never_goes_below_zero() {
        let at = Timestamp::from_millis(5);
        assert_eq!(at.since(Timestamp::from_millis(9)), Duration::ZERO);
        assert_eq!(at.plus(Duration::from_secs(1)).since(at), Duration::from_secs(1));
    }
}
