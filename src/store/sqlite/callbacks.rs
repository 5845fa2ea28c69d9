//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;
use rusqlite::params;

use super::writer::Unit;
use super::{Sqlite, forget, receipts, suppressions, users};
use crate::domain::callback::{NewCallback, Recorded};
use crate::domain::clock::Timestamp;
use crate::failpoint::{Point, reach};
use crate::store::rules::Told;
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Sqlite {
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error> {
        self.writer.run(move |unit| record(unit, &callback)).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget::inbox(unit, before, limit)).await
    }
}

fn record(unit: &mut Unit<'_>, callback: &NewCallback) -> Result<Recorded, Error> {
    if !is_first(unit, callback)? {
        return Ok(Recorded::Seen { reply: first_reply(unit, callback)? });
    }
    unit.called_back(callback);
    if let Some(seen) = &callback.user {
        users::see(unit, callback, seen)?;
        if seen.subscribed == Some(true) {
            suppressions::heed(
                unit,
                &callback.account,
                seen.openid.as_str(),
                Some(Told::IsReached),
                callback.received_at,
            )?;
        }
        reach(Point::CallbackWritten);
    }
    let effects: Result<Vec<_>, Error> =
        callback.receipts.iter().map(|receipt| receipts::take(unit, callback, receipt)).collect();
    Ok(Recorded::First { receipts: effects? })
}

/// Keeps it, unless it is there already.
fn is_first(unit: &Unit<'_>, callback: &NewCallback) -> Result<bool, Error> {
    let mut insert = unit.tx.prepare_cached(
        "INSERT INTO callbacks (id, account, dedupe_key, kind, openid, body, reply, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (account, dedupe_key) DO NOTHING",
    )?;
    let inserted = insert.execute(params![
        callback.id,
        callback.account,
        callback.dedupe_key,
        callback.kind,
        callback.openid,
        callback.body,
        callback.reply,
        callback.received_at,
    ])?;
    Ok(inserted == 1)
}

fn first_reply(unit: &Unit<'_>, callback: &NewCallback) -> Result<Option<String>, Error> {
    let mut select = unit.tx.prepare_cached("SELECT reply FROM callbacks WHERE account = ?1 AND dedupe_key = ?2")?;
    Ok(select.query_row([&callback.account, &callback.dedupe_key], |row| row.get(0))?)
}
