//! Days and months as WeChat counts them: in Beijing time (UTC+8).

use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};

use crate::domain::clock::Timestamp;

const BEIJING: Duration = Duration::from_secs(8 * 3600);

/// Days since 1970 in UTC+8.
pub(super) fn day(now: Timestamp) -> i64 {
    now.plus(BEIJING).as_seconds().div_euclid(86_400)
}

/// Months since year 0 in UTC+8.
pub(super) fn month(now: Timestamp) -> i64 {
    DateTime::<Utc>::from_timestamp(now.plus(BEIJING).as_seconds(), 0)
        .map_or(0, |at| i64::from(at.year()) * 12 + i64::from(at.month0()))
}

/// Minutes since 1970.
pub(super) fn minute(now: Timestamp) -> i64 {
    now.as_seconds().div_euclid(60)
}

/// When the current minute ends.
pub(super) fn end_of_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds((minute(now) + 1) * 60)
}

/// A count that starts anew with each day, month or minute.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    span: i64,
    used: u64,
}

impl Count {
    pub(super) fn used(&self, span: i64) -> u64 {
        if self.span == span { self.used } else { 0 }
    }

    /// Counts one more; `false` (and not counted) when `limit` is reached.
    pub(super) fn take(&mut self, span: i64, limit: u64) -> bool {
        let used = self.used(span);
        if used >= limit {
            return false;
        }
        *self = Self { span, used: used + 1 };
        true
    }

    pub(super) fn set(&mut self, span: i64, used: u64) {
        *self = Self { span, used };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_beijing() {
        let before = Timestamp::parse("2026-01-31T15:59:59Z").unwrap();
        let after = Timestamp::parse("2026-01-31T16:00:00Z").unwrap();
        assert_eq!(day(after), day(before) + 1);
        assert_eq!(month(after), month(before) + 1);
    }

    #[test]
    fn a_count_starts_anew_with_its_span() {
        let mut count = Count::default();
        assert!(count.take(1, 1));
        assert!(!count.take(1, 1));
        assert!(count.take(2, 1));
        assert_eq!((count.used(1), count.used(2)), (0, 1));
    }
}
