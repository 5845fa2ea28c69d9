//! How fast an account's messages go to WeChat. A pace refuses nothing, it spaces: what has no turn yet waits in the queue.
//!
//! Turns come at a rate, and a few of them may be saved up. While messages wait for their turns the rate grows slowly. When
//! WeChat says that it is asked for too much, the rate is halved; within a minute it is the first one again, and comes near
//! what was too much only with care. Each process has its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::clock::{Steady, Timestamp};
use crate::domain::limit::Pace;

/// One second's complaints are one: their calls left at the same pace.
const CUT_AGAIN: Duration = Duration::from_secs(1);
/// From nothing to the first rate.
const RECOVERY: Duration = Duration::from_secs(60);
/// The pace is never slower than this part of the first rate.
const FLOOR: f64 = 1.0 / 64.0;
/// The share of saved turns that only the queue may take, so that a stream of callers cannot starve what waits there.
const QUEUE_SHARE: f64 = 1.0 / 8.0;
/// With this share of the turns saved up, nobody waits any more.
const CALM: f64 = 0.5;
/// By how much of itself the rate grows in a second while messages wait: twenty times as fast within half a minute.
const GROWTH: f64 = 0.1;
/// The same, near the rate that was too much not long ago.
const CARE: f64 = 0.01;
const NEAR: f64 = 0.75;
const NOT_LONG: Duration = Duration::from_secs(600);

/// The paces of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Paces {
    /// `None`: as fast as it goes.
    rule: Option<Rule>,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    first: f64,
    top: f64,
    burst: f64,
}

#[derive(Default)]
struct Lines {
    steady: Steady,
    by_account: HashMap<Arc<str>, Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Below zero: the queue has run ahead.
    turns: f64,
    per_second: f64,
    counted_at: Timestamp,
    /// When it was too much, and at which rate.
    cut: Option<(Timestamp, f64)>,
    /// Somebody found no turn.
    is_pressed: bool,
}

impl Paces {
    pub fn new(pace: Option<Pace>) -> Self {
        let rule = pace.map(|pace| Rule {
            first: 1.0 / pace.first.pace().as_secs_f64(),
            top: f64::from(pace.top.get()) / pace.first.per.as_secs_f64(),
            burst: f64::from(pace.first.burst.get()),
        });
        Self { rule, lines: Arc::default() }
    }

    /// How many messages of the account may go now.
    pub fn room(&self, account: &Arc<str>, now: Timestamp) -> usize {
        let room = |line: &mut Line, _: &Rule, _| {
            let turns = line.whole_turns();
            line.is_pressed |= turns == 0;
            turns
        };
        self.with(account, now, room).unwrap_or(usize::MAX)
    }

    /// Until the account has a turn; zero when it has one.
    pub fn next_turn(&self, account: &Arc<str>, now: Timestamp) -> Duration {
        let wait = |line: &mut Line, _: &Rule, _| match line.turns {
            turns if turns >= 1.0 => Duration::ZERO,
            turns => Duration::try_from_secs_f64((1.0 - turns) / line.per_second).unwrap_or(Duration::MAX),
        };
        self.with(account, now, wait).unwrap_or_default()
    }

    /// A turn for a message that comes in now, if there are more than the queue's share.
    pub fn take_for_caller(&self, account: &Arc<str>, now: Timestamp) -> bool {
        let take = |line: &mut Line, rule: &Rule, _| {
            let kept = if rule.burst > 1.0 { (rule.burst * QUEUE_SHARE).max(1.0) } else { 0.0 };
            let is_there = line.turns >= kept + 1.0;
            match is_there {
                true => line.turns -= 1.0,
                false => line.is_pressed = true,
            }
            is_there
        };
        self.with(account, now, take).unwrap_or(true)
    }

    /// A turn for a message that was lent because there was room: it goes, and those after it wait for it.
    pub fn take(&self, account: &Arc<str>, now: Timestamp) {
        self.with(account, now, |line, _, _| line.turns -= 1.0);
    }

    /// WeChat is asked for too much.
    pub fn slow_down(&self, account: &Arc<str>, now: Timestamp) {
        let cut = |line: &mut Line, rule: &Rule, now: Timestamp| {
            if line.cut.is_some_and(|(at, _)| now.since(at) < CUT_AGAIN) {
                return;
            }
            if line.per_second >= rule.first {
                tracing::info!(
                    account.id = &**account,
                    "WeChat is asked for too much: this account's messages go slower for a while"
                );
            }
            line.cut = Some((now, line.per_second));
            line.per_second = (line.per_second / 2.0).max(rule.first * FLOOR);
            line.turns = line.turns.min(0.0);
        };
        self.with(account, now, cut);
    }

    /// Messages a second; `None`: as fast as it goes.
    pub fn per_second(&self, account: &Arc<str>, now: Timestamp) -> Option<f64> {
        self.with(account, now, |line, _, _| line.per_second)
    }

