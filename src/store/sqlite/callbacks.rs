//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::writer::Unit;
use super::{Sqlite, forget, receipts, suppressions, users};
use crate::domain::callback::{NewCallback, Recorded, RelayStanding, RelayStep};
use crate::domain::clock::Timestamp;
use crate::domain::relay::RelayState;
use crate::failpoint::{Point, reach};
use crate::store::rules::Told;
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Sqlite {
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error> {
        self.writer.run(move |unit| record(unit, &callback)).await
    }

    async fn step_relay(&self, step: RelayStep) -> Result<Option<RelayStanding>, Error> {
        self.writer.run(move |unit| step_relay(unit, &step)).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget::inbox(unit, before, limit)).await
    }
}

fn record(unit: &mut Unit<'_>, callback: &NewCallback) -> Result<Recorded, Error> {
    if !is_first(unit, callback)? {
        let (relay, reply) = standing(unit, &callback.account, &callback.dedupe_key)?.unwrap_or_default();
        return Ok(Recorded::Seen { reply, relay });
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
        "INSERT INTO callbacks (id, account, dedupe_key, kind, openid, body, reply, received_at, relay)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (account, dedupe_key) DO NOTHING",
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
        callback.is_relayed.then_some(RelayState::Pending.as_str()),
    ])?;
    Ok(inserted == 1)
}

fn step_relay(unit: &mut Unit<'_>, step: &RelayStep) -> Result<Option<RelayStanding>, Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE callbacks SET relay = ?4, reply = ?5 WHERE account = ?1 AND dedupe_key = ?2 AND relay = ?3",
    )?;
    let (from, to) = (step.from.as_str(), step.to.as_str());
    let moved = update.execute(params![step.account, step.dedupe_key, from, to, step.reply])? == 1;
    drop(update);
    if moved {
        step.event.iter().cloned().for_each(|event| unit.raise(event));
        return Ok(Some(RelayStanding { moved, state: Some(step.to), reply: step.reply.clone() }));
    }
    let standing = standing(unit, &step.account, &step.dedupe_key)?;
    Ok(standing.map(|(state, reply)| RelayStanding { moved, state, reply }))
}

type Standing = (Option<RelayState>, Option<String>);

fn standing(unit: &Unit<'_>, account: &str, dedupe_key: &str) -> Result<Option<Standing>, Error> {
    let mut select =
        unit.tx.prepare_cached("SELECT relay, reply FROM callbacks WHERE account = ?1 AND dedupe_key = ?2")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?));
    let found = select.query_row([account, dedupe_key], read).optional()?;
    Ok(found.map(|(relay, reply)| (relay.as_deref().and_then(RelayState::parse), reply)))
}
