//! The end of a lease: a settlement in, one row changed, early receipts used up.

use rusqlite::{OptionalExtension, params};

use super::receipts::{self, Kept};
use super::row::Fields;
use super::writer::Unit;
use super::{history, standing};
use crate::domain::clock::Timestamp;
use crate::domain::message::Lease;
use crate::domain::settlement::{Next, Settlement};
use crate::domain::state::State;
use crate::store::{Error, Settled};

pub(super) fn settle(
    unit: &mut Unit<'_>,
    lease: &Lease,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Settled, Error> {
    let Some((rowid, leased_at)) = held(unit, lease)? else {
        return Ok(Settled { applied: false, state: standing_now(unit, lease)? });
    };
    let next = &settlement.next;
    let doubt = doubt_after(next, lease, leased_at);
    let kept = match (next, doubt) {
        (Next::Sent { msgid: Some(msgid) }, _) => receipts::waiting_for(unit, lease, msgid)?,
        (Next::Sent { .. } | Next::Unknown { .. } | Next::Queued { .. }, Some(since)) => {
            receipts::meant_for(unit, &lease.account, lease.touser.as_str(), lease.message_id, since)?
        }
        _ => None,
    };
    let state = kept.as_ref().map_or(next.state(), |kept| kept.verdict.state);
    write(unit, rowid, settlement, kept.as_ref(), doubt, now)?;
    unit.deltas.moved(&lease.account, lease.lane, State::Sending, state);
    if let Some(kept) = kept {
        receipts::use_up(unit, &lease.account, &kept, lease.message_id)?;
    }
    Ok(Settled { applied: true, state })
}

/// The row, and when this lease began, if the lease is current.
fn held(unit: &Unit<'_>, lease: &Lease) -> Result<Option<(i64, Timestamp)>, Error> {
    let mut select = unit.tx.prepare_cached(
        "SELECT rowid, leased_at FROM messages WHERE id = ?1 AND lease_generation = ?2 AND state = 'sending'",
    )?;
    let row = select.query_row(params![lease.message_id, lease.generation], |row| {
        Ok((row.get(0)?, row.get::<_, Option<Timestamp>>(1)?.unwrap_or(lease.created_at)))
    });
    Ok(row.optional()?)
}

fn standing_now(unit: &Unit<'_>, lease: &Lease) -> Result<State, Error> {
    let sql = format!("SELECT {} FROM messages WHERE id = ?1", standing::COLUMNS);
    let mut select = unit.tx.prepare_cached(&sql)?;
    let mut rows = select.query([lease.message_id])?;
    match rows.next()? {
        Some(row) => Fields::new(row, "messages", "id").parsed("state", State::parse),
        None => Err(Error::Corrupt { table: "messages", column: "id", row: lease.message_id.to_string() }),
    }
}

/// Since when WeChat may have taken it without our knowing its `msgid`.
fn doubt_after(next: &Next, lease: &Lease, leased_at: Timestamp) -> Option<Timestamp> {
    match next {
        Next::Sent { msgid: Some(_) } => None,
        Next::Sent { msgid: None } | Next::Unknown { .. } => Some(lease.doubtful_since.unwrap_or(leased_at)),
        Next::Queued { doubtful_since, .. } => *doubtful_since,
        Next::Rejected { .. } | Next::Failed { .. } | Next::Expired { .. } => lease.doubtful_since,
    }
}

fn write(
    unit: &Unit<'_>,
    rowid: i64,
    settlement: &Settlement,
    kept: Option<&Kept>,
    doubt: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Error> {
    let next = &settlement.next;
    let (msgid, due_at, tries, busy) = match next {
        Next::Sent { msgid } => (msgid.as_deref(), None, None, None),
        Next::Queued { due_at, tries, busy_since, .. } => (None, Some(*due_at), Some(*tries), *busy_since),
        _ => (None, None, None, None),
    };
    let mut lines = history::line(next.state(), now, reason(next))?;
    let (mut state, mut state_reason) = (next.state(), reason(next));
    if let Some(Kept { verdict, .. }) = kept {
        (state, state_reason) = (verdict.state, verdict.reason.as_deref());
        lines += &history::line(state, now, state_reason)?;
    }
    unit.tx
        .prepare_cached(
            "UPDATE messages SET state = ?2, state_reason = ?3, msgid = coalesce(?4, msgid),
                due_at = coalesce(?5, due_at), tries = coalesce(?6, tries), doubtful_since = ?7, updated_at = ?8, busy_since = ?11,
                attempts = attempts || ?9, history = history || ?10
             WHERE rowid = ?1",
        )?
        .execute(params![
            rowid,
            state,
            state_reason,
            kept.map(|kept| kept.msgid.as_str()).or(msgid),
            due_at,
            tries,
            doubt,
            now,
            history::lines(&settlement.attempts)?,
            lines,
            busy,
        ])?;
    Ok(())
}

fn reason(next: &Next) -> Option<&str> {
    match next {
        Next::Sent { .. } => None,
        Next::Queued { reason, .. }
        | Next::Rejected { reason }
        | Next::Unknown { reason }
        | Next::Failed { reason }
        | Next::Expired { reason } => Some(reason),
    }
}
