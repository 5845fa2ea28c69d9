//! How many tries of one webhook may be under way: a circuit breaker.
//!
//! A gate is *open* ([`FULL`]), *shut* (none until a date, then one that probes), or *narrow*: a probe was good, and each good
//! try makes room for one more until it is open again. While it is shut nothing is claimed and no try is used up, so what an endpoint
//! that is down for a day costs is a probe now and then.

use std::time::Duration;

use crate::domain::clock::{Steady, Timestamp};

/// Tries under way at once when nothing is wrong.
pub const FULL: usize = 32;
/// Bad tries in a row that shut it.
pub const FAILURES_TO_SHUT: u32 = 5;
/// The first pause; each bad probe doubles it.
const PAUSE: Duration = Duration::from_secs(5);
/// However long it lasts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The room behind a good probe.
const FIRST_ROOM: usize = 2;

/// Its dates are steady ones: a clock that is set back by hours must not keep it shut for hours.
#[derive(Debug, Default)]
pub struct Gate {
    steady: Steady,
    state: State,
    failures_in_a_row: u32,
    /// Pauses since it was open.
    pauses: u32,
    era: Era,
}

/// Grows each time the gate is shut: what was under way before says nothing about the time after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(u64);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Shut {
        until: Timestamp,
    },
    Narrow {
        room: usize,
    },
}

/// What a try has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swing {
    None,
    /// It was not shut, and is.
    Shut,
    /// It was shut, and is not.
    Opened,
}

impl Gate {
    /// How many more may begin, of those of this era.
    pub fn room(&mut self, now: Timestamp, under_way: usize) -> usize {
        let now = self.steady.at(now);
        match self.state {
            State::Open => FULL.saturating_sub(under_way),
            State::Shut { until } => usize::from(now >= until && under_way == 0),
            State::Narrow { room } => room.saturating_sub(under_way),
        }
    }

    /// Whether the next one is a probe.
    pub fn is_shut(&self) -> bool {
        matches!(self.state, State::Shut { .. })
    }

    /// How long it stays shut.
    pub fn pause(&mut self, now: Timestamp) -> Option<Duration> {
        let now = self.steady.at(now);
        match self.state {
            State::Shut { until } if until > now => Some(until.since(now)),
            _ => None,
        }
    }

    pub const fn era(&self) -> Era {
        self.era
    }

    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// A try that began in `era` was good.
    pub fn succeeded(&mut self, era: Era) -> Swing {
        if era != self.era {
            return Swing::None;
        }
        self.failures_in_a_row = 0;
        let (room, swing) = match self.state {
            State::Open => return Swing::None,
            State::Shut { .. } => (FIRST_ROOM, Swing::Opened),
            State::Narrow { room } => (room + 1, Swing::None),
        };
        self.state = if room >= FULL { State::Open } else { State::Narrow { room } };
        if self.state == State::Open {
            self.pauses = 0;
        }
        swing
    }

    /// It was not. `asked`: how long the endpoint wants to be left alone; it is shut then, whatever came before.
    pub fn failed(&mut self, era: Era, asked: Option<Duration>, now: Timestamp) -> Swing {
        let now = self.steady.at(now);
        if era != self.era {
            return Swing::None;
        }
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let is_one_too_many = self.failures_in_a_row >= FAILURES_TO_SHUT || asked.is_some();
        let swing = match self.state {
            State::Open if !is_one_too_many => return Swing::None,
            State::Narrow { room } if room > 1 && !is_one_too_many => {
                self.state = State::Narrow { room: room - 1 };
                return Swing::None;
            }
            State::Shut { .. } => Swing::None,
            State::Open | State::Narrow { .. } => Swing::Shut,
        };
        let own = PAUSE.saturating_mul(1 << self.pauses.min(16));
        let pause = own.max(asked.unwrap_or_default()).min(LONGEST_PAUSE);
        self.state = State::Shut { until: now.plus(pause) };
        self.pauses = self.pauses.saturating_add(1);
        self.era.0 += 1;
        swing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn shut_at(now: Timestamp) -> Gate {
        let mut gate = Gate::default();
        let era = gate.era();
        let swings: Vec<_> = (0..FAILURES_TO_SHUT).map(|_| gate.failed(era, None, now)).collect();
        assert_eq!(swings.iter().filter(|swing| **swing == Swing::Shut).count(), 1);
        assert_eq!(swings.last(), Some(&Swing::Shut));
        gate
    }

    #[test]
    fn some_failures_in_a_row_shut_it_and_a_good_one_between_them_does_not() {
        let mut gate = Gate::default();
        for _ in 0..20 {
            for _ in 1..FAILURES_TO_SHUT {
                gate.failed(gate.era(), None, at(0));
            }
            gate.succeeded(gate.era());
        }
        assert_eq!(gate.room(at(0), 3), FULL - 3);
        let mut gate = shut_at(at(0));
        assert_eq!(gate.room(at(4), 0), 0);
        assert_eq!(gate.pause(at(4)), Some(Duration::from_secs(1)));
        assert_eq!((gate.room(at(5), 0), gate.room(at(5), 1)), (1, 0), "one probes");
    }

    #[test]
    fn bad_probes_make_pauses_longer_up_to_the_longest() {
        let (mut gate, mut now, mut pauses) = (shut_at(at(0)), at(0), Vec::new());
        for _ in 0..9 {
            let pause = gate.pause(now).unwrap();
            pauses.push(pause.as_secs());
            now = now.plus(pause);
            assert_eq!(gate.room(now, 0), 1);
            assert_eq!(gate.failed(gate.era(), None, now), Swing::None, "said once");
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn it_opens_step_by_step() {
        let mut gate = shut_at(at(0));
        assert_eq!(gate.succeeded(gate.era()), Swing::Opened);
        let mut rounds = 0;
        while gate.room(at(9), 0) < FULL {
            let room = gate.room(at(9), 0);
            for _ in 0..room {
                assert_eq!(gate.succeeded(gate.era()), Swing::None);
            }
            rounds += 1;
            assert!(gate.room(at(9), 0) <= room * 2);
        }
        assert_eq!(rounds, 4, "doubled from round to round");
        let mut gate = shut_at(at(0));
        gate.succeeded(gate.era());
        gate.failed(gate.era(), None, at(1));
        assert_eq!(gate.room(at(1), 0), 1, "narrower");
        assert_eq!(gate.failed(gate.era(), None, at(1)), Swing::Shut);
        assert_eq!(gate.pause(at(1)), Some(Duration::from_secs(10)), "it was not open between");
    }

    #[test]
    fn what_was_under_way_before_it_was_shut_changes_nothing() {
        let mut gate = Gate::default();
        let before = gate.era();
        for _ in 0..FAILURES_TO_SHUT {
            gate.failed(before, None, at(0));
        }
        for _ in 0..27 {
            gate.failed(before, None, at(1));
        }
        gate.succeeded(before);
        assert_eq!(gate.pause(at(1)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn an_endpoint_may_ask_for_a_pause() {
        let mut gate = Gate::default();
        assert_eq!(gate.failed(gate.era(), Some(Duration::from_secs(60)), at(0)), Swing::Shut);
        assert_eq!(gate.pause(at(0)), Some(Duration::from_secs(60)));
        let mut gate = Gate::default();
        gate.failed(gate.era(), Some(Duration::from_secs(9999)), at(0));
        assert_eq!(gate.pause(at(0)), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_shut() {
        let mut gate = shut_at(at(50_000));
        assert_eq!(gate.room(at(10_000), 0), 0);
        assert_eq!(gate.room(at(10_005), 0), 1);
    }
}
