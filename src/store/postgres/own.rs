//! The messages that were lent to the very tasks that accepted them: their callers wait here and nowhere else, so no other
//! node has to be told how they end. Most messages are such.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ids::MessageId;

#[derive(Default)]
pub(super) struct Own(Mutex<HashSet<MessageId>>);

impl Own {
    pub(super) fn extend(&self, id: Option<MessageId>) {
        self.set().extend(id);
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.set().contains(&id)
    }

    pub(super) fn remove(&self, id: MessageId) {
        self.set().remove(&id);
    }

    fn set(&self) -> MutexGuard<'_, HashSet<MessageId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
