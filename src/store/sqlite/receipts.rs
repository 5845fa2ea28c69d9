//! Which receipt belongs to which message, whichever of them comes first.
//!
//! A receipt names a `msgid`. We know a message's `msgid` only once its send was answered and settled, so a receipt may be
//! early (kept, [`waiting_for`] finds it), and after a lost answer it is the only one who knows ([`take`], [`meant_for`]
//! then go by account and openid, when nothing else can be meant). Receipts of other kinds of messages than template
//! messages come to the same users: those never go by doubt.

use rusqlite::params;

use super::row::Fields;
use super::standing::{self, Standing};
use super::suppressions;
use super::writer::Unit;
use crate::domain::callback::{NewCallback, ReceiptEffect};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::receipt::Receipt;
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::Error;
use crate::store::rules::{DENIED, IN_DOUBT, RECEIPT_DUE, Told, Verdict, is_open, receipt_reason};

/// An unmatched final receipt.
pub(super) struct Kept {
    pub(super) msgid: String,
    openid: String,
    pub(super) verdict: Verdict,
}

/// The first unmatched receipt with this `msgid`, for a message whose send was just answered.
pub(super) fn waiting_for(unit: &Unit<'_>, lease: &Lease, msgid: &str) -> Result<Option<Kept>, Error> {
    // WeChat has given one msgid to two users before: only our user's counts.
    let mut select = unit.tx.prepare_cached(
        "SELECT id, msgid, openid, status, reason FROM receipts
         WHERE account = ?1 AND msgid = ?2 AND openid = ?3 AND message_id IS NULL AND status <> 'other'
         ORDER BY id LIMIT 1",
    )?;
    let mut rows = select.query(params![&*lease.account, msgid, lease.touser])?;
    rows.next()?.map(read_kept).transpose()
}

/// The one unmatched receipt that came for this user since the doubt began, when no other message can be meant.
pub(super) fn meant_for(
    unit: &Unit<'_>,
    account: &str,
    touser: &str,
    message_id: MessageId,
    since: Timestamp,
) -> Result<Option<Kept>, Error> {
    let mut select = unit.tx.prepare_cached(
        "SELECT id, msgid, openid, status, reason FROM receipts
         WHERE account = ?1 AND openid = ?2 AND message_id IS NULL AND status <> 'other' AND received_at >= ?3
            AND is_template
         LIMIT 2",
    )?;
    let mut rows = select.query(params![account, touser, since])?;
    let Some(kept) = rows.next()?.map(read_kept).transpose()? else { return Ok(None) };
    if rows.next()?.is_some() {
        return Ok(None);
    }
    let oldest = since.minus(RECEIPT_DUE);
    let others = in_doubt(unit, account, touser, oldest)?;
    let alone =
        others.iter().all(|other| other.id == message_id) && !has_rival(unit, account, touser, message_id, oldest)?;
    Ok(alone.then_some(kept))
}

/// The receipt, and its repeats, wait no longer.
pub(super) fn use_up(unit: &Unit<'_>, account: &str, kept: &Kept, message_id: MessageId) -> Result<(), Error> {
    unit.tx
        .prepare_cached(
            "UPDATE receipts INDEXED BY receipts_unmatched_msgid SET message_id = ?4
             WHERE account = ?1 AND msgid = ?2 AND openid = ?3 AND message_id IS NULL AND status <> 'other'",
        )?
        .execute(params![account, kept.msgid, kept.openid, message_id])?;
    Ok(())
}

/// Settles the message by a receipt.
pub(super) fn deliver(
    unit: &mut Unit<'_>,
    message: &mut Standing,
    msgid: &str,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), Error> {
    unit.tx
        .prepare_cached("UPDATE messages SET msgid = ?2 WHERE rowid = ?1 AND msgid IS NOT ?2")?
        .execute(params![message.rowid, msgid])?;
    message.change(unit, verdict.state, verdict.reason.as_deref(), now)?;
    let told = Told::of(verdict.state, verdict.reason.as_deref(), &[]);
    suppressions::heed(unit, &message.account, &message.touser, told, now)
}

/// A receipt that came now.
pub(super) fn take(unit: &mut Unit<'_>, callback: &NewCallback, receipt: &Receipt) -> Result<ReceiptEffect, Error> {
    let Some(verdict) = Verdict::of(&receipt.status) else {
        keep(unit, callback, receipt, None)?;
        return Ok(ReceiptEffect::NotFinal);
    };
    let found = match by_msgid(unit, &callback.account, receipt)? {
        None if receipt.is_template => alone_in_doubt(unit, callback, receipt)?,
        found => found,
    };
    let Some(mut message) = found else {
        keep(unit, callback, receipt, None)?;
        return Ok(ReceiptEffect::Unmatched);
    };
    if !is_open(message.state) {
        keep(unit, callback, receipt, Some(message.id))?;
        return Ok(ReceiptEffect::AlreadyFinal { message_id: message.id });
    }
    deliver(unit, &mut message, &receipt.msgid, &verdict, callback.received_at)?;
    reach(Point::ReceiptWritten);
    let Verdict { state, reason } = verdict;
    Ok(ReceiptEffect::Settled { message_id: message.id, state, reason, msgid: receipt.msgid.clone() })
}

