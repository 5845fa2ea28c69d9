//! Which receipt belongs to which message, whichever of them comes first.
//!
//! A receipt names a `msgid`. We know a message's `msgid` only once its send was answered and settled, so a receipt may be
//! early (kept, [`waiting_for`] finds it), and after a lost answer it is the only one who knows ([`take`], [`meant_for`]
//! then go by account and openid, when nothing else can be meant). Receipts of other kinds of messages than template
//! messages come to the same users: those never go by doubt.
//!
//! Everything here is done under `LockKey::user` of the receipt's user: on every node one at a time.

use tokio_postgres::Row;

use super::command::Unit;
use super::row::Fields;
use super::sql::Sql;
use super::standing::{self, Standing};
use super::suppressions;
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
pub(super) async fn waiting_for(unit: &Unit<'_>, lease: &Lease, msgid: &str) -> Result<Option<Kept>, Error> {
    // WeChat has given one msgid to two users before: only our user's counts.
    let select = "SELECT id, msgid, openid, status, reason FROM receipts
         WHERE account = $1 AND msgid = $2 AND openid = $3 AND message_id IS NULL AND status <> 'other'
         ORDER BY id LIMIT 1";
    let row = unit.row(select, &[&&*lease.account, &msgid, &lease.touser]).await?;
    row.as_ref().map(read_kept).transpose()
}

/// The one unmatched receipt that came for this user since the doubt began, when no other message can be meant.
pub(super) async fn meant_for(
    unit: &Unit<'_>,
    account: &str,
    touser: &str,
    message_id: MessageId,
    since: Timestamp,
) -> Result<Option<Kept>, Error> {
    let select = "SELECT id, msgid, openid, status, reason FROM receipts
         WHERE account = $1 AND openid = $2 AND message_id IS NULL AND status <> 'other' AND received_at >= $3
            AND is_template
         LIMIT 2";
    let rows = unit.rows(select, &[&account, &touser, &since]).await?;
    let [row] = &rows[..] else { return Ok(None) };
    let kept = read_kept(row)?;
    let oldest = since.minus(RECEIPT_DUE);
    let others = in_doubt(unit, account, touser, oldest).await?;
    let alone = others.iter().all(|other| other.id == message_id)
        && !has_rival(unit, account, touser, message_id, oldest).await?;
    Ok(alone.then_some(kept))
}

/// The receipt, and its repeats, wait no longer.
pub(super) async fn use_up(unit: &Unit<'_>, account: &str, kept: &Kept, message_id: MessageId) -> Result<(), Error> {
    let update = "UPDATE receipts SET message_id = $4
         WHERE account = $1 AND msgid = $2 AND openid = $3 AND message_id IS NULL AND status <> 'other'";
    unit.execute(update, &[&account, &kept.msgid, &kept.openid, &message_id]).await?;
    Ok(())
}

/// Settles the message by a receipt.
pub(super) async fn deliver(
    unit: &Unit<'_>,
    message: &mut Standing,
    msgid: &str,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), Error> {
    let update = "UPDATE messages SET msgid = $2 WHERE id = $1 AND msgid IS DISTINCT FROM $2";
    unit.execute(update, &[&message.id, &msgid]).await?;
    message.change(unit, verdict.state, verdict.reason.as_deref(), now).await?;
    let told = Told::of(verdict.state, verdict.reason.as_deref(), &[]);
    suppressions::heed(unit, &message.account, &message.touser, told, now).await
}

/// A receipt that came now.
pub(super) async fn take(unit: &Unit<'_>, callback: &NewCallback, receipt: &Receipt) -> Result<ReceiptEffect, Error> {
    let Some(verdict) = Verdict::of(&receipt.status) else {
        keep(unit, callback, receipt, None).await?;
        return Ok(ReceiptEffect::NotFinal);
    };
    let found = match by_msgid(unit, &callback.account, receipt).await? {
        None if receipt.is_template => alone_in_doubt(unit, callback, receipt).await?,
        found => found,
    };
    let Some(mut message) = found else {
        keep(unit, callback, receipt, None).await?;
        return Ok(ReceiptEffect::Unmatched);
    };
    if !is_open(message.state) {
        keep(unit, callback, receipt, Some(message.id)).await?;
        return Ok(ReceiptEffect::AlreadyFinal { message_id: message.id });
    }
    deliver(unit, &mut message, &receipt.msgid, &verdict, callback.received_at).await?;
    reach(Point::ReceiptWritten);
    let Verdict { state, reason } = verdict;
    Ok(ReceiptEffect::Settled { message_id: message.id, state, reason, msgid: receipt.msgid.clone() })
}

