//! The end of a lease: a settlement in, one row changed, early receipts used up.

use rusqlite::{Row, params};

use super::fault::unavailable;
use super::receipts::{self, Kept};
use super::row::Fields;
use super::suppressions;
use super::writer::Unit;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::message::Lease;
use crate::domain::settlement::{Next, Settlement};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::rules::{CRASH, QUARANTINED, Told, doubt_after, reason};
use crate::store::told;
use crate::store::{Error, Settled, history};

/// A row that a lease may end.
struct Held {
    rowid: i64,
    /// `sending`, or where `rescue` put it.
    state: State,
    leased_at: Timestamp,
    /// Brought up to date beside the row, so that it need not be read again.
    told: told::Told,
}

pub(super) fn settle(
    unit: &mut Unit<'_>,
    lease: &Lease,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Settled, Error> {
    let Some(mut held) = held(unit, lease)? else { return standing_now(unit, lease) };
    let doubt = doubt_after(&settlement.next, lease, held.leased_at);
    let kept = receipt_for(unit, lease, &settlement.next, doubt)?;
    let steps = steps(settlement, kept.as_ref(), now);
    let settled = write(unit, &mut held, settlement, kept.as_ref(), doubt, &steps)?;
    unit.moved(&held.told, &lease.account, lease.lane, held.state, &steps)?;
    let told = Told::of(settled.state, settled.reason.as_deref(), &settlement.attempts);
    suppressions::heed(unit, &lease.account, lease.touser.as_str(), told, now)?;
    if let Some(kept) = kept {
        receipts::use_up(unit, &lease.account, &kept, lease.message_id)?;
    }
    reach(Point::SettleWritten);
    Ok(settled)
}

/// The receipt that came before the answer was written. One with our own `msgid` always goes first; without one, and after
/// a repeat, the first attempt's `msgid` may be meant.
fn receipt_for(unit: &Unit<'_>, lease: &Lease, next: &Next, doubt: Option<Timestamp>) -> Result<Option<Kept>, Error> {
    if let Next::Sent { msgid: Some(msgid) } = next
        && let Some(kept) = receipts::waiting_for(unit, lease, msgid)?
    {
        return Ok(Some(kept));
    }
    match (next, doubt) {
        (Next::Sent { .. } | Next::Unknown { .. } | Next::Queued { .. }, Some(since)) => {
            receipts::meant_for(unit, &lease.account, lease.touser.as_str(), lease.message_id, since)
        }
        _ => Ok(None),
    }
}

/// The row, if the lease is current: held still, or taken back by `rescue` and lent to nobody since.
fn held(unit: &Unit<'_>, lease: &Lease) -> Result<Option<Held>, Error> {
    let mut select = unit.tx.prepare_cached(
        "SELECT rowid, state, leased_at, client, template_id, msgid, attempts, metadata, retry_of, batch_id, account, touser
         FROM messages WHERE id = ?1 AND lease_generation = ?2
            AND (state = 'sending' OR (state IN ('queued', 'unknown') AND state_reason IN (?3, ?4)))",
    )?;
    let mut rows = select.query(params![lease.message_id, lease.generation, CRASH, QUARANTINED])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let corrupt = |column| Error::Corrupt { table: "messages", column, row: lease.message_id.to_string() };
    // By place, not by name: this is read for every message.
    let text = |place| row.get::<_, Option<String>>(place).ok().flatten();
    let state = row.get_ref(1).ok().and_then(|value| State::parse(value.as_str().ok()?));
    Ok(Some(Held {
        rowid: row.get(0).map_err(|_| corrupt("rowid"))?,
        state: state.ok_or_else(|| corrupt("state"))?,
        leased_at: row.get::<_, Option<_>>(2).map_err(|_| corrupt("leased_at"))?.unwrap_or(lease.created_at),
        told: told::Told {
            id: Some(lease.message_id.to_string()),
            client: text(3),
            template_id: text(4),
            msgid: text(5),
            attempts: text(6),
            metadata: text(7),
            retry_of: text(8),
            batch_id: text(9),
            account: text(10),
            touser: text(11),
            created_at: Some(lease.created_at),
        },
    }))
}

fn standing_now(unit: &Unit<'_>, lease: &Lease) -> Result<Settled, Error> {
    let mut select = unit.tx.prepare_cached("SELECT id, state, state_reason, msgid FROM messages WHERE id = ?1")?;
    let mut rows = select.query([lease.message_id])?;
    match rows.next()? {
        Some(row) => read_settled(row, false),
        None => Err(Error::Corrupt { table: "messages", column: "id", row: lease.message_id.to_string() }),
    }
}

fn read_settled(row: &Row<'_>, applied: bool) -> Result<Settled, Error> {
    let fields = Fields::new(row, "messages", "id");
    Ok(Settled {
        applied,
        state: fields.parsed("state", State::parse)?,
        reason: fields.get("state_reason")?,
        msgid: fields.get("msgid")?,
    })
}

/// What the history is told: where the lease leads, and where a receipt that came before leads from there.
fn steps(settlement: &Settlement, kept: Option<&Kept>, now: Timestamp) -> Vec<HistoryEntry> {
    let next = &settlement.next;
    let first = HistoryEntry { state: next.state(), at: now, reason: reason(next).map(str::to_owned) };
    let second =
        kept.map(|Kept { verdict, .. }| HistoryEntry { state: verdict.state, at: now, reason: verdict.reason.clone() });
    std::iter::once(first).chain(second).collect()
}

fn write(
    unit: &Unit<'_>,
    held: &mut Held,
    settlement: &Settlement,
    kept: Option<&Kept>,
    doubt: Option<Timestamp>,
    steps: &[HistoryEntry],
) -> Result<Settled, Error> {
    let next = &settlement.next;
    let (msgid, due_at, tries) = match next {
        Next::Sent { msgid } => (msgid.as_deref(), None, None),
        Next::Queued { due_at, tries, .. } => (None, Some(*due_at), Some(*tries)),
        Next::Scheduled { due_at, .. } => (None, Some(*due_at), None),
        _ => (None, None, None),
    };
    let last = steps.last().ok_or_else(|| unavailable("a settlement without a step"))?;
    let msgid = kept.map(|kept| kept.msgid.as_str()).or(msgid);
    let attempts = history::lines(&settlement.attempts)?;
    let mut update = unit.tx.prepare_cached(
        "UPDATE messages SET state = ?2, state_reason = ?3, msgid = coalesce(?4, msgid),
            due_at = coalesce(?5, due_at), tries = coalesce(?6, tries), doubtful_since = ?7, updated_at = ?8,
            attempts = attempts || ?9, history = history || ?10,
            busy_since = coalesce(busy_since, ?11)
         WHERE rowid = ?1",
    )?;
    let written = update.execute(params![
        held.rowid,
        last.state,
        last.reason,
        msgid,
        due_at,
        tries,
        doubt,
        last.at,
        attempts,
        history::steps(steps)?,
        settlement.busy_since(),
    ])?;
    if written != 1 {
        return Err(unavailable("the row of a lease is gone"));
    }
    if let Some(msgid) = msgid {
        held.told.msgid = Some(msgid.to_owned());
    }
    held.told.attempts.get_or_insert_default().push_str(&attempts);
    Ok(Settled { applied: true, state: last.state, reason: last.reason.clone(), msgid: held.told.msgid.clone() })
}
