//! Events on their way to webhooks: claimed from the stream, tried, settled.
//!
//! Whoever keeps an event does nothing for webhooks. Each webhook has a cursor over the events; `claim` makes deliveries of what
//! fits behind it. One process runs the lane of a webhook ([`super::Webhooks::take`]), so what is under way need not be marked.

use std::ops::ControlFlow;

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventFilter, NewEvent, Position};
use crate::domain::ids::{DeliveryId, EventId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::webhook::{Backlog, Delivery, DeliveryFilter, DeliveryStatus, Due, Interest, Replayed, Tried};

/// `webhook` is always a webhook's key: its name in the file, or the text of its id.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Looks at the events behind `claim.from`, a bounded stretch of them, until `claim.limit` fit. For each of those it keeps a
    /// delivery, `pending`, and moves the cursor: one transaction. A delivery is due at once, unless an earlier one of the same webhook
    /// and message is pending: then it waits for that. Nothing is written when nothing fits and `claim.keep` is not set.
    async fn claim(&self, claim: Claim) -> Result<Claimed, Error>;

    /// Pending deliveries that are due, the longest due first, without those in `except`. One whose event is not there (any more)
    /// is left out and ended as `dead`.
    async fn due(
        &self,
        webhook: &str,
        limit: usize,
        except: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<Due>, Error>;

    /// When the next one is due; `None`: none waits for a date.
    async fn next_due(&self, webhook: &str, except: Vec<DeliveryId>) -> Result<Option<Timestamp>, Error>;

    /// Keeps what tries came to, all in one transaction, each only if it is the next try of a pending delivery. One that has ended
    /// makes the next of its message due. With `gone` the webhook is disabled, and the event kept, in the same transaction,
    /// unless it is disabled already.
    async fn settle(&self, settling: Settling) -> Result<(), Error>;

    /// How far behind it is. `from`: where its lane stands; `None`: where its cursor is kept.
    async fn backlog(&self, webhook: &str, interest: Interest, from: Option<Position>) -> Result<Backlog, Error>;

    async fn look_up(&self, id: DeliveryId) -> Result<Option<Delivery>, Error>;

    /// Newest first; `page.after` and `next` are delivery ids. Rows that cannot be read are left out. `TooSlow`, with advice, when
    /// the filter leaves too little of too much.
    async fn list(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<Delivery>, Error>;

    /// Makes new deliveries of events that are kept, in the order of the events, due behind what is pending of the same message;
    /// none for an event of which one is pending. One part of it, at most `limit` events; [`Replayed::next`] tells where to go on.
    /// `act` is written into `audit` in the same transaction, with the counts, unless it is a dry run.
    async fn replay(&self, replay: Replay, limit: usize) -> Result<Replayed, Error>;

    /// Deletes deliveries that ended and were made before `before`, at most `limit`; returns how many. Pending ones of that age become
    /// `canceled` first when nobody runs their webhook: it is disabled, or was deleted or taken out of the file (`known`: those
    /// that are configured).
    async fn forget(&self, before: Timestamp, known: Vec<String>, limit: usize, now: Timestamp)
    -> Result<usize, Error>;
}

/// The next events of one webhook.
#[derive(Clone, Debug)]
pub struct Claim {
    pub webhook: String,
    pub interest: Interest,
    pub from: Cursor,
    /// 0: only looks whether there is one.
    pub limit: usize,
    /// Keep how far it has looked in any case.
    pub keep: bool,
    pub now: Timestamp,
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// As it is kept.
    pub kept: Position,
    /// Looked at, and nothing fitted since.
    pub seen: Position,
}

/// What `claim` did.
#[derive(Clone, Debug)]
pub enum Claimed {
    Kept(Claims),
    /// Another process runs the lane, or the webhook was disabled or deleted: nothing was written.
    Lost,
}

/// What was claimed.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Those that are due at once.
    pub due: Vec<Due>,
    /// How many deliveries were made, those that wait included.
    pub made: usize,
    pub cursor: Cursor,
    /// More is there to be looked at.
    pub has_more: bool,
    /// More is kept, and can be read in a moment: a transaction that began earlier has not ended.
    pub is_waiting: bool,
}

/// What tries came to.
#[derive(Clone, Debug)]
pub struct Settling {
    pub webhook: String,
    pub tried: Vec<Tried>,
    /// The endpoint has answered 410: what subscribers are told of it.
    pub gone: Option<NewEvent>,
    pub now: Timestamp,
}

/// What is to be told once more.
#[derive(Clone, Debug)]
pub struct Replay {
    pub webhook: String,
    /// What the webhook may see at all.
    pub interest: Interest,
    pub what: ReplayOf,
    /// Only count.
    pub is_dry_run: bool,
    /// Go on behind this; the beginning: `Position::default()`.
    pub after: Position,
    pub now: Timestamp,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum ReplayOf {
    /// These, whatever their type; but only of the webhook's accounts. As many as `limit` allows.
    Events(Vec<EventId>),
    /// What fits the filter and the webhook's interest. `last`: and whose last delivery to it stands so.
    Filter { filter: EventFilter, last: Option<DeliveryStatus> },
}

/// Events that one claim looks at.
pub(super) const STRETCH: usize = 500;

/// Why a delivery was given up whose event was deleted, or cannot be read.
pub(super) const EVENT_GONE: &str = "the event is no longer kept";

/// What a claim has seen of the events.
pub(super) struct Glimpse {
    pub(super) events: Vec<Event>,
    /// Behind the last one that was looked at and needs no second look.
    pub(super) at: Position,
    pub(super) has_more: bool,
    looked_at: usize,
}

impl Glimpse {
    pub(super) fn behind(at: Position) -> Self {
        Self { events: Vec::new(), at, has_more: false, looked_at: 0 }
    }

    /// The next event: it is taken, passed by, or (when there are enough) left for the next time: then there is no need to go on.
    pub(super) fn look_at(
        &mut self,
        position: Position,
        fits: bool,
        limit: usize,
        read: impl FnOnce() -> Result<Event, Error>,
    ) -> ControlFlow<()> {
        if fits && self.events.len() >= limit {
            self.has_more = true;
            return ControlFlow::Break(());
        }
        self.at = position;
        self.looked_at += 1;
        self.has_more = self.looked_at == STRETCH;
        if fits {
            match read() {
                Ok(event) => self.events.push(event),
                Err(error) => tracing::error!(%error, "an event cannot be read and is left out"),
            }
        }
        ControlFlow::Continue(())
    }
}

/// A delivery to be made.
#[derive(Clone, Debug)]
pub(super) struct NewDelivery {
    pub(super) id: DeliveryId,
    pub(super) event_id: EventId,
    pub(super) event_type: String,
    pub(super) message_id: Option<String>,
}

impl NewDelivery {
    /// One for each, in order.
    pub(super) fn of(events: &[Event], now: Timestamp) -> Vec<Self> {
        let mut earlier = None;
        let one = |event: &Event| {
            let id = DeliveryId::generate_behind(earlier, now);
            earlier = Some(id);
            Self { id, event_id: event.id, event_type: event.kind.clone(), message_id: event.message_id.clone() }
        };
        events.iter().map(one).collect()
    }
}

impl Replay {
    /// The filter, and what the webhook may see. Types of the interest are looked at one by one.
    pub(super) fn filter(&self, filter: &EventFilter) -> EventFilter {
        let kinds = if filter.kinds.is_empty() { self.interest.kinds.clone() } else { filter.kinds.clone() };
        EventFilter { kinds, visible_accounts: self.interest.accounts.clone(), ..filter.clone() }
    }
}

/// Events that a replay means.
#[derive(Clone, Debug, Default)]
pub(super) struct Meant {
    pub(super) events: Vec<Event>,
    unknown: Vec<EventId>,
    next: Option<Position>,
}

impl Meant {
    pub(super) fn fitting(interest: &Interest, mut events: Vec<Event>, next: Option<Position>) -> Self {
        events.retain(|event| interest.fits_event(event));
        Self { events, unknown: Vec::new(), next }
    }

    /// One that was asked for by its id, at most once, whatever its type.
    pub(super) fn named(&mut self, interest: &Interest, id: EventId, event: Option<Event>) {
        let own = Interest { kinds: Vec::new(), accounts: interest.accounts.clone() };
        match event.filter(|event| own.fits_event(event)) {
            Some(event) if self.events.iter().all(|known| known.id != id) => self.events.push(event),
            Some(_) => {}
            None => self.unknown.push(id),
        }
    }

    /// In the order in which they happened.
    pub(super) fn sort(&mut self) {
        self.events.sort_by_key(|event| event.position);
    }

    /// With nothing made yet.
    pub(super) fn counted(&self) -> Replayed {
        Replayed { matched: self.events.len(), unknown: self.unknown.clone(), next: self.next, ..Replayed::default() }
    }
}

/// What is written down of a replay.
pub(super) fn told(act: &Act, replayed: &Replayed) -> Act {
    act.clone().with("events", replayed.matched).with("deliveries", replayed.added)
}