    fn with<T>(
        &self,
        account: &Arc<str>,
        now: Timestamp,
        act: impl FnOnce(&mut Line, &Rule, Timestamp) -> T,
    ) -> Option<T> {
        let rule = self.rule?;
        let mut lines = self.lines();
        let now = lines.steady.at(now);
        let full = Line { turns: rule.burst, per_second: rule.first, counted_at: now, cut: None, is_pressed: false };
        let line = lines.by_account.entry(account.clone()).or_insert(full);
        line.count_to(now, &rule);
        Some(act(line, &rule, now))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn count_to(&mut self, now: Timestamp, rule: &Rule) {
        let seconds = now.since(self.counted_at).as_secs_f64();
        let before = self.per_second;
        if before < rule.first {
            self.per_second = (before + rule.first * seconds / RECOVERY.as_secs_f64()).min(rule.first);
        } else if self.is_pressed {
            // Nobody has waited for longer than a second unseen.
            self.per_second = (before * (1.0 + self.growth(now) * seconds.min(1.0))).min(rule.top);
        }
        // A slower account saves up less.
        let burst = (rule.burst * (self.per_second / rule.first).min(1.0)).max(1.0);
        self.turns = (self.turns + seconds * f64::midpoint(before, self.per_second)).min(burst);
        self.is_pressed &= self.turns < (rule.burst * CALM).max(1.0);
        self.counted_at = now;
    }

    fn growth(&self, now: Timestamp) -> f64 {
        let is_near = |(at, too_much): (Timestamp, f64)| now.since(at) < NOT_LONG && self.per_second > too_much * NEAR;
        if self.cut.is_some_and(is_near) { CARE } else { GROWTH }
    }

    /// Halves of a millionth are lost in adding up.
    #[expect(clippy::cast_possible_truncation, reason = "it is at least zero, and at most the burst")]
    fn whole_turns(&self) -> usize {
        (self.turns + 1e-6).max(0.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::domain::limit::Rate;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn shop() -> Arc<str> {
        "shop".into()
    }

    /// Sixteen a second, eight saved up.
    fn paces() -> Paces {
        let number = |n| NonZeroU32::new(n).unwrap();
        let first = Rate { count: number(16), per: Duration::from_secs(1), burst: number(8) };
        Paces::new(Some(Pace { first, top: number(64) }))
    }

    #[test]
    fn saved_turns_go_at_once_and_then_one_after_the_other() {
        let (paces, shop) = (paces(), shop());
        assert_eq!((paces.room(&shop, at(0)), paces.next_turn(&shop, at(0))), (8, Duration::ZERO));
        (0..8).for_each(|_| paces.take(&shop, at(0)));
        assert_eq!(paces.room(&shop, at(0)), 0);
        assert_eq!(paces.next_turn(&shop, at(0)).as_micros(), 62_500);
        assert_eq!((paces.room(&shop, at(62)), paces.room(&shop, at(63)), paces.room(&shop, at(250))), (0, 1, 4));
        assert_eq!(paces.room(&shop, at(60_000)), 8, "no more than are saved up");
        assert_eq!(paces.room(&"other".into(), at(0)), 8);
    }

    #[test]
    fn callers_leave_the_queue_its_share() {
        let (paces, shop) = (paces(), shop());
        let taken = (0..20).filter(|_| paces.take_for_caller(&shop, at(0))).count();
        assert_eq!((taken, paces.room(&shop, at(0))), (7, 1));
    }

    #[test]
    fn it_is_halved_once_a_second_and_grows_again() {
        let (paces, shop) = (paces(), shop());
        let rate = |millis| paces.per_second(&shop, at(millis)).unwrap();
        (0..10).for_each(|_| paces.slow_down(&shop, at(0)));
        assert_eq!((rate(0), paces.room(&shop, at(0))), (8.0, 0), "what was saved up is gone");
        paces.slow_down(&shop, at(1_500));
        assert!((4.0..4.5).contains(&rate(1_500)), "{}", rate(1_500));
        assert!(rate(11_500) > 6.5 && rate(11_500) < 7.5, "{}", rate(11_500));
        assert_eq!(rate(61_500), 16.0);
        for second in 100..200 {
            paces.slow_down(&shop, at(second * 1_000));
        }
        assert!(rate(199_000) >= 16.0 * FLOOR && paces.next_turn(&shop, at(199_000)) < Duration::from_secs(8));
    }

    #[test]
    fn it_grows_while_messages_wait_up_to_its_top() {
        let (paces, shop) = (paces(), shop());
        let work = |seconds: std::ops::Range<i64>, wanted: usize| {
            for millis in (seconds.start * 1_000..seconds.end * 1_000).step_by(100) {
                let room = paces.room(&shop, at(millis)).min(wanted);
                (0..room).for_each(|_| paces.take(&shop, at(millis)));
                // As the worker does before it sleeps.
                paces.room(&shop, at(millis));
                paces.next_turn(&shop, at(millis));
            }
            paces.per_second(&shop, at(seconds.end * 1_000)).unwrap()
        };
        assert_eq!(work(0..60, 1), 16.0, "ten a second are no press");
        let grown = work(60..67, 99);
        assert!((28.0..34.0).contains(&grown), "{grown}");
        assert_eq!(work(67..100, 99), 64.0);
        paces.slow_down(&shop, at(100_000));
        let (near, careful) = (work(100..106, 99), work(106..116, 99));
        assert!((48.0..57.0).contains(&near) && careful < near * 1.15, "{near} {careful}");
    }

    #[test]
    fn without_a_rate_nothing_is_spaced() {
        let (paces, shop) = (Paces::new(None), shop());
        paces.slow_down(&shop, at(0));
        assert_eq!((paces.room(&shop, at(0)), paces.per_second(&shop, at(0))), (usize::MAX, None));
        assert!(paces.take_for_caller(&shop, at(0)));
    }
}
