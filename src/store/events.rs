//! What happened: kept with the change that it tells, read in the order in which it became visible.

use async_trait::async_trait;
use tokio::sync::watch;

use super::Error;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventFilter, NewEvent, Position};
use crate::domain::ids::EventId;

/// Every verb of the other doors that changes a message, a batch, a user, or keeps a callback, writes its events in its own
/// transaction: exactly one for each change that has a type ([`crate::domain::event`]), none for what changes nothing. Events of
/// one message stand in the order of its history.
#[async_trait]
pub trait Events: Raise {
    /// Oldest first, at most `limit`, from behind `after`. What is kept later stands behind all that was ever read, so whoever
    /// goes on after the last one misses nothing and sees nothing twice. `TooSlow`, with advice, when the filter leaves too
    /// little of too much. Rows that cannot be read are left out.
    async fn read(&self, filter: EventFilter, after: Position, limit: usize) -> Result<Stretch, Error>;

    /// Where this event stands; when it is not there (any more), the last one before it by its id's time, or the very
    /// beginning.
    async fn position_of(&self, id: EventId) -> Result<Position, Error>;

    /// Behind everything that can be read now.
    async fn newest(&self) -> Result<Position, Error>;

    /// Deletes events that came before `before`, at most `limit`, oldest first; returns how many. The newest always stays.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// For whoever wants to know when something is kept, here or (now and then) on another node. Each has a ring of its own.
    fn ring(&self) -> Ring;
}

/// The door for what happened without a row that changes.
#[async_trait]
pub trait Raise: Send + Sync {
    /// Keeps an event that stands for itself. Never refused as overloaded: it waits.
    async fn raise(&self, event: NewEvent) -> Result<(), Error>;
}

/// Events one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    pub events: Vec<Event>,
    /// Where to go on: behind the last row that was looked at.
    pub next: Option<Position>,
    /// As many as were asked for: there may be more.
    pub is_full: bool,
    /// More is kept, and can be read in a moment: a transaction that began earlier has not ended.
    pub is_waiting: bool,
}

/// Rings after a commit that kept events. Whoever rings does not wait.
pub(super) struct Bell(watch::Sender<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl Bell {
    pub(super) fn ring(&self) {
        self.0.send_replace(());
    }

    pub(super) fn hear(&self) -> Ring {
        Ring::of(&self.0)
    }
}

/// Hears the bell.
pub struct Ring(Option<watch::Receiver<()>>);

impl Ring {
    /// Rung whenever something is sent.
    pub fn of(bell: &watch::Sender<()>) -> Self {
        Self(Some(bell.subscribe()))
    }

    /// One that is never rung.
    pub(super) const fn silent() -> Self {
        Self(None)
    }

    /// Something was kept since the last call, or since the ring was made. Only a hint: it may come for nothing, and for what other
    /// nodes keep it may not come at all. Nothing is lost when it is not waited for to the end.
    pub async fn rung(&mut self) {
        let has_rung = match &mut self.0 {
            Some(bell) => bell.changed().await.is_ok(),
            None => false,
        };
        if !has_rung {
            std::future::pending().await
        }
    }
}
