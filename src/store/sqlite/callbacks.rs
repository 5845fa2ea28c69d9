//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::writer::Unit;
use super::{Sqlite, receipts, users};
use crate::domain::callback::{NewCallback, Recorded};
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Sqlite {
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error> {
        self.writer.run(move |unit| record(unit, &callback)).await
    }
}

fn record(unit: &mut Unit<'_>, callback: &NewCallback) -> Result<Recorded, Error> {
    if !is_first(unit, callback)? {
        return Ok(Recorded::Seen { reply: first_reply(unit, callback)? });
    }
    unit.tx
        .prepare_cached(
            "INSERT INTO callbacks (id, account, kind, openid, body, reply, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            callback.id,
            callback.account,
            callback.kind,
            callback.openid,
            callback.body,
            callback.reply,
            callback.received_at,
        ])?;
    if let Some(seen) = &callback.user {
        users::see(unit, &callback.account, seen, callback.received_at)?;
    }
    let effects: Result<Vec<_>, Error> =
        callback.receipts.iter().map(|receipt| receipts::take(unit, callback, receipt)).collect();
    Ok(Recorded::First { receipts: effects? })
}

fn is_first(unit: &Unit<'_>, callback: &NewCallback) -> Result<bool, Error> {
    let mut insert = unit.tx.prepare_cached(
        "INSERT INTO callback_keys (account, dedupe_key, callback_id) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    Ok(insert.execute(params![callback.account, callback.dedupe_key, callback.id])? == 1)
}

/// `None` also when the first one is no longer kept.
fn first_reply(unit: &Unit<'_>, callback: &NewCallback) -> Result<Option<String>, Error> {
    let mut select = unit.tx.prepare_cached(
        "SELECT reply FROM callbacks
         WHERE id = (SELECT callback_id FROM callback_keys WHERE account = ?1 AND dedupe_key = ?2)",
    )?;
    let reply = select.query_row(params![callback.account, callback.dedupe_key], |row| row.get(0)).optional()?;
    Ok(reply.flatten())
}