/// The message of the receipt's user with this `msgid`: open rather than final, old rather than new.
async fn by_msgid(unit: &Unit<'_>, account: &str, receipt: &Receipt) -> Result<Option<Standing>, Error> {
    let select = format!(
        "SELECT {} FROM messages WHERE account = $1 AND msgid = $2 AND touser = $3 ORDER BY id FOR UPDATE",
        standing::COLUMNS
    );
    let rows = unit.rows(&select, &[&account, &receipt.msgid, &receipt.openid]).await?;
    let (found, _) = standing::sort_out(&rows)?;
    Ok(found.into_iter().min_by_key(|message| !is_open(message.state)))
}

async fn alone_in_doubt(unit: &Unit<'_>, callback: &NewCallback, receipt: &Receipt) -> Result<Option<Standing>, Error> {
    let (openid, oldest) = (receipt.openid.as_str(), callback.received_at.minus(RECEIPT_DUE));
    let mut doubtful = in_doubt(unit, &callback.account, openid, oldest).await?;
    let (Some(message), true) = (doubtful.pop(), doubtful.is_empty()) else { return Ok(None) };
    let rival = has_rival(unit, &callback.account, openid, message.id, oldest).await?;
    Ok((!rival).then_some(message))
}

/// At most two: more would not be told apart either. One that another node is just lending is waited for, and is then no
/// longer among them.
async fn in_doubt(unit: &Unit<'_>, account: &str, touser: &str, since: Timestamp) -> Result<Vec<Standing>, Error> {
    let select = format!(
        "SELECT {} FROM messages WHERE account = $1 AND touser = $2 AND {IN_DOUBT} AND doubtful_since >= $3
         LIMIT 2 FOR UPDATE",
        standing::COLUMNS
    );
    let rows = unit.rows(&select, &[&account, &touser, &since]).await?;
    let (found, _) = standing::sort_out(&rows)?;
    Ok(found)
}

/// May another message of this user be meant, although it is in no doubt? One is on its way; or WeChat or an operator has
/// denied one, and it was shown all the same.
async fn has_rival(
    unit: &Unit<'_>,
    account: &str,
    touser: &str,
    but: MessageId,
    since: Timestamp,
) -> Result<bool, Error> {
    // The index holds only what is being sent at this moment.
    let sending =
        "SELECT 1 FROM messages WHERE state = 'sending' AND account = $1 AND touser = $2 AND id <> $3 LIMIT 1";
    if unit.row(sending, &[&account, &touser, &but]).await?.is_some() {
        return Ok(true);
    }
    let denied = format!(
        "SELECT 1 FROM messages
         WHERE account = $1 AND touser = $2 AND {DENIED} AND id <> $3 AND state NOT IN ('delivered', 'undelivered')
            AND (busy_since >= $4 OR (state = 'failed' AND doubtful_since >= $4)) LIMIT 1"
    );
    Ok(unit.row(&denied, &[&account, &touser, &but, &since]).await?.is_some())
}

async fn keep(
    unit: &Unit<'_>,
    callback: &NewCallback,
    receipt: &Receipt,
    message_id: Option<MessageId>,
) -> Result<(), Error> {
    let insert = "INSERT INTO receipts (account, msgid, openid, status, reason, received_at, callback_id, message_id,
            is_template)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    unit.execute(
        insert,
        &[
            &callback.account,
            &receipt.msgid,
            &receipt.openid,
            &receipt.status.as_str(),
            &receipt_reason(&receipt.status),
            &callback.received_at,
            &callback.id,
            &message_id,
            &receipt.is_template,
        ],
    )
    .await?;
    Ok(())
}

fn read_kept(row: &Row) -> Result<Kept, Error> {
    let fields = Fields::new(row, "receipts", "id");
    let state = fields.parsed("status", |text| {
        State::parse(text).filter(|state| matches!(state, State::Delivered | State::Undelivered))
    })?;
    let verdict = Verdict { state, reason: fields.get("reason")? };
    Ok(Kept { msgid: fields.get("msgid")?, openid: fields.get("openid")?, verdict })
}
