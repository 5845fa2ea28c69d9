//! The store on paper: what the doors of `src/store` promise about messages and receipts, as rules over plain values, for
//! one lane of one account. The checker in `tests/model` explores it; `tests/it/store/laws` holds every real store against it.
//!
//! `flaw` breaks one rule on purpose: a checker that does not notice is worth nothing.

mod receipts;
mod repairs;
mod settle;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use wxgate::domain::clock::Timestamp;
use wxgate::domain::state::{OnUnknown, State};

pub(crate) use receipts::{Effect, Kept, Report};
pub(crate) use settle::Settled;

/// The number of a message, counted up from 0 in the order of accept.
pub(crate) type Id = usize;
/// A person.
pub(crate) type User = u8;
/// One start of a gateway process.
pub(crate) type Boot = u8;
/// WeChat's number of a push.
pub(crate) type Msgid = u32;

/// Why a message stands where it stands.
pub(crate) type Reason = Cow<'static, str>;

pub(crate) const CRASH: &str = "crash";
pub(crate) const QUARANTINED: &str = "quarantined";

/// One rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flaw {
    SettleIgnoresGeneration,
    SettleCountsFromSending,
    RescueLeavesNoDoubt,
    RescueRepeatsWhatIsHeld,
    RescueLooksOnlyAtOthers,
    CancelForgetsDoubt,
    ExpiryForgetsDoubt,
    ReceiptBeatsFinal,
    ReceiptTakesAnyDoubt,
    ReceiptBelievesBusy,
    ReceiptBelievesOperator,
    LeaseIgnoresState,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) touser: User,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) msgid: Option<Msgid>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) due_at: Timestamp,
    pub(crate) generation: i64,
    pub(crate) boot: Option<Boot>,
    pub(crate) leased_at: Option<Timestamp>,
    pub(crate) lease_until: Option<Timestamp>,
    pub(crate) tries: u32,
    pub(crate) doubtful_since: Option<Timestamp>,
    pub(crate) busy_since: Option<Timestamp>,
    /// How often in a row its holder has died.
    pub(crate) crashes: usize,
}

/// A message as it comes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) touser: User,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) now: Timestamp,
    pub(crate) send_at: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
}

/// What a holder has of its lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) id: Id,
    pub(crate) touser: User,
    pub(crate) on_unknown: OnUnknown,
    pub(crate) generation: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) tries: u32,
    pub(crate) doubtful_since: Option<Timestamp>,
    pub(crate) busy_since: Option<Timestamp>,
}

/// One change of state. `from` is `None` for a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Move {
    pub(crate) id: Id,
    pub(crate) from: Option<State>,
    pub(crate) to: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Paper {
    pub(crate) rows: Vec<Row>,
    pub(crate) receipts: Vec<Kept>,
    seen: BTreeSet<u64>,
    /// How many messages stand in each state, kept by what each verb says it moved.
    figures: [i8; State::ALL.len()],
    /// What the verbs since the last `take_moves` did.
    moves: Vec<Move>,
    flaw: Option<Flaw>,
}

impl Paper {
    pub(crate) fn with(flaw: Option<Flaw>) -> Self {
        Self { flaw, ..Self::default() }
    }

    pub(crate) fn take_moves(&mut self) -> Vec<Move> {
        std::mem::take(&mut self.moves)
    }

    /// As `Outbox::accept`; with `first_lease`, the lease that its holder goes on with.
    pub(crate) fn accept(&mut self, order: Order, first_lease: Option<(Boot, Duration)>) -> (Id, Option<Held>) {
        let id = self.rows.len();
        let entry = if order.send_at.is_some() { State::Scheduled } else { State::Queued };
        self.rows.push(Row {
            touser: order.touser,
            on_unknown: order.on_unknown,
            state: entry,
            reason: None,
            msgid: None,
            created_at: order.now,
            expires_at: order.expires_at,
            due_at: order.send_at.unwrap_or(order.now),
            generation: 0,
            boot: None,
            leased_at: None,
            lease_until: None,
            tries: 0,
            doubtful_since: None,
            busy_since: None,
            crashes: 0,
        });
        self.tell(id, None, entry);
        let held = first_lease.map(|(boot, hold)| self.lend(id, boot, order.now, hold));
        (id, held)
    }

