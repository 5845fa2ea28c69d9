//! Lease → run → settle, for as many messages as there are free permits. Nothing is leased that cannot be run at once, so
//! that a crash puts no more in doubt than was under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::clock::Clock;
use crate::domain::message::Lease;
use crate::domain::state::Lane;
use crate::services::dispatch::{Audience, Dispatch};
use crate::store;

/// The longest sleep between two looks.
const POLL: Duration = Duration::from_secs(1);
/// Sleep after the store could not be asked.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Of ten free places: urgent first, but the others are never shut out.
const SHARES: [(Lane, usize); 3] = [(Lane::Urgent, 6), (Lane::Normal, 3), (Lane::Bulk, 1)];
/// Leased in one transaction at most.
const LEASES_AT_ONCE: usize = 256;

/// The doors and limits of the worker.
#[derive(Clone)]
pub struct Worker {
    pub queue: Arc<dyn store::Queue>,
    pub dispatch: Dispatch,
    /// Attempts under way, shared with the accepting side.
    pub permits: Arc<Semaphore>,
    pub wake: Arc<Notify>,
    pub tasks: TaskTracker,
    pub clock: Arc<dyn Clock>,
    /// How long a lease is held.
    pub hold: Duration,
}

impl Worker {
    /// Until `stop`. What was begun goes on in `tasks`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step().await {
                Ok(Step::Started(_)) => continue,
                Ok(Step::Idle { pause }) => pause,
                Err(error) => {
                    tracing::error!(%error, "the queue cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Leases what is due, as far as there are permits, and starts it.
    pub async fn step(&self) -> Result<Step, store::Error> {
        let mut permits = self.take_permits();
        if permits.is_empty() {
            // Whoever ends wakes us.
            return Ok(Step::Idle { pause: POLL });
        }
        let now = self.clock.now();
        match self.queue.next_due().await? {
            Some(due_at) if due_at <= now => {}
            Some(due_at) => return Ok(Step::Idle { pause: due_at.since(now).min(POLL) }),
            None => return Ok(Step::Idle { pause: POLL }),
        }
        let mut started = 0;
        // First each lane its share, then whoever has more takes what is left.
        let shares = SHARES.map(|(lane, share)| (lane, (permits.len() * share).div_ceil(10)));
        let rest = SHARES.map(|(lane, _)| (lane, usize::MAX));
        for (lane, share) in shares.into_iter().chain(rest) {
            let limit = share.min(permits.len());
            if limit == 0 {
                continue;
            }
            let leases = self.queue.lease(lane, limit, self.clock.now(), self.hold).await?;
            for lease in leases {
                let Some(permit) = permits.pop() else { break };
                self.start(lease, permit);
                started += 1;
            }
        }
        // Due but not to be had: expired rows, which the sweep ends.
        Ok(if started == 0 { Step::Idle { pause: POLL } } else { Step::Started(started) })
    }

    fn take_permits(&self) -> Vec<OwnedSemaphorePermit> {
        let mut permits = Vec::new();
        while permits.len() < LEASES_AT_ONCE
            && let Ok(permit) = self.permits.clone().try_acquire_owned()
        {
            permits.push(permit);
        }
        permits
    }

    fn start(&self, lease: Lease, permit: OwnedSemaphorePermit) {
        let dispatch = self.dispatch.clone();
        let wake = self.wake.clone();
        self.tasks.spawn(async move {
            dispatch.run(lease, Audience::Nobody).await;
            drop(permit);
            // There is room again.
            wake.notify_one();
        });
    }
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
