//! Which receipt belongs to which message, whichever of them comes first.

use std::time::Duration;

use wxgate::domain::clock::Timestamp;
use wxgate::domain::state::State;

use super::{Flaw, Id, Msgid, Paper, Reason, Row, User};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A receipt as WeChat sends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Report {
    pub(crate) msgid: Msgid,
    pub(crate) touser: User,
    pub(crate) status: Status,
    pub(crate) is_template: bool,
}

/// `Some`: the state that it tells, and why. `None`: neither success nor failure.
type Status = Option<(State, Option<Reason>)>;

/// A receipt that settled nothing when it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    pub(crate) report: Report,
    pub(crate) received_at: Timestamp,
    /// The message that claimed it, or that was final already.
    pub(crate) message: Option<Id>,
}

impl Kept {
    pub(crate) fn is_unmatched(&self) -> bool {
        self.message.is_none() && self.report.status.is_some()
    }
}

/// What one receipt did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Settled(Id),
    AlreadyFinal(Id),
    Unmatched,
    NotFinal,
    /// The same callback came before.
    Seen,
}

impl Paper {
    /// As `Inbox::record`, of a callback with one receipt.
    pub(crate) fn record(&mut self, dedupe_key: u64, report: &Report, now: Timestamp) -> Effect {
        if !self.seen.insert(dedupe_key) {
            return Effect::Seen;
        }
        let Some((state, reason)) = report.status.clone() else {
            self.keep(report, now, None);
            return Effect::NotFinal;
        };
        let found = self.by_msgid(report).or_else(|| self.alone_in_doubt(report, now));
        let Some(id) = found else {
            self.keep(report, now, None);
            return Effect::Unmatched;
        };
        if !is_open(self.rows[id].state) && self.flaw != Some(Flaw::ReceiptBeatsFinal) {
            self.keep(report, now, Some(id));
            return Effect::AlreadyFinal(id);
        }
        self.rows[id].msgid = Some(report.msgid);
        self.change(id, state, reason);
        Effect::Settled(id)
    }

    /// The message of the receipt's user with this `msgid`: open rather than final, old rather than new.
    fn by_msgid(&self, report: &Report) -> Option<Id> {
        let mine = |row: &Row| row.msgid == Some(report.msgid) && row.touser == report.touser;
        self.ids(mine).min_by_key(|id| !is_open(self.rows[*id].state))
    }

    fn alone_in_doubt(&self, report: &Report, now: Timestamp) -> Option<Id> {
        if !report.is_template {
            return None;
        }
        let doubtful = self.in_doubt(report.touser, now.minus(DAY));
        if self.flaw == Some(Flaw::ReceiptTakesAnyDoubt) {
            return doubtful.first().copied();
        }
        match doubtful[..] {
            [id] if !self.has_rival(report.touser, id, now.minus(DAY)) => Some(id),
            _ => None,
        }
    }

    /// The first unmatched receipt with this `msgid`.
    pub(super) fn waiting_for(&self, touser: User, msgid: Msgid) -> Option<usize> {
        let mine = |kept: &Kept| kept.is_unmatched() && kept.report.msgid == msgid && kept.report.touser == touser;
        self.receipts.iter().position(mine)
    }

    /// The one unmatched receipt that came for this user since the doubt began, when no other message can be meant.
    pub(super) fn meant_for(&self, id: Id, since: Timestamp) -> Option<usize> {
        let touser = self.rows[id].touser;
        let mine = |kept: &Kept| {
            kept.is_unmatched() && kept.report.touser == touser && kept.report.is_template && kept.received_at >= since
        };
        let found: Vec<usize> = (0..self.receipts.len()).filter(|at| mine(&self.receipts[*at])).collect();
        let rivals = self.in_doubt(touser, since.minus(DAY)).into_iter().any(|other| other != id);
        match found[..] {
            [kept] if !rivals && !self.has_rival(touser, id, since.minus(DAY)) => Some(kept),
            _ => None,
        }
    }

    /// The receipt, and its repeats, wait no longer.
    pub(super) fn use_up(&mut self, at: usize, id: Id) -> Report {
        let used = self.receipts[at].report.clone();
        for kept in &mut self.receipts {
            if kept.is_unmatched() && kept.report.msgid == used.msgid && kept.report.touser == used.touser {
                kept.message = Some(id);
            }
        }
        used
    }

    fn in_doubt(&self, touser: User, since: Timestamp) -> Vec<Id> {
        self.ids(|row| {
            let may_be = matches!(row.state, State::Queued | State::Unknown | State::Sent);
            row.touser == touser && may_be && row.doubtful_since.is_some_and(|doubt| doubt >= since)
        })
        .collect()
    }

    /// Another message of this user that WeChat may have shown since: on its way, answered "busy", or ended by an operator.
    fn has_rival(&self, touser: User, but: Id, since: Timestamp) -> bool {
        let is_rival = |row: &Row| {
            let reported = matches!(row.state, State::Delivered | State::Undelivered);
            let was_busy = row.busy_since.is_some_and(|busy| busy >= since) && !reported;
            let by_word = row.state == State::Failed && row.doubtful_since.is_some_and(|doubt| doubt >= since);
            row.touser == touser
                && (row.state == State::Sending
                    || (was_busy && self.flaw != Some(Flaw::ReceiptBelievesBusy))
                    || (by_word && self.flaw != Some(Flaw::ReceiptBelievesOperator)))
        };
        self.ids(is_rival).any(|id| id != but)
    }

    pub(super) fn ids(&self, which: impl Fn(&Row) -> bool) -> impl Iterator<Item = Id> {
        self.rows.iter().enumerate().filter(move |(_, row)| which(row)).map(|(id, _)| id)
    }

    fn keep(&mut self, report: &Report, now: Timestamp, message: Option<Id>) {
        self.receipts.push(Kept { report: report.clone(), received_at: now, message });
    }
}

/// A receipt may still settle it.
const fn is_open(state: State) -> bool {
    matches!(state, State::Sent | State::Sending | State::Queued | State::Unknown)
}
