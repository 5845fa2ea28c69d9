//! The end of a lease.

use wxgate::domain::clock::Timestamp;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::State;

use super::{CRASH, Flaw, Held, Msgid, Paper, QUARANTINED, Reason, Row, place};

/// What a settlement did, and where the message stands now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settled {
    pub(crate) applied: bool,
    pub(crate) state: State,
    pub(crate) reason: Option<Reason>,
    pub(crate) msgid: Option<Msgid>,
}

impl Paper {
    /// As `Queue::settle`. A `msgid` in `next` is a number. `busy_at`: when an attempt of this lease began that WeChat
    /// answered with "busy".
    pub(crate) fn settle(&mut self, held: &Held, next: &Next, busy_at: Option<Timestamp>) -> Settled {
        if !self.may_settle(held) {
            return self.standing(held, false);
        }
        let id = held.id;
        let leased_at = self.rows[id].leased_at.unwrap_or(held.created_at);
        let doubt = doubt_after(next, held, leased_at);
        let kept = self.receipt_for(held, next, doubt);
        if self.flaw == Some(Flaw::SettleCountsFromSending) {
            self.figures[place(self.rows[id].state)] += 1;
            self.figures[place(State::Sending)] -= 1;
        }
        self.change(id, next.state(), reason(next));
        let row = &mut self.rows[id];
        row.doubtful_since = doubt;
        row.busy_since = row.busy_since.or(busy_at);
        match next {
            Next::Sent { msgid: Some(msgid) } => row.msgid = msgid.parse().ok(),
            Next::Scheduled { due_at, .. } => row.due_at = *due_at,
            Next::Queued { due_at, tries, busy_since, .. } => {
                (row.due_at, row.tries, row.busy_since) = (*due_at, *tries, row.busy_since.or(*busy_since));
            }
            _ => {}
        }
        if let Some(kept) = kept {
            self.deliver(id, kept);
        }
        self.standing(held, true)
    }

    /// The lease is current: held still, or taken back by `rescue` and lent to nobody since.
    fn may_settle(&self, held: &Held) -> bool {
        let row = &self.rows[held.id];
        let is_by_rescue = matches!(row.reason.as_deref(), Some(CRASH | QUARANTINED));
        let taken_back = matches!(row.state, State::Queued | State::Unknown) && is_by_rescue;
        let current = row.generation == held.generation || self.flaw == Some(Flaw::SettleIgnoresGeneration);
        current && (row.state == State::Sending || taken_back)
    }

    /// One with our own `msgid` always goes first; without one, and after a repeat, the first attempt's may be meant.
    fn receipt_for(&self, held: &Held, next: &Next, doubt: Option<Timestamp>) -> Option<usize> {
        if let Next::Sent { msgid: Some(msgid) } = next
            && let Some(at) = msgid.parse().ok().and_then(|msgid| self.waiting_for(held.touser, msgid))
        {
            return Some(at);
        }
        match (next, doubt) {
            (Next::Sent { .. } | Next::Unknown { .. } | Next::Queued { .. }, Some(since)) => {
                self.meant_for(held.id, since)
            }
            _ => None,
        }
    }

    /// A kept receipt settles the message.
    pub(super) fn deliver(&mut self, id: usize, kept: usize) {
        let report = self.use_up(kept, id);
        self.rows[id].msgid = Some(report.msgid);
        if let Some((state, reason)) = report.status {
            self.change(id, state, reason);
        }
    }

    fn standing(&self, held: &Held, applied: bool) -> Settled {
        let Row { state, reason, msgid, .. } = &self.rows[held.id];
        Settled { applied, state: *state, reason: reason.clone(), msgid: *msgid }
    }
}

/// Since when WeChat may have taken it under a `msgid` that we do not know.
fn doubt_after(next: &Next, held: &Held, leased_at: Timestamp) -> Option<Timestamp> {
    match next {
        Next::Sent { msgid: None } | Next::Unknown { .. } => Some(held.doubtful_since.unwrap_or(leased_at)),
        Next::Queued { doubtful_since, .. } => *doubtful_since,
        Next::Sent { msgid: Some(_) }
        | Next::Scheduled { .. }
        | Next::Rejected { .. }
        | Next::Failed { .. }
        | Next::Expired { .. } => held.doubtful_since,
    }
}

fn reason(next: &Next) -> Option<Reason> {
    match next {
        Next::Sent { .. } => None,
        Next::Queued { reason, .. }
        | Next::Scheduled { reason, .. }
        | Next::Rejected { reason }
        | Next::Unknown { reason }
        | Next::Failed { reason }
        | Next::Expired { reason } => Some(reason.clone().into()),
    }
}
