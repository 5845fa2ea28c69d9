//! Which back ends are worth asking: one that is down would cost every callback the whole budget. After some failures in a row
//! its gate is shut; then one request at a time probes it, the first after a while, and the first that succeeds opens it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::RelayRules;
use crate::domain::clock::{Steady, Timestamp};
use crate::upstream::relay::host_of;

/// The gates of all back ends, by URL.
#[derive(Clone)]
pub(super) struct Gates {
    failures_to_shut: u32,
    shut_for: Duration,
    room: usize,
    state: Arc<Mutex<State>>,
}

/// A clock that is set back must not keep a gate shut for hours.
#[derive(Default)]
struct State {
    steady: Steady,
    gates: HashMap<String, Gate>,
}

struct Gate {
    failures_in_a_row: u32,
    shut_until: Option<Timestamp>,
    is_probed: bool,
    room: Arc<Semaphore>,
}

/// May be asked now. Dropped without a word (a panic, a stop), it counts as nothing.
pub(super) struct Pass {
    gates: Gates,
    url: String,
    is_probe: bool,
    _place: OwnedSemaphorePermit,
}

impl Gates {
    pub(super) fn new(rules: &RelayRules) -> Self {
        Self {
            failures_to_shut: rules.failures_to_shut.max(1),
            shut_for: rules.shut_for,
            room: rules.flights_per_target,
            state: Arc::default(),
        }
    }

    /// `None`: it is down, or has too much to do.
    pub(super) fn pass(&self, url: &str, now: Timestamp) -> Option<Pass> {
        let mut state = self.state();
        let now = state.steady.at(now);
        let gate = state.gates.entry(url.to_owned()).or_insert_with(|| Gate {
            failures_in_a_row: 0,
            shut_until: None,
            is_probed: false,
            room: Arc::new(Semaphore::new(self.room)),
        });
        let is_probe = match gate.shut_until {
            None => false,
            Some(until) if now >= until && !gate.is_probed => true,
            Some(_) => return None,
        };
        let place = gate.room.clone().try_acquire_owned().ok()?;
        gate.is_probed |= is_probe;
        Some(Pass { gates: self.clone(), url: url.to_owned(), is_probe, _place: place })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// It answered, whatever it said.
    pub(super) fn answered(&self) {
        let mut state = self.gates.state();
        let Some(gate) = state.gates.get_mut(&self.url) else { return };
        gate.failures_in_a_row = 0;
        if gate.shut_until.take().is_some() {
            tracing::info!(relay.host = host_of(&self.url), "a back end answers again");
        }
    }

    /// No connection, or no answer in time.
    pub(super) fn failed(&self, now: Timestamp) {
        let mut state = self.gates.state();
        let now = state.steady.at(now);
        let Some(gate) = state.gates.get_mut(&self.url) else { return };
        gate.failures_in_a_row = gate.failures_in_a_row.saturating_add(1);
        let was_open = gate.shut_until.is_none();
        if self.is_probe || (was_open && gate.failures_in_a_row >= self.gates.failures_to_shut) {
            gate.shut_until = Some(now.plus(self.gates.shut_for));
        }
        if was_open && gate.shut_until.is_some() {
            tracing::warn!(
                relay.host = host_of(&self.url),
                failures = gate.failures_in_a_row,
                "a back end does not answer: callbacks are answered without it, and it is tried now and then"
            );
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(gate) = self.gates.state().gates.get_mut(&self.url)
        {
            gate.is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://backend/wechat";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn gates() -> Gates {
        let shut_for = Duration::from_secs(10);
        Gates::new(&RelayRules { failures_to_shut: 3, shut_for, flights_per_target: 4, ..RelayRules::default() })
    }

    #[test]
    fn it_shuts_after_failures_in_a_row_and_one_probe_opens_it() {
        let gates = gates();
        for _ in 0..2 {
            gates.pass(URL, at(0)).unwrap().failed(at(0));
        }
        gates.pass(URL, at(0)).unwrap().answered();
        for _ in 0..3 {
            gates.pass(URL, at(0)).unwrap().failed(at(0));
        }
        assert!(gates.pass(URL, at(9)).is_none());
        assert!(gates.pass("http://other/wechat", at(9)).is_some());
        let probe = gates.pass(URL, at(10)).unwrap();
        assert!(gates.pass(URL, at(10)).is_none(), "one at a time");
        probe.failed(at(10));
        drop(probe);
        assert!(gates.pass(URL, at(19)).is_none(), "shut again");
        drop(gates.pass(URL, at(20)).unwrap());
        let probe = gates.pass(URL, at(20)).expect("a probe that ended without a word is followed by another");
        probe.answered();
        assert!(gates.pass(URL, at(20)).is_some());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let gates = gates();
        let mut passes: Vec<_> = (0..4).map(|_| gates.pass(URL, at(0)).unwrap()).collect();
        assert!(gates.pass(URL, at(0)).is_none());
        passes.pop();
        assert!(gates.pass(URL, at(0)).is_some());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_shut() {
        let gates = gates();
        for _ in 0..3 {
            gates.pass(URL, at(100_000)).unwrap().failed(at(100_000));
        }
        assert!(gates.pass(URL, at(50_000)).is_none());
        assert!(gates.pass(URL, at(50_010)).is_some());
    }
}
