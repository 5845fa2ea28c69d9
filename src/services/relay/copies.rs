//! Copies of callbacks: the answer means nothing, and one slow target costs the others nothing. Tried as WeChat tries, three
//! times; kept nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument;

use super::{Letter, Relay, RelayRules};
use crate::domain::relay::Target;
use crate::upstream::relay::{self as upstream, host_of};

#[derive(Default)]
pub(super) struct Copies(Mutex<HashMap<String, Room>>);

/// What one target may take up here.
#[derive(Clone)]
struct Room {
    under_way: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl Copies {
    fn room(&self, url: &str, rules: &RelayRules) -> Room {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Room {
            under_way: Arc::new(Semaphore::new(rules.copies_per_target)),
            bytes: Arc::new(Semaphore::new(rules.copy_bytes_per_target)),
        };
        rooms.entry(url.to_owned()).or_insert_with(new).clone()
    }
}

impl Relay {
    /// Sends copies, beside the road: nobody waits for them.
    pub fn copy(&self, letter: &Arc<Letter>, targets: Vec<Target>) {
        for target in targets {
            let room = self.inner.copies.room(&target.url, &self.inner.rules);
            let bytes = u32::try_from(letter.body.len()).unwrap_or(u32::MAX).max(1);
            let Ok(held) = room.bytes.clone().try_acquire_many_owned(bytes) else {
                self.count_copy(letter, "copy_dropped");
                continue;
            };
            let (relay, letter) = (self.clone(), letter.clone());
            let send = async move {
                // Never closed.
                let _place = room.under_way.acquire().await;
                relay.deliver(&letter, &target).await;
                drop(held);
            };
            self.inner.doors.tasks.spawn(send.instrument(tracing::Span::current()));
        }
    }

    async fn deliver(&self, letter: &Letter, target: &Target) {
        let rules = &self.inner.rules;
        for left in (0..rules.copy_tries).rev() {
            let Some(pass) = self.inner.gates.pass(&target.url, self.now()) else {
                return self.count_copy(letter, "copy_dropped");
            };
            let query = letter.query(target, self.now());
            let copy = upstream::Letter {
                url: &target.url,
                is_operators: target.is_operators,
                query: &query,
                format: letter.inbound.format,
                body: letter.body.clone(),
                timeout: target.timeout,
            };
            let problem = match timeout(target.timeout, self.inner.doors.client.post(copy)).await {
                // A long answer is an answer.
                Ok(Ok(_) | Err(upstream::RelayError::TooLong)) => {
                    pass.answered();
                    return self.count_copy(letter, "copied");
                }
                Ok(Err(error)) => {
                    if error.is_down() {
                        pass.failed(self.now())
                    } else {
                        pass.answered()
                    }
                    error.to_string()
                }
                Err(_) => {
                    pass.failed(self.now());
                    "no answer in time".to_owned()
                }
            };
            drop(pass);
            tracing::debug!(
                account.id = &*letter.account.name,
                callback.id = %letter.id,
                relay.host = host_of(&target.url),
                problem,
                tries_left = left,
                "a copy was not taken"
            );
            if left > 0 {
                tokio::time::sleep(rules.copy_pause).await;
            }
        }
        self.count_copy(letter, "copy_failed");
    }

    fn count_copy(&self, letter: &Letter, result: &'static str) {
        self.inner.doors.metrics.relay(&letter.account.name, result);
    }
}
