//! A circuit breaker per account: when WeChat cannot be reached, messages wait in the queue instead of each finding out
//! for itself; and when it answers again, they do not all come at once.
//!
//! A line is *free* (as many as there are slots), *shut* (none until a date, then one that probes), or *narrow*: it has
//! answered again and may carry one more with every good call, so its room doubles from round to round until it is free,
//! and one less with every bad call. An attempt takes an [`Admission`] first, and tells it what came of the call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::clock::{Steady, Timestamp};

/// The room of a line that has just answered a probe.
const FIRST_ROOM: usize = 2;

/// When a line is shut, and how it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    /// Bad calls in a row that shut it.
    pub failures_to_shut: u32,
    /// How long it stays shut before one message probes.
    pub pause: Duration,
    /// Attempts under way at once when nothing is wrong: with this room a line is free.
    pub full: usize,
}

/// The breakers of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Breakers {
    rules: BreakerRules,
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
    gate: Gate,
    failures_in_a_row: u32,
    /// Grows each time the line is shut. What was under way before says nothing about the line after it.
    era: u64,
    /// Admissions of this era.
    under_way: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Free,
    Shut {
        until: Timestamp,
    },
    Narrow {
        room: usize,
    },
}

/// What one call says about the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// WeChat answered and is well, whatever it said about the message.
    Answered,
    /// It answered that it is busy (-1), or is asked too often.
    Busy,
    /// No connection, or no usable answer.
    Lost,
}

/// May this attempt go out?
#[derive(Debug)]
pub enum Permit {
    Go(Admission),
    /// Not before this is over.
    Wait {
        pause: Duration,
    },
}

/// A place on the line. It is given back when it is dropped, also by a task that panics.
pub struct Admission {
    breakers: Breakers,
    account: Arc<str>,
    era: u64,
}

impl Breakers {
    pub fn new(rules: BreakerRules) -> Self {
        let rules = BreakerRules { failures_to_shut: rules.failures_to_shut.max(1), ..rules };
        Self { rules, lines: Arc::default() }
    }

    /// A place for one attempt, if there is room.
    pub fn admit(&self, account: &Arc<str>, now: Timestamp) -> Permit {
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        let line = lines.by_account.entry(account.clone()).or_default();
        if line.room(now) == 0 {
            let soon = self.rules.pause / 4;
            let pause = match line.gate {
                Gate::Shut { until } => until.since(now).max(soon),
                Gate::Free | Gate::Narrow { .. } => soon,
            };
            return Permit::Wait { pause };
        }
        line.under_way += 1;
        Permit::Go(Admission { breakers: self.clone(), account: account.clone(), era: line.era })
    }

    /// How many messages of the account may be taken up now. Asks only; `admit` decides.
    pub fn room(&self, account: &Arc<str>, now: Timestamp) -> usize {
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        lines.by_account.get(account).map_or(usize::MAX, |line| line.room(now))
    }

    /// The line carries fewer than it could: whoever ends an attempt makes room for somebody who waits for it.
    pub fn is_narrow(&self, account: &Arc<str>) -> bool {
        self.lines().by_account.get(account).is_some_and(|line| matches!(line.gate, Gate::Narrow { .. }))
    }

    /// How many bad calls came in a row: the pace of retries follows it.
    pub fn failures(&self, account: &Arc<str>) -> u32 {
        self.lines().by_account.get(account).map_or(0, |line| line.failures_in_a_row)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn room(&self, now: Timestamp) -> usize {
        match self.gate {
            Gate::Free => usize::MAX,
            Gate::Shut { until } => usize::from(now >= until && self.under_way == 0),
            Gate::Narrow { room } => room.saturating_sub(self.under_way),
        }
    }

    fn answered(&mut self, rules: &BreakerRules, account: &str) {
        self.failures_in_a_row = 0;
        let room = match self.gate {
            Gate::Free => return,
            Gate::Shut { .. } => {
                tracing::info!(account.id = account, "WeChat answers again: sending resumes step by step");
                FIRST_ROOM
            }
            Gate::Narrow { room } => room + 1,
        };
        self.gate = if room >= rules.full { Gate::Free } else { Gate::Narrow { room } };
    }

    fn failed(&mut self, rules: &BreakerRules, account: &str, now: Timestamp) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let is_one_too_many = self.failures_in_a_row >= rules.failures_to_shut;
        match self.gate {
            Gate::Free if !is_one_too_many => return,
            Gate::Narrow { room } if room > 1 && !is_one_too_many => {
                self.gate = Gate::Narrow { room: room - 1 };
                return;
            }
            // A probe: there will be many, and the first fault has been told.
            Gate::Shut { .. } => {}
            Gate::Free | Gate::Narrow { .. } => tracing::warn!(
                account.id = account,
                failures = self.failures_in_a_row,
                pause_ms = u64::try_from(rules.pause.as_millis()).unwrap_or(u64::MAX),
                "WeChat cannot be reached or is busy: messages wait in the queue"
            ),
        }
        self.gate = Gate::Shut { until: now.plus(rules.pause) };
        self.era += 1;
        self.under_way = 0;
    }
}

impl Admission {
    /// What a call made on this place says about the line. An attempt may make several.
    pub fn report(&self, health: Health, now: Timestamp) {
        let now = self.breakers.lines().steady.at(now);
        self.with_line(|line, rules| match health {
            Health::Answered => line.answered(rules, &self.account),
            Health::Busy | Health::Lost => line.failed(rules, &self.account, now),
        });
    }

    /// Not when the line has been shut since: it has moved on.
    fn with_line(&self, act: impl FnOnce(&mut Line, &BreakerRules)) {
        let mut lines = self.breakers.lines();
        if let Some(line) = lines.by_account.get_mut(&self.account).filter(|line| line.era == self.era) {
            act(line, &self.breakers.rules);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.with_line(|line, _| line.under_way = line.under_way.saturating_sub(1));
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("account", &self.account).field("era", &self.era).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
