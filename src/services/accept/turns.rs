//! Requests with the same idempotency key go one after the other, until the first is on disk: the others then find it there
//! and are neither counted by a limit nor kept a second time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::message::IdempotencyKey;

/// The keys under way in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>>);

/// Client, endpoint, key.
type Name = (String, &'static str, String);

/// A place in the line of one key; the next one's turn comes when it is dropped.
pub(in crate::services) struct Turn {
    turns: Turns,
    name: Name,
    /// `None` while it waits.
    held: Option<OwnedMutexGuard<()>>,
    /// Another one was here before us.
    pub(super) is_repeat: bool,
}

impl Turns {
    pub(in crate::services) async fn take(&self, key: &IdempotencyKey) -> Turn {
        let name = (key.client.clone(), key.endpoint, key.key.clone());
        // First, so that it tidies up behind a request that leaves while it waits.
        let mut turn = Turn { turns: self.clone(), name: name.clone(), held: None, is_repeat: false };
        let line = self.lines().entry(name).or_default().clone();
        match line.clone().try_lock_owned() {
            Ok(held) => turn.held = Some(held),
            Err(_) => {
                turn.is_repeat = true;
                turn.held = Some(line.lock_owned().await);
            }
        }
        turn
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Name, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.turns.lines();
        self.held = None;
        // Ours is gone: the map's is the last one when nobody waits.
        if lines.get(&self.name).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey { client: "crm".to_owned(), endpoint: "send", key: text.to_owned(), body_hash: String::new() }
    }

    #[tokio::test]
    async fn the_same_key_waits_and_another_does_not() {
        let turns = Turns::default();
        let first = turns.take(&key("a")).await;
        assert!(!first.is_repeat);
        assert!(!turns.take(&key("b")).await.is_repeat);
        let again = key("a");
        let mut second = Box::pin(turns.take(&again));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_repeat);
        assert!(turns.lines().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn who_leaves_the_line_leaves_nothing() {
        let turns = Turns::default();
        let first = turns.take(&key("a")).await;
        let again = key("a");
        let mut second = Box::pin(turns.take(&again));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        let mut third = Box::pin(turns.take(&again));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        drop(third);
        assert!(turns.lines().is_empty());
    }
}
