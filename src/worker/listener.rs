//! What other nodes have done: work they made wakes the worker here, a message they took further is told to whoever waits
//! for it here. Nothing of it is needed for correctness: the worker looks by itself too, and callers do not wait for ever.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::ids::MessageId;
use crate::services::outcomes::{Outcomes, Progress};
use crate::services::slots::Slots;
use crate::store::{self, Change};

/// The doors of the listener.
#[derive(Clone)]
pub struct Listener {
    pub queue: Arc<dyn store::Queue>,
    pub messages: Arc<dyn store::Messages>,
    pub outcomes: Outcomes,
    pub slots: Slots,
}

impl Listener {
    /// Until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.step() => {}
            }
        }
    }

    /// The next change. Waits for ever where one process serves a store.
    pub async fn step(&self) {
        match self.queue.changed().await {
            Change::Due => self.slots.ring(),
            Change::Ended(id) if self.outcomes.is_awaited(id) => self.tell(id).await,
            Change::Ended(_) => {}
        }
    }

    async fn tell(&self, id: MessageId) {
        match self.messages.look_up(id).await {
            Ok(Some(message)) => {
                let progress = Progress {
                    state: message.state,
                    reason: message.state_reason,
                    msgid: message.msgid,
                    next_attempt_at: message.next_attempt_at,
                    attempts: message.attempts,
                    at: message.updated_at,
                };
                self.outcomes.tell(id, progress);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(message.id = %id, %error, "a caller is not told what another node has done"),
        }
    }
}
