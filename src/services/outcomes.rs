//! Who waits for which message. A caller that waits registers before the message is kept; whoever changes the message
//! tells. Nothing here is needed for correctness: a teller with no listener says it to nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::domain::attempt::Attempt;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::state::State;

/// One step of a message.
#[derive(Clone, Debug)]
pub struct Progress {
    pub state: State,
    pub reason: Option<String>,
    pub msgid: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    /// The attempts made in this step. Those known already may be among them.
    pub attempts: Vec<Attempt>,
    pub at: Timestamp,
}

/// The register. Cheap to clone.
#[derive(Clone, Default)]
pub struct Outcomes {
    waiting: Arc<Mutex<HashMap<MessageId, mpsc::UnboundedSender<Progress>>>>,
}

/// One caller's place in the register; leaving it drops the place.
pub struct Waiter {
    outcomes: Outcomes,
    id: MessageId,
    steps: mpsc::UnboundedReceiver<Progress>,
}

impl Outcomes {
    pub fn wait_for(&self, id: MessageId) -> Waiter {
        let (sender, steps) = mpsc::unbounded_channel();
        self.register().insert(id, sender);
        Waiter { outcomes: self.clone(), id, steps }
    }

    pub fn tell(&self, id: MessageId, progress: Progress) {
        if let Some(sender) = self.register().get(&id) {
            // A waiter that left between is no fault.
            let _ = sender.send(progress);
        }
    }

    /// Is anyone waiting at all? Saves tellers the making of a `Progress`.
    pub fn is_awaited(&self, id: MessageId) -> bool {
        self.register().contains_key(&id)
    }

    fn register(&self) -> std::sync::MutexGuard<'_, HashMap<MessageId, mpsc::UnboundedSender<Progress>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// The next step; `None` never comes while the place is kept.
    pub async fn next(&mut self) -> Option<Progress> {
        self.steps.recv().await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.outcomes.register().remove(&self.id);
    }
}
