//! Repairs beside the road, each a verb that says how many rows it touched: orphans of a crash, messages that expired, old
//! idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use crate::config::store::RetentionConfig;
use crate::domain::clock::Clock;
use crate::domain::ids::MessageId;
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::services::dispatch::Running;
use crate::services::outcomes::{Outcomes, Progress};
use crate::services::slots::Slots;
use crate::services::verdict::REPEAT_WINDOW;
use crate::services::webhooks::register::Webhooks;
use crate::store;
use crate::store::queue::CRASHES;

/// Rows that one transaction touches: others write in between.
const BATCH: usize = 500;
/// Rows that one transaction deletes.
pub const FORGET_BATCH: usize = 500;
/// How long an idempotency key is kept.
const KEY_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The doors these repairs need.
#[derive(Clone)]
pub struct Sweep {
    pub queue: Arc<dyn store::Queue>,
    pub outbox: Arc<dyn store::Outbox>,
    pub messages: Arc<dyn store::Messages>,
    pub inbox: Arc<dyn store::Inbox>,
    pub batches: Arc<dyn store::Batches>,
    pub events: Arc<dyn store::Events>,
    pub deliveries: Arc<dyn store::Deliveries>,
    pub webhooks: Webhooks,
    pub audit: Arc<dyn store::Audit>,
    pub retention: RetentionConfig,
    pub outcomes: Outcomes,
    pub running: Running,
    pub slots: Slots,
    pub clock: Arc<dyn Clock>,
}

impl Sweep {
    /// Takes back what died with its holder. Run at the start, and with every tick.
    pub async fn rescue(&self) -> Result<usize, store::Error> {
        let mut touched = 0;
        loop {
            let rescued = self.queue.rescue(self.clock.now(), REPEAT_WINDOW, BATCH, &self.running.list()).await?;
            let ended = rescued.unknown.len() + rescued.quarantined.len() + rescued.settled.len();
            let count = rescued.queued.len() + ended;
            touched += count;
            if count > 0 {
                reach(Point::RescueKept);
            }
            for id in &rescued.unknown {
                tracing::warn!(message.id = %id, "in doubt after a crash: it may have been sent, so it is not repeated");
                self.tell(*id, State::Unknown);
            }
            for id in &rescued.quarantined {
                tracing::error!(
                    message.id = %id,
                    crashes = CRASHES,
                    "quarantined: the gateway died each of the last times that it had this message in hand; it may have been \
                     sent. Look for what the log says before each end; then settle it (resolve) or send it anew (retry)"
                );
                self.tell(*id, State::Unknown);
            }
            for (id, state) in &rescued.settled {
                self.tell(*id, *state);
            }
            if !rescued.queued.is_empty() {
                tracing::info!(count = rescued.queued.len(), "orphans of an earlier process go on");
                self.slots.ring();
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
                reach(Point::ExpireKept);
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
            let count = self.outbox.forget_keys(self.clock.now().minus(KEY_LIFE), FORGET_BATCH).await?;
            touched += count;
            if count < FORGET_BATCH {
                return Ok(touched);
            }
        }
    }

    /// Deletes what has ended and is older than its retention. → how many messages and callbacks.
    pub async fn forget(&self) -> Result<(usize, usize), store::Error> {
        let now = self.clock.now();
        let (mut messages, mut callbacks) = (0, 0);
        loop {
            let batch = self.messages.forget(now.minus(self.retention.messages), FORGET_BATCH).await?;
            messages += batch;
            reach(Point::ForgetKept);
            if batch < FORGET_BATCH {
                break;
            }
        }
        loop {
            let batch = self.inbox.forget(now.minus(self.retention.callbacks), FORGET_BATCH).await?;
            callbacks += batch;
            if batch < FORGET_BATCH {
                break;
            }
        }
        let (old, known) = (now.minus(self.retention.events), self.webhooks.keys());
        while self.deliveries.forget(old, known.clone(), FORGET_BATCH, now).await? == FORGET_BATCH {}
        while self.events.forget(now.minus(self.retention.events), FORGET_BATCH).await? == FORGET_BATCH {}
        while self.batches.forget(now.minus(self.retention.messages), BATCH).await? == BATCH {}
        while self.audit.forget(now.minus(self.retention.audit), BATCH).await? == BATCH {}
        if messages + callbacks > 0 {
            tracing::info!(messages, callbacks, "what is older than its retention was deleted");
        }
        Ok((messages, callbacks))
    }

    fn tell(&self, id: MessageId, state: State) {
        let at = self.clock.now();
        let progress = Progress { state, reason: None, msgid: None, next_attempt_at: None, attempts: Vec::new(), at };
        self.outcomes.tell(id, progress);
    }
}
