//! Lease → run → settle, for as many messages as there are slots. Nothing is leased that cannot be run at once, so that a
//! crash puts no more in doubt than was under way; nothing of an account is leased whose line is known to be broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::Clock;
use crate::domain::message::Lease;
use crate::domain::state::Lane;
use crate::failpoint::{Point, reach};
use crate::services::clock_watch::ClockWatch;
use crate::services::dispatch::{Audience, Dispatch};
use crate::services::slots::{Slot, Slots};
use crate::store::{self, OpenAccount};

/// The longest sleep between two looks.
const POLL: Duration = Duration::from_secs(1);
/// The shortest, when an account waits for its turn: a fast one has several of them then.
const SHORTEST: Duration = Duration::from_millis(5);
/// Sleep after the store could not be asked.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Whose turn it is: urgent six times of ten, normal three times, bulk once. A lane without work passes its turn on.
const TURNS: [Lane; 10] = [
    Lane::Urgent,
    Lane::Normal,
    Lane::Urgent,
    Lane::Urgent,
    Lane::Normal,
    Lane::Urgent,
    Lane::Bulk,
    Lane::Urgent,
    Lane::Normal,
    Lane::Urgent,
];
/// Leased at once at most: callers find slots meanwhile.
const LEASES_AT_ONCE: usize = 64;

/// The doors and limits of the worker.
#[derive(Clone)]
pub struct Worker {
    pub queue: Arc<dyn store::Queue>,
    pub dispatch: Arc<Dispatch>,
    /// Attempts under way, shared with the accepting side.
    pub slots: Slots,
    pub tasks: TaskTracker,
    pub clock: Arc<dyn Clock>,
    pub watch: ClockWatch,
    /// How long a lease is held.
    pub hold: Duration,
    /// How many turns were taken so far.
    pub turns: Arc<AtomicUsize>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Started(usize),
    /// Nothing to do; look again after this, or when woken.
    Idle {
        pause: Duration,
    },
}

impl Worker {
    /// Until `stop`. What was begun goes on in `tasks`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step().await {
                Ok(Step::Started(_)) => continue,
                Ok(Step::Idle { pause }) => pause,
                Err(error) if error.is_said() => {
                    tracing::debug!(%error, "the queue cannot be read");
                    STORE_PAUSE
                }
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.slots.rung() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Leases what is due, as far as there are slots, and starts it.
    pub async fn step(&self) -> Result<Step, store::Error> {
        self.watch.check().await?;
        let (mut open, next_turn) = self.dispatch.open_accounts();
        let pause = next_turn.map_or(POLL, |wait| wait.clamp(SHORTEST, POLL));
        if open.is_empty() {
            return Ok(Step::Idle { pause });
        }
        let now = self.clock.now();
        match self.queue.next_due(&open).await? {
            Some(due_at) if due_at <= now => {}
            Some(due_at) => return Ok(Step::Idle { pause: due_at.since(now).min(pause) }),
            None => return Ok(Step::Idle { pause }),
        }
        let mut slots = self.slots.for_queue(LEASES_AT_ONCE);
        if slots.is_empty() {
            // The next slot that is freed rings.
            return Ok(Step::Idle { pause });
        }
        let turn = self.turns.fetch_add(slots.len(), Ordering::Relaxed);
        let accounts = open.len().max(1);
        open.rotate_left(turn % accounts);
        let shares = shares(turn, slots.len());
        // First each lane its turns, then whoever has more takes what is left.
        let rest = Lane::ALL.map(|lane| (lane, usize::MAX));
        let mut started = 0;
        for (lane, share) in shares.into_iter().chain(rest) {
            let limit = share.min(slots.len());
            if limit > 0 {
                started += self.start_due(lane, &mut open, limit, &mut slots).await?;
            }
        }
        // Due but not to be had: expired rows, which the sweep ends.
        Ok(if started == 0 { Step::Idle { pause } } else { Step::Started(started) })
    }

    async fn start_due(
        &self,
        lane: Lane,
        open: &mut [OpenAccount],
        limit: usize,
        slots: &mut Vec<Slot>,
    ) -> Result<usize, store::Error> {
        let leases = self.queue.lease(lane, open, limit, self.clock.now(), self.hold).await?;
        let started = leases.len();
        for lease in leases {
            reach(Point::LeaseKept);
            if let Some(account) = open.iter_mut().find(|account| account.name == lease.account) {
                account.room = account.room.saturating_sub(1);
            }
            self.start(lease, slots.pop());
        }
        Ok(started)
    }

    fn start(&self, lease: Lease, slot: Option<Slot>) {
        let (dispatch, slots) = (self.dispatch.clone(), self.slots.clone());
        // Here and not in the task: the next look at the rooms has to see it.
        let permit = dispatch.admit(&lease.account);
        self.tasks.spawn(async move {
            let account = lease.account.clone();
            let state = dispatch.run(lease, permit, Audience::Nobody).await;
            drop(slot);
            // It may be due again long before the next poll.
            if state.is_under_way() || dispatch.is_narrow(&account) {
                slots.ring();
            }
        });
    }
}

/// How many of the next `slots` turns each lane has.
fn shares(turn: usize, slots: usize) -> [(Lane, usize); 3] {
    let next = (turn..turn.saturating_add(slots)).map(|turn| TURNS[turn % TURNS.len()]);
    let mut shares = Lane::ALL.map(|lane| (lane, 0));
    for lane in next {
        if let Some((_, share)) = shares.iter_mut().find(|(known, _)| *known == lane) {
            *share += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_shared_six_three_one_also_one_at_a_time() {
        let mut counts = [0; 3];
        for turn in 0..100 {
            let single = shares(turn, 1);
            assert_eq!(single.iter().map(|(_, share)| share).sum::<usize>(), 1);
            for (count, (_, share)) in counts.iter_mut().zip(single) {
                *count += share;
            }
        }
        assert_eq!(counts, [60, 30, 10]);
        assert_eq!(shares(0, 10).map(|(_, share)| share), [6, 3, 1]);
    }
}
