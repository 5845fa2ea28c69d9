//! A stream of events, and whether whoever watches it still may.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::caller::Caller;
use crate::domain::event::Event;
use crate::services::access::Access;
use crate::services::feed::Listening;

/// How long a stream may outlive the key, token or ticket that opened it.
const LOOK: Duration = Duration::from_secs(5);

pub(super) struct Watching {
    pub(super) listening: Listening,
    access: Access,
    caller: Caller,
    look_at: Instant,
    /// The watcher may watch no more.
    pub(super) is_over: bool,
}

impl Watching {
    pub(super) fn new(listening: Listening, access: Access, caller: Caller) -> Self {
        Self { listening, access, caller, look_at: Instant::now() + LOOK, is_over: false }
    }

    /// As [`Listening::next`]; `None` also when the watcher may watch no more.
    pub(super) async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.look_at) => {
                    // A store that does not answer is not the watcher's fault.
                    self.is_over = !self.access.still_admits(&self.caller).await.unwrap_or(true);
                    self.look_at = Instant::now() + LOOK;
                    if self.is_over {
                        return None;
                    }
                }
                event = self.listening.next() => return event,
            }
        }
    }
}
