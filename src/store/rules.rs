//! What follows from what, whatever the backend: the judgements of `Queue::settle`, `Queue::rescue` and `Inbox::record` that
//! need no row.

use std::time::Duration;

use crate::domain::attempt::{Attempt, HistoryEntry};
use crate::domain::clock::Timestamp;
use crate::domain::message::Lease;
use crate::domain::receipt::ReceiptStatus;
use crate::domain::settlement::Next;
use crate::domain::state::{OnUnknown, State};
use crate::domain::suppression::SuppressionReason;

/// The reason of what was taken back.
pub(super) const CRASH: &str = "crash";
/// The reason of what was taken back too often in a row.
pub(super) const QUARANTINED: &str = "quarantined";
/// The reason of what was restored from a backup and may have been sent since.
pub(super) const RESTORED: &str = "restored";
/// The reason of a doubt that may be older than it looks.
pub(super) const WINDOW_OVER: &str = "repeat_window_over";
/// The reason of what nobody took in time.
pub(super) const EXPIRED: &str = "expired";

/// Receipts come within a day or not at all: an older doubt is not theirs.
pub(super) const RECEIPT_DUE: Duration = Duration::from_secs(24 * 60 * 60);

/// In doubt, as SQL: the message may be at WeChat under a `msgid` that we do not know (of a `sent` one we may know the wrong
/// one). Word for word the condition of `messages_doubt`.
pub(super) const IN_DOUBT: &str = "doubtful_since IS NOT NULL AND state IN ('queued', 'unknown', 'sent')";

/// WeChat or an operator has said that it was not shown, as SQL; either may be wrong. Word for word the condition of
/// `messages_rivals`.
pub(super) const DENIED: &str = "(busy_since IS NOT NULL OR (state = 'failed' AND doubtful_since IS NOT NULL))";

/// What a final receipt makes of a message.
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) reason: Option<String>,
}

impl Verdict {
    /// `None`: the receipt is not final.
    pub(super) fn of(status: &ReceiptStatus) -> Option<Self> {
        match status {
            ReceiptStatus::Delivered => Some(Self { state: State::Delivered, reason: None }),
            ReceiptStatus::Undelivered { reason } => {
                Some(Self { state: State::Undelivered, reason: Some(reason.clone()) })
            }
            ReceiptStatus::Other { .. } => None,
        }
    }
}

/// What the end of an attempt or a receipt tells about the person.
pub(super) enum Told {
    /// Nobody of this account reaches them.
    Refuses { reason: SuppressionReason, errmsg: String },
    /// WeChat takes what is for them; whether they let it in is not said.
    IsTaken,
    /// It was shown to them.
    IsReached,
}

impl Told {
    /// Of a message that came to this state, by these attempts.
    pub(super) fn of(state: State, state_reason: Option<&str>, attempts: &[Attempt]) -> Option<Self> {
        match state {
            State::Delivered => Some(Self::IsReached),
            State::Sent => Some(Self::IsTaken),
            State::Undelivered => {
                let reason = SuppressionReason::parse(state_reason?)?;
                let is_told_by_receipts = reason.errcode().is_none();
                is_told_by_receipts.then(|| Self::Refuses { reason, errmsg: reason.as_str().to_owned() })
            }
            State::Rejected => {
                let last = attempts.last()?;
                let reason = SuppressionReason::of_errcode(last.errcode?)?;
                Some(Self::Refuses { reason, errmsg: last.errmsg.clone().unwrap_or_default() })
            }
            _ => None,
        }
    }
}

/// `receipts.reason`.
pub(super) fn receipt_reason(status: &ReceiptStatus) -> Option<&str> {
    match status {
        ReceiptStatus::Delivered => None,
        ReceiptStatus::Undelivered { reason } => Some(reason),
        ReceiptStatus::Other { text } => Some(text),
    }
}

/// A receipt may still settle it.
pub(super) const fn is_open(state: State) -> bool {
    matches!(state, State::Sent | State::Sending | State::Queued | State::Unknown)
}

/// Why a lease ended so.
pub(super) fn reason(next: &Next) -> Option<&str> {
    match next {
        Next::Sent { .. } => None,
        Next::Queued { reason, .. }
        | Next::Scheduled { reason, .. }
        | Next::Rejected { reason }
        | Next::Unknown { reason }
        | Next::Failed { reason }
        | Next::Expired { reason } => Some(reason),
    }
}

/// Since when WeChat may have taken it under a `msgid` that we do not know.
pub(super) fn doubt_after(next: &Next, lease: &Lease, leased_at: Timestamp) -> Option<Timestamp> {
    match next {
        Next::Sent { msgid: None } | Next::Unknown { .. } => Some(lease.doubtful_since.unwrap_or(leased_at)),
        Next::Queued { doubtful_since, .. } => *doubtful_since,
        // What WeChat answers to a repeat may name another push than the first attempt's receipt will.
        Next::Sent { msgid: Some(_) }
        | Next::Scheduled { .. }
        | Next::Rejected { .. }
        | Next::Failed { .. }
        | Next::Expired { .. } => lease.doubtful_since,
    }
}

/// Where a message goes whose holder died: again, while WeChat still recognises the repeat.
pub(super) fn after_crash(on_unknown: OnUnknown, doubtful_since: Timestamp, now: Timestamp, window: Duration) -> State {
    // A doubt from the future: the clock was set back, and how old it is nobody knows.
    let is_young = doubtful_since <= now && now.since(doubtful_since) < window;
    if on_unknown == OnUnknown::Retry && is_young { State::Queued } else { State::Unknown }
}

/// How often in a row, up to now, a process died with the message. A line of history that cannot be read ends the row.
pub(super) fn crashes_in_a_row(history: &str) -> usize {
    let newest_first = history.lines().rev().map_while(|line| serde_json::from_str::<HistoryEntry>(line).ok());
    let ends = newest_first.filter(|entry| entry.state != State::Sending);
    ends.take_while(|entry| entry.reason.as_deref() == Some(CRASH)).count()
}

/// Where a message goes that nobody took in time.
pub(super) const fn after_expiry(doubtful_since: Option<Timestamp>) -> State {
    if doubtful_since.is_some() { State::Unknown } else { State::Expired }
}
