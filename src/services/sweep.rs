//! Repairs beside the road, each a verb that says how many rows it touched: orphans of a crash, messages that expired, old
//! idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::clock::Clock;
use crate::domain::ids::MessageId;
use crate::domain::state::State;
use crate::services::outcomes::{Outcomes, Progress};
use crate::services::verdict::REPEAT_WINDOW;
use crate::store;

/// Rows that one transaction touches: others write in between.
const BATCH: usize = 500;
/// How long an idempotency key is kept.
const KEY_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The doors these repairs need.
#[derive(Clone)]
pub struct Sweep {
    pub queue: Arc<dyn store::Queue>,
    pub outbox: Arc<dyn store::Outbox>,
    pub outcomes: Outcomes,
    pub wake: Arc<Notify>,
    pub clock: Arc<dyn Clock>,
}

impl Sweep {
    /// Takes back what died with its holder. Run at the start, and with every tick.
    pub async fn rescue(&self) -> Result<usize, store::Error> {
        let mut touched = 0;
        loop {
            let rescued = self.queue.rescue(self.clock.now(), REPEAT_WINDOW, BATCH).await?;
            let count = rescued.queued.len() + rescued.unknown.len() + rescued.settled.len();
            touched += count;
            for id in &rescued.unknown {
                tracing::warn!(message.id = %id, "in doubt after a crash: it may have been sent, so it is not repeated");
                self.tell(*id, State::Unknown);
            }
            for (id, state) in &rescued.settled {
                self.tell(*id, *state);
            }
            if !rescued.queued.is_empty() {
                tracing::info!(count = rescued.queued.len(), "orphans of an earlier process go on");
                self.wake.notify_one();
            }
            if count < BATCH {
                return Ok(touched);
            }
        }
    }

    /// Ends what nobody took in time.
    pub async fn expire(&self) -> Result<usize, store::Error> {
        let mut touched = 0;
        loop {
            let expired = self.queue.expire(self.clock.now(), BATCH).await?;
            touched += expired.len();
            for (id, state) in &expired {
                self.tell(*id, *state);
            }
            if expired.len() < BATCH {
                return Ok(touched);
            }
        }
    }

    /// Forgets idempotency keys older than seven days.
    pub async fn forget_keys(&self) -> Result<usize, store::Error> {
        let mut touched = 0;
        loop {
            let count = self.outbox.forget_keys(self.clock.now().minus(KEY_LIFE), BATCH).await?;
            touched += count;
            if count < BATCH {
                return Ok(touched);
            }
        }
    }

    fn tell(&self, id: MessageId, state: State) {
        let at = self.clock.now();
        let progress = Progress { state, reason: None, msgid: None, next_attempt_at: None, attempts: Vec::new(), at };
        self.outcomes.tell(id, progress);
    }
}