    /// As `Queue::lease`, of one lane and account.
    pub(crate) fn lease(&mut self, boot: Boot, limit: usize, now: Timestamp, hold: Duration) -> Vec<Held> {
        let mut due: Vec<Id> = (0..self.rows.len()).filter(|id| self.is_lendable(*id, now)).collect();
        due.sort_by_key(|id| (self.rows[*id].due_at, *id));
        due.truncate(limit);
        due.into_iter().map(|id| self.lend(id, boot, now, hold)).collect()
    }

    pub(crate) fn is_lendable(&self, id: Id, now: Timestamp) -> bool {
        let row = &self.rows[id];
        is_waiting(row.state) && row.due_at <= now && row.expires_at > now
    }

    /// The second half of a lease that was looked for before: it looks again.
    pub(crate) fn claim(&mut self, id: Id, boot: Boot, now: Timestamp, hold: Duration) -> Option<Held> {
        let free = self.flaw == Some(Flaw::LeaseIgnoresState) || self.is_lendable(id, now);
        free.then(|| self.lend(id, boot, now, hold))
    }

    fn lend(&mut self, id: Id, boot: Boot, now: Timestamp, hold: Duration) -> Held {
        let row = &mut self.rows[id];
        let until = now.plus(hold);
        row.generation += 1;
        (row.boot, row.leased_at, row.lease_until) = (Some(boot), Some(now), Some(until));
        let held = Held {
            id,
            touser: row.touser,
            on_unknown: row.on_unknown,
            generation: row.generation,
            created_at: row.created_at,
            expires_at: row.expires_at,
            until,
            tries: row.tries,
            doubtful_since: row.doubtful_since,
            busy_since: row.busy_since,
        };
        self.change(id, State::Sending, None);
        held
    }

    /// As `Queue::extend`.
    pub(crate) fn extend(&mut self, id: Id, generation: i64, until: Timestamp) -> bool {
        let row = &mut self.rows[id];
        let ours = row.generation == generation && row.state == State::Sending;
        if ours {
            row.lease_until = Some(until);
        }
        ours
    }

    /// As `Messages::cancel`: whether it did something.
    pub(crate) fn cancel(&mut self, id: Id) -> bool {
        let row = &self.rows[id];
        if !is_waiting(row.state) {
            return false;
        }
        if row.doubtful_since.is_some() && self.flaw != Some(Flaw::CancelForgetsDoubt) {
            self.change(id, State::Unknown, Some("canceled".into()));
        } else {
            self.change(id, State::Canceled, None);
        }
        true
    }

    /// As `Messages::resolve`: whether it did something.
    pub(crate) fn resolve(&mut self, id: Id, state: State) -> bool {
        let applied = self.rows[id].state == State::Unknown && matches!(state, State::Sent | State::Failed);
        if applied {
            self.change(id, state, Some("operator".into()));
        }
        applied
    }

    pub(crate) fn count(&self, state: State) -> i64 {
        self.figures[place(state)].into()
    }

    /// Another state, counted from where the message stands.
    fn change(&mut self, id: Id, to: State, reason: Option<Reason>) {
        let row = &mut self.rows[id];
        let from = std::mem::replace(&mut row.state, to);
        row.reason = reason;
        if to != State::Sending {
            row.crashes = if row.reason.as_deref() == Some(CRASH) { row.crashes + 1 } else { 0 };
        }
        self.tell(id, Some(from), to);
    }

    fn tell(&mut self, id: Id, from: Option<State>, to: State) {
        if let Some(from) = from {
            self.figures[place(from)] -= 1;
        }
        self.figures[place(to)] += 1;
        self.moves.push(Move { id, from, to });
    }
}

pub(crate) const fn is_waiting(state: State) -> bool {
    matches!(state, State::Scheduled | State::Queued)
}

fn place(state: State) -> usize {
    State::ALL.iter().position(|known| *known == state).unwrap_or_default()
}
