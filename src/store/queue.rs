//! The queue: the rows of `messages` that are due, and who holds them. A lease is a date in a row.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Error;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::settlement::Settlement;
use crate::domain::state::{Lane, State};

/// A message that was taken back so often in a row, without an attempt that ended in between, is suspected to be the cause.
pub const CRASHES: usize = 3;

#[async_trait]
pub trait Queue: Send + Sync {
    /// Lends up to `limit` messages of the lane and of the `open` accounts that are due (`scheduled` or `queued`, due and not
    /// expired), of each account no more than it has room for: state `sending`, generation + 1, held by this process until
    /// `now + hold`. Accounts are asked in the order given; the backlog of any other account costs nothing. Within an account
    /// the clients take turns, from one call to the next too, and of each client the oldest due goes first.
    /// A row that cannot be read becomes `unknown`, reason `corrupt`, and holds up no other (`rescue` and `expire` do the
    /// same).
    async fn lease(
        &self,
        lane: Lane,
        open: &[OpenAccount],
        limit: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Lease>, Error>;

    /// Holds the lease for longer. `false`: it is no longer ours.
    async fn extend(&self, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error>;

    /// Ends the lease: attempts appended, state, reason and next date in one write. Never refused as overloaded: it waits.
    ///
    /// A `Sent` whose `msgid` has an unmatched receipt of the same user goes straight to `delivered`/`undelivered` and uses
    /// that receipt up. A `Queued` with `doubtful_since`, an `Unknown`, and a `Sent` without `msgid` are in doubt; so is a `Sent`
    /// of a lease with `doubtful_since` when nothing waits for its `msgid`, which may not be the first attempt's (the doubt is
    /// kept for a later receipt). When exactly one unmatched final receipt of a template message came for the same account and
    /// openid since the doubt began, and no other message of them is in doubt or a rival (see `Inbox::record`), that receipt
    /// settles the message. The history tells both steps.
    /// A row that `rescue` took back meanwhile (`queued` or `unknown`, reason `crash` or `quarantined`) and nobody leased since
    /// is settled all the same: its result is known after all. Otherwise, when the generation is not current, nothing is written and
    /// `applied` is false.
    async fn settle(&self, lease: Lease, settlement: Settlement, now: Timestamp) -> Result<Settled, Error>;

    /// Takes back what died with its holder: every `sending` row whose holder is not alive, or that this process holds and
    /// whose lease ended before `now` or began more than [`JUMP`](crate::domain::clock::JUMP) after it (the clock was set
    /// back). Where one process serves a store, no other holder is alive. Each becomes, at most `limit` at a time:
    /// - `queued`, reason `crash`, due now, `doubtful_since` = when its lease began (if not set before), when `on_unknown` is
    ///   `retry` and the doubt is younger than `window` (a doubt from the future is not: the clock was set back);
    /// - `unknown`, reason `quarantined`, instead, when its history tells that the last [`CRASHES`] − 1 attempts ended like
    ///   this one: its last lines, those of `sending` aside, are `queued` by a `crash`;
    /// - `unknown`, reason `crash`, otherwise;
    /// - `delivered` or `undelivered`, when a receipt settles it as in `settle`.
    ///
    /// Messages named in `running` are under way in this very process and are left alone, however old their lease.
    async fn rescue(
        &self,
        now: Timestamp,
        window: Duration,
        limit: usize,
        running: &[MessageId],
    ) -> Result<Rescued, Error>;

    /// The clock was set back to `now`, perhaps: puts right what waits by dates of a clock that ran ahead. "Ahead" is a last
    /// change more than [`JUMP`](crate::domain::clock::JUMP) after `now`. Of the `queued` rows, at most `limit` at a time,
    /// - those that may be at WeChat (`doubtful_since` or `busy_since` is set) and are ahead become `unknown`, reason
    ///   `repeat_window_over`; all of those that may be there do, when `jumped`: it was seen to jump, and any doubt may be
    ///   older than it looks;
    /// - others that are ahead are due as long after `now` as they were meant to wait.
    ///
    /// What is `scheduled` keeps the date that its caller asked for.
    async fn realign(&self, now: Timestamp, jumped: bool, limit: usize) -> Result<Realigned, Error>;

    /// `scheduled` and `queued` rows whose `expires_at` has passed become `expired`; with `doubtful_since` set, `unknown`.
    /// Reason `expired`. At most `limit`; returns their ids.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error>;

    /// The earliest due date of any `scheduled` or `queued` row of the `open` accounts: when to look again. It may have
    /// passed although `lease` gives nothing (the row has expired and waits for `expire`), so a poller keeps a least interval.
    async fn next_due(&self, open: &[OpenAccount]) -> Result<Option<Timestamp>, Error>;

    /// The next thing that another process has done and that may concern this one; never, where one process serves a store.
    /// One caller at a time. Only a hint: some may be missed, and what it names may be over.
    async fn changed(&self) -> Change {
        std::future::pending().await
    }
}

/// What another process has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It made work that is due.
    Due,
    /// It took this message further, and whoever accepted it may be waiting.
    Ended(MessageId),
}

/// An account that messages may be sent for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAccount {
    pub name: Arc<str>,
    /// How many may be lent at once: 1 while a broken line is probed.
    pub room: usize,
}

/// What `settle` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub applied: bool,
    /// The state of the message afterwards (or as it is, when not applied).
    pub state: State,
    /// Its reason and WeChat's id for it, afterwards.
    pub reason: Option<String>,
    pub msgid: Option<String>,
}

/// What `realign` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realigned {
    pub unknown: Vec<MessageId>,
    /// How many got another due date.
    pub moved: usize,
}

/// What `rescue` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    pub queued: Vec<MessageId>,
    pub unknown: Vec<MessageId>,
    /// `unknown` too: the process died with each of them [`CRASHES`] times in a row.
    pub quarantined: Vec<MessageId>,
    /// By a receipt that was there already.
    pub settled: Vec<(MessageId, State)>,
}
