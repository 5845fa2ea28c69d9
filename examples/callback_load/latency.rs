//! How long things took.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Latency(Mutex<Vec<Duration>>);

impl Latency {
    pub(crate) fn add(&self, took: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(took);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Did 99 of 100 take no longer than this?
    pub(crate) fn is_within(&self, goal: Duration) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slow = all.iter().filter(|took| **took > goal).count();
        !all.is_empty() && slow * 100 <= all.len()
    }

    /// Milliseconds: p50, p99, p99.9, longest.
    pub(crate) fn line(&self) -> String {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.sort_unstable();
        let at = |per_mille: usize| {
            let found = all.get((all.len() * per_mille / 1000).min(all.len().saturating_sub(1)));
            found.map_or(0.0, |took| took.as_secs_f64() * 1000.0)
        };
        let longest = all.last().map_or(0.0, |took| took.as_secs_f64() * 1000.0);
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, longest {longest:.1} ms ({} in all)",
            at(500),
            at(990),
            at(999),
            all.len()
        )
    }
}
