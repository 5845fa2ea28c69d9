//! How far behind a webhook is, and what a replay came to.

use crate::domain::clock::Timestamp;
use crate::domain::event::Position;
use crate::domain::ids::EventId;

/// What a webhook has not been told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries under way: to be tried (again), or behind one of the same message.
    pub pending: u64,
    /// Deliveries that were given up and are still kept.
    pub dead: u64,
    /// When the oldest event happened that it has not been told: of those pending, and of those behind its cursor.
    pub oldest_at: Option<Timestamp>,
}

/// What one part of a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were meant.
    pub matched: usize,
    /// Of them: a new delivery was (or, in a dry run, would be) made.
    pub added: usize,
    /// Of them: a delivery is pending already, and no second one was made.
    pub pending: usize,
    /// Ids that stand for no event that is kept, or for one that this webhook may not see.
    pub unknown: Vec<EventId>,
    /// Where to go on, when there is more.
    pub next: Option<Position>,
}

impl Replayed {
    /// Of all parts so far.
    pub fn add(&mut self, part: Self) {
        self.matched += part.matched;
        self.added += part.added;
        self.pending += part.pending;
        self.unknown.extend(part.unknown);
        self.next = part.next;
    }
}
