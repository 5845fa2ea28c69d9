//! Watches the wall clock for whoever lends messages: after it was set back, dates of before lie ahead. What is queued would
//! wait for them, and a doubt would look young again long after WeChat has forgotten the message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::clock::{Clock, JUMP, Timestamp};
use crate::domain::state::State;
use crate::services::outcomes::{Outcomes, Progress};
use crate::store;

/// Rows that one transaction touches.
const BATCH: usize = 500;

/// Cheap to clone; clones share what they have seen.
#[derive(Clone)]
pub struct ClockWatch {
    queue: Arc<dyn store::Queue>,
    outcomes: Outcomes,
    clock: Arc<dyn Clock>,
    /// The latest time so far.
    seen: Arc<Mutex<Option<Timestamp>>>,
}

impl ClockWatch {
    pub fn new(queue: Arc<dyn store::Queue>, outcomes: Outcomes, clock: Arc<dyn Clock>) -> Self {
        Self { queue, outcomes, clock, seen: Arc::default() }
    }

    /// To be called before anything is lent. The first call, and one after the clock was set back, put right what is queued;
    /// when that fails, the next call tries again.
    pub async fn check(&self) -> Result<(), store::Error> {
        let now = self.clock.now();
        let before = *self.seen();
        let back = before.map(|before| before.since(now)).unwrap_or_default();
        if before.is_none() || back > JUMP {
            self.realign(now, before.is_some()).await?;
            *self.seen() = Some(now);
        } else {
            // Not the last but the latest: many small steps back are one.
            *self.seen() = before.max(Some(now));
        }
        Ok(())
    }

    async fn realign(&self, now: Timestamp, jumped: bool) -> Result<(), store::Error> {
        let (mut unknown, mut moved) = (0, 0);
        loop {
            let done = self.queue.realign(now, jumped, BATCH).await?;
            for id in &done.unknown {
                let progress = Progress {
                    state: State::Unknown,
                    reason: None,
                    msgid: None,
                    next_attempt_at: None,
                    attempts: Vec::new(),
                    at: now,
                };
                self.outcomes.tell(*id, progress);
            }
            unknown += done.unknown.len();
            moved += done.moved;
            if done.unknown.len() + done.moved == 0 {
                break;
            }
        }
        if jumped || unknown + moved > 0 {
            tracing::warn!(
                unknown,
                moved,
                "the clock was set back: what is queued does not wait for it, and what may be at WeChat is not repeated"
            );
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
