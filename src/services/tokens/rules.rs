//! When a token may be fetched, and when by force: rules over plain values.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::clock::Timestamp;

/// The background refresh begins this long before the end; WeChat renews five minutes before it (stable_token page).
const REFRESH_AHEAD: Duration = Duration::from_secs(300);
/// Two forced refreshes lie at least this far apart (stable_token page).
const FORCED_APART: Duration = Duration::from_secs(30);
/// Forced refreshes a day (stable_token page).
const FORCED_PER_DAY: u32 = 20;
const HOUR: Duration = Duration::from_secs(3600);
/// WeChat counts days in UTC+8.
const BEIJING_OFFSET_SECONDS: i64 = 8 * 3600;

/// When the background refresh of a token is due: 300 s before its end, up to `jitter` × 60 s earlier, but never before
/// half its life is over.
pub(super) fn refresh_at(fetched_at: Timestamp, expires_at: Timestamp, jitter: f64) -> Timestamp {
    let early = expires_at.minus(REFRESH_AHEAD + Duration::from_secs(60).mul_f64(jitter.clamp(0.0, 1.0)));
    let half_life = fetched_at.plus(expires_at.since(fetched_at) / 2);
    early.max(half_life)
}

/// May this account be refreshed by force now? `Err` says why not. A mark that lies far ahead is of a clock that has been
/// set back since: it is over.
pub(super) fn may_force(forced_at: Option<Timestamp>, forced_today: u32, now: Timestamp) -> Result<(), &'static str> {
    let Some(last) = forced_at else { return Ok(()) };
    if now.since(last) < FORCED_APART && last.since(now) < FORCED_APART {
        return Err("the last forced refresh is less than 30 s ago");
    }
    if day_of(last) == day_of(now) && forced_today >= FORCED_PER_DAY {
        return Err("20 forced refreshes today are used up");
    }
    Ok(())
}

/// The count of forced refreshes after one more.
pub(super) fn count_forced(forced_at: Option<Timestamp>, forced_today: u32, now: Timestamp) -> u32 {
    match forced_at {
        Some(last) if day_of(last) == day_of(now) => forced_today.saturating_add(1),
        _ => 1,
    }
}

fn day_of(at: Timestamp) -> i64 {
    (at.as_seconds() + BEIJING_OFFSET_SECONDS).div_euclid(24 * 3600)
}

/// The hard budget of fetches per hour. Times are steady ones.
#[derive(Debug)]
pub(super) struct Budget {
    per_hour: usize,
    spent_at: VecDeque<Timestamp>,
}

impl Budget {
    pub(super) fn new(per_hour: u32) -> Self {
        Self { per_hour: per_hour as usize, spent_at: VecDeque::new() }
    }

    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let allowed = self.left(now) > 0;
        if allowed {
            self.spent_at.push_back(now);
        }
        allowed
    }

    /// Gives the last one back: that fetch never left.
    pub(super) fn refund(&mut self) {
        self.spent_at.pop_back();
    }

    fn left(&mut self, now: Timestamp) -> usize {
        while self.spent_at.front().is_some_and(|at| at.plus(HOUR) <= now) {
            self.spent_at.pop_front();
        }
        self.per_hour.saturating_sub(self.spent_at.len())
    }

    /// How far apart fetches that fail have to lie for the budget to last: nothing while more than half of it is there;
    /// then the other half is spread over an hour.
    pub(super) fn pace(&mut self, now: Timestamp) -> Duration {
        if self.left(now) * 2 > self.per_hour {
            return Duration::ZERO;
        }
        let per_hour = u32::try_from(self.per_hour).unwrap_or(u32::MAX).max(1);
        (HOUR * 2 / per_hour).min(HOUR)
    }
}

/// How long to ask no more after a failure.
pub(super) fn pause_after_refusal(errcode: i64, refusals_in_a_row: u32) -> Duration {
    const MINUTE: Duration = Duration::from_secs(60);
    match errcode {
        // An administrator refused this address for a day, or an hour.
        89506 => 24 * HOUR,
        89507 => HOUR,
        // The minute's quota, the day's quota.
        45011 => MINUTE,
        45009 => 30 * MINUTE,
        _ => MINUTE * [1, 2, 5, 10][refusals_in_a_row.clamp(1, 4) as usize - 1],
    }
}

/// How long to ask no more after WeChat was busy or out of reach; at most 30 s.
pub(super) fn pause_after_silence(failures_in_a_row: u32) -> Duration {
    Duration::from_secs(1 << failures_in_a_row.clamp(1, 6).saturating_sub(1)).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_refresh_is_due_ahead_of_the_end() {
        assert_eq!(refresh_at(at(0), at(7200), 0.0), at(6900));
        assert_eq!(refresh_at(at(0), at(7200), 1.0), at(6840));
        assert_eq!(refresh_at(at(0), at(400), 0.5), at(200), "a short life: at its half");
    }

    #[test]
    fn force_is_spaced_and_counted_by_the_day_of_beijing() {
        assert!(may_force(None, 0, at(0)).is_ok());
        assert!(may_force(Some(at(100)), 1, at(129)).is_err());
        assert!(may_force(Some(at(100)), 1, at(130)).is_ok());
        assert!(may_force(Some(at(100)), 20, at(200)).is_err());
        let next_day = at(16 * 3600);
        assert!(may_force(Some(at(100)), 20, next_day).is_ok(), "midnight in UTC+8 is 16:00 UTC");
        assert_eq!(count_forced(Some(at(100)), 7, at(200)), 8);
        assert_eq!(count_forced(Some(at(100)), 7, next_day), 1);
    }

    #[test]
    fn a_mark_of_a_clock_that_was_set_back_is_over() {
        assert!(may_force(Some(at(20_000)), 1, at(10_000)).is_ok());
        assert!(may_force(Some(at(20_000)), 1, at(19_999)).is_err(), "another node's clock may run ahead by a little");
    }

    #[test]
    fn failing_fetches_never_run_the_budget_dry() {
        for per_hour in [1, 2, 3, 5, 10, 13, 30, 60, 1_000] {
            let (mut budget, mut now, mut failures) = (Budget::new(per_hour), at(0), 0);
            while now < at(5 * 3600) {
                assert!(budget.spend(now), "{per_hour} per hour, at {now}");
                failures += 1;
                now = now.plus(pause_after_silence(failures).max(budget.pace(now)));
            }
        }
    }

    #[test]
    fn a_fetch_that_never_left_is_given_back() {
        let mut budget = Budget::new(1);
        assert!(budget.spend(at(0)) && !budget.spend(at(1)));
        budget.refund();
        assert!(budget.spend(at(1)));
    }

    #[test]
    fn the_budget_is_a_sliding_hour() {
        let mut budget = Budget::new(2);
        assert!(budget.spend(at(0)) && budget.spend(at(1800)));
        assert!(!budget.spend(at(3599)));
        assert!(budget.spend(at(3600)));
        assert!(!budget.spend(at(3601)));
    }
}