/// The message of the receipt's user with this `msgid`: open rather than final, old rather than new.
fn by_msgid(unit: &Unit<'_>, account: &str, receipt: &Receipt) -> Result<Option<Standing>, Error> {
    let sql = format!(
        "SELECT {} FROM messages INDEXED BY messages_msgid WHERE account = ?1 AND msgid = ?2 AND touser = ?3 ORDER BY rowid",
        standing::COLUMNS
    );
    let mut select = unit.tx.prepare_cached(&sql)?;
    let (found, _) = standing::sort_out(&mut select.query(params![account, receipt.msgid, receipt.openid])?)?;
    Ok(found.into_iter().min_by_key(|message| !is_open(message.state)))
}

fn alone_in_doubt(unit: &Unit<'_>, callback: &NewCallback, receipt: &Receipt) -> Result<Option<Standing>, Error> {
    let (openid, oldest) = (receipt.openid.as_str(), callback.received_at.minus(RECEIPT_DUE));
    let mut doubtful = in_doubt(unit, &callback.account, openid, oldest)?;
    let (Some(message), true) = (doubtful.pop(), doubtful.is_empty()) else { return Ok(None) };
    let rival = has_rival(unit, &callback.account, openid, message.id, oldest)?;
    Ok((!rival).then_some(message))
}

/// At most two: more would not be told apart either.
fn in_doubt(unit: &Unit<'_>, account: &str, touser: &str, since: Timestamp) -> Result<Vec<Standing>, Error> {
    let sql = format!(
        "SELECT {} FROM messages INDEXED BY messages_doubt
         WHERE account = ?1 AND touser = ?2 AND {IN_DOUBT} AND doubtful_since >= ?3 LIMIT 2",
        standing::COLUMNS
    );
    let mut select = unit.tx.prepare_cached(&sql)?;
    let (found, _) = standing::sort_out(&mut select.query(params![account, touser, since])?)?;
    Ok(found)
}

/// May another message of this user be meant, although it is in no doubt? One is on its way; or WeChat or an operator has
/// denied one, and it was shown all the same.
fn has_rival(unit: &Unit<'_>, account: &str, touser: &str, but: MessageId, since: Timestamp) -> Result<bool, Error> {
    // The index holds only what is being sent at this moment.
    let mut sending = unit.tx.prepare_cached(
        "SELECT 1 FROM messages INDEXED BY messages_lease
         WHERE state = 'sending' AND account = ?1 AND touser = ?2 AND id <> ?3",
    )?;
    if sending.exists(params![account, touser, but])? {
        return Ok(true);
    }
    let mut denied = unit.tx.prepare_cached(&format!(
        "SELECT 1 FROM messages INDEXED BY messages_rivals
         WHERE account = ?1 AND touser = ?2 AND {DENIED} AND id <> ?3 AND state NOT IN ('delivered', 'undelivered')
            AND (busy_since >= ?4 OR (state = 'failed' AND doubtful_since >= ?4))",
    ))?;
    Ok(denied.exists(params![account, touser, but, since])?)
}

fn keep(
    unit: &Unit<'_>,
    callback: &NewCallback,
    receipt: &Receipt,
    message_id: Option<MessageId>,
) -> Result<(), Error> {
    unit.tx
        .prepare_cached(
            "INSERT INTO receipts (account, msgid, openid, status, reason, received_at, callback_id, message_id,
                is_template)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            callback.account,
            receipt.msgid,
            receipt.openid,
            receipt.status.as_str(),
            receipt_reason(&receipt.status),
            callback.received_at,
            callback.id,
            message_id,
            receipt.is_template,
        ])?;
    Ok(())
}

fn read_kept(row: &rusqlite::Row<'_>) -> Result<Kept, Error> {
    let fields = Fields::new(row, "receipts", "id");
    let state = fields.parsed("status", |text| {
        State::parse(text).filter(|state| matches!(state, State::Delivered | State::Undelivered))
    })?;
    let verdict = Verdict { state, reason: fields.get("reason")? };
    Ok(Kept { msgid: fields.get("msgid")?, openid: fields.get("openid")?, verdict })
}
