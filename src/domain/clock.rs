//! Time as a value: `Timestamp` is what rows, JSON and rules use, `Clock` is where it comes from.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        // Several of them stand in every message, so the years that occur are written here.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        if let Some(text) = self.write_to(&mut text) {
            return f.write_str(text);
        }
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl Timestamp {
    /// `None` outside of the years 1970 to 9999.
    fn write_to(self, text: &mut [u8; 24]) -> Option<&str> {
        let millis = u64::try_from(self.0).ok().filter(|millis| *millis < YEAR_10000)?;
        let (day, within) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = date_of(day);
        let places = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, within / 3_600_000),
            (14, 2, within / 60_000 % 60),
            (17, 2, within / 1_000 % 60),
            (20, 3, within % 1_000),
        ];
        for (start, digits, mut value) in places {
            for place in text.iter_mut().skip(start).take(digits).rev() {
                *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
                value /= 10;
            }
        }
        std::str::from_utf8(text).ok()
    }
}

const YEAR_10000: u64 = 253_402_300_800_000;

/// Days since 1970 → year, month and day: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
const fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // Counted from March, so that the leap day is the last of its year.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
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
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(millis_of(since))
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
        for (millis, text) in [(-1, "1969-12-31T23:59:59.999Z"), (253_402_300_800_000, "+10000-01-01T00:00:00.000Z")] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{}ms", i64::MAX));
    }

    proptest::proptest! {
        #[test]
        fn every_day_is_written_as_chrono_writes_it(millis in 0..253_402_300_800_000i64) {
            let chrono = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let expected = chrono.to_rfc3339_opts(SecondsFormat::Millis, true);
            proptest::prop_assert_eq!(Timestamp::from_millis(millis).to_string(), expected);
        }
    }

    #[test]
    fn since_never_goes_below_zero() {
        let at = Timestamp::from_millis(5);
        assert_eq!(at.since(Timestamp::from_millis(9)), Duration::ZERO);
        assert_eq!(at.plus(Duration::from_secs(1)).since(at), Duration::from_secs(1));
    }
}
