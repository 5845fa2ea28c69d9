//! A circuit breaker per account: when WeChat cannot be reached, messages wait in the queue instead of each finding out
//! for itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::{Steady, Timestamp};

/// The breakers of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Breakers {
    failures_to_open: u32,
    pause: Duration,
    lines: Arc<Mutex<Lines>>,
}

/// Their dates are steady ones: a clock that is set back by hours must not keep a line shut for hours.
#[derive(Default)]
struct Lines {
    steady: Steady,
    by_account: HashMap<Arc<str>, Line>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    failures_in_a_row: u32,
    open_until: Option<Timestamp>,
    /// A probe is under way since.
    probing_since: Option<Timestamp>,
}

/// May this attempt go out?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    Go,
    /// Not before this is over.
    Wait {
        pause: Duration,
    },
}

impl Breakers {
    pub fn new(failures_to_open: u32, pause: Duration) -> Self {
        Self { failures_to_open: failures_to_open.max(1), pause, lines: Arc::default() }
    }

    /// Closed: go. Open: wait. Its time over: one probe goes, the others wait for what it finds.
    pub fn permit(&self, account: &Arc<str>, now: Timestamp) -> Permit {
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        let Some(line) = lines.by_account.get_mut(account) else { return Permit::Go };
        let Some(open_until) = line.open_until else { return Permit::Go };
        if now < open_until {
            return Permit::Wait { pause: open_until.since(now) };
        }
        match line.probing_since {
            // A probe that never reported (its task died) must not keep the line shut.
            Some(since) if now < since.plus(self.pause) => Permit::Wait { pause: self.pause / 4 },
            _ => {
                line.probing_since = Some(now);
                Permit::Go
            }
        }
    }

    /// WeChat answered (anything).
    pub fn succeeded(&self, account: &Arc<str>) {
        let mut lines = self.lines();
        let Some(line) = lines.by_account.get_mut(account) else { return };
        if line.open_until.is_some() {
            tracing::info!(account.id = %account, "WeChat answers again: sending resumes");
        }
        *line = Line::default();
    }

    /// No connection, or no usable answer.
    pub fn failed(&self, account: &Arc<str>, now: Timestamp) {
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        let line = lines.by_account.entry(account.clone()).or_default();
        line.failures_in_a_row = line.failures_in_a_row.saturating_add(1);
        let was_probe = line.probing_since.take().is_some();
        let still_open = line.open_until.is_some_and(|until| now < until);
        if still_open || !(was_probe || line.failures_in_a_row >= self.failures_to_open) {
            return;
        }
        line.open_until = Some(now.plus(self.pause));
        if !was_probe {
            tracing::warn!(
                account.id = %account,
                failures = line.failures_in_a_row,
                pause_ms = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX),
                "WeChat cannot be reached: messages wait in the queue"
            );
        }
    }

    /// How many messages of the account may be taken up now: none while its line is open or being probed, one to probe.
    /// Asks only; `permit` decides.
    pub fn room(&self, account: &Arc<str>, now: Timestamp) -> usize {
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        let Some(Line { open_until: Some(open_until), probing_since, .. }) = lines.by_account.get(account) else {
            return usize::MAX;
        };
        let is_probing = probing_since.is_some_and(|since| now < since.plus(self.pause));
        usize::from(now >= *open_until && !is_probing)
    }

    /// How many failures came in a row: the pace of retries follows it.
    pub fn failures(&self, account: &Arc<str>) -> u32 {
        self.lines().by_account.get(account).map_or(0, |line| line.failures_in_a_row)
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn it_opens_probes_and_closes() {
        let breakers = Breakers::new(3, 4 * SECOND);
        let shop: Arc<str> = "shop".into();
        for _ in 0..2 {
            breakers.failed(&shop, at(0));
            assert_eq!(breakers.permit(&shop, at(0)), Permit::Go);
        }
        breakers.failed(&shop, at(0));
        assert_eq!(breakers.permit(&shop, at(3)), Permit::Wait { pause: SECOND });
        assert_eq!((breakers.room(&shop, at(3)), breakers.room(&shop, at(4))), (0, 1));
        assert_eq!(breakers.permit(&shop, at(4)), Permit::Go, "the probe");
        assert_eq!(breakers.room(&shop, at(4)), 0);
        assert_eq!(breakers.permit(&shop, at(4)), Permit::Wait { pause: SECOND }, "the others wait for it");
        breakers.failed(&shop, at(4));
        assert_eq!(breakers.permit(&shop, at(5)), Permit::Wait { pause: 3 * SECOND });
        assert_eq!(breakers.permit(&shop, at(8)), Permit::Go, "one probe each time");
        breakers.succeeded(&shop);
        assert_eq!(breakers.permit(&shop, at(8)), Permit::Go);
        assert_eq!(breakers.failures(&shop), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_lengthen_the_pause() {
        let breakers = Breakers::new(1, 4 * SECOND);
        let shop: Arc<str> = "shop".into();
        breakers.failed(&shop, at(20_000));
        assert_eq!(breakers.permit(&shop, at(10_000)), Permit::Wait { pause: 4 * SECOND });
        assert_eq!(breakers.room(&shop, at(10_003)), 0);
        assert_eq!(breakers.permit(&shop, at(10_004)), Permit::Go);
    }

    #[test]
    fn accounts_do_not_share_a_breaker() {
        let breakers = Breakers::new(1, SECOND);
        breakers.failed(&"a".into(), at(0));
        assert_eq!(breakers.permit(&"b".into(), at(0)), Permit::Go);
        assert!(matches!(breakers.permit(&"a".into(), at(0)), Permit::Wait { .. }));
    }

    #[test]
    fn a_probe_that_never_reports_is_followed_by_another() {
        let breakers = Breakers::new(1, 2 * SECOND);
        let shop: Arc<str> = "shop".into();
        breakers.failed(&shop, at(0));
        assert_eq!(breakers.permit(&shop, at(2)), Permit::Go);
        assert_eq!(breakers.permit(&shop, at(4)), Permit::Go);
    }
}
