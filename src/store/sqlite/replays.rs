//! Events told once more.

use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use super::claims::insert;
use super::readers::PATIENCE;
use super::row::Fields;
use super::{audit, events};
use crate::domain::event::{EventFilter, Position};
use crate::domain::ids::EventId;
use crate::domain::webhook::{DeliveryStatus, Replayed};
use crate::store::bounds::limit as count;
use crate::store::deliveries::{self, Meant, NewDelivery};
use crate::store::{Error, Replay, ReplayOf};

pub(super) async fn replay(store: &Sqlite, replay: Replay, limit: usize) -> Result<Replayed, Error> {
    let wanted = replay.clone();
    let meant = match replay.what.clone() {
        ReplayOf::Events(ids) => store.readers.read(move |conn| by_id(conn, &wanted, &ids, limit)).await?,
        ReplayOf::Filter { filter, last: None } => {
            store.readers.read_within(PATIENCE, move |conn| by_filter(conn, &wanted, &filter, limit)).await?
        }
        ReplayOf::Filter { filter, last: Some(last) } => {
            store.readers.read_within(PATIENCE, move |conn| by_last(conn, &wanted, &filter, last, limit)).await?
        }
    };
    if replay.is_dry_run {
        return store.readers.read(move |conn| make(conn, &replay, &meant)).await;
    }
    let keep = move |unit: &mut super::writer::Unit<'_>| {
        let replayed = make(unit.tx, &replay, &meant)?;
        audit::write(unit, &deliveries::told(&replay.act, &replayed))?;
        Ok(replayed)
    };
    store.writer.run(keep).await
}

fn by_id(conn: &Connection, replay: &Replay, ids: &[EventId], limit: usize) -> Result<Meant, Error> {
    let mut select = conn.prepare_cached(
        "SELECT seq, id, type, account, message_id, batch_id, client, at, data FROM events WHERE id = ?1",
    )?;
    let mut meant = Meant::default();
    for id in ids.iter().take(limit) {
        let mut rows = select.query([id])?;
        let event = match rows.next()? {
            Some(row) => {
                let fields = Fields::new(row, "events", "id");
                let position = Position { horizon: 0, seq: fields.get("seq")? };
                events::event(&fields, position).ok()
            }
            None => None,
        };
        meant.named(&replay.interest, *id, event);
    }
    meant.sort();
    Ok(meant)
}

fn by_filter(conn: &Connection, replay: &Replay, filter: &EventFilter, limit: usize) -> Result<Meant, Error> {
    let filter = replay.filter(filter);
    let stretch = events::read(conn, &filter, replay.after, limit)?;
    let next = stretch.next.filter(|_| stretch.is_full);
    Ok(Meant::fitting(&replay.interest, stretch.events, next))
}

/// Those whose last delivery stands so: found by the deliveries, in their order.
fn by_last(
    conn: &Connection,
    replay: &Replay,
    filter: &EventFilter,
    last: DeliveryStatus,
    limit: usize,
) -> Result<Meant, Error> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT d.seq AS place, e.seq, e.id, e.type, e.account, e.message_id, e.batch_id, e.client, e.at, e.data
         FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
         WHERE d.webhook = ?1 AND d.status = '{}' AND d.seq > ?2 AND NOT EXISTS (
            SELECT 1 FROM deliveries AS later
            WHERE later.event_id = d.event_id AND later.webhook = ?1 AND later.seq > d.seq)
         ORDER BY d.seq LIMIT ?3",
        last.as_str()
    ))?;
    let filter = replay.filter(filter);
    let mut rows = select.query(params![replay.webhook, replay.after.seq, count(limit)])?;
    let (mut found, mut place, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        let fields = Fields::new(row, "events", "id");
        place = Some(Position { horizon: 0, seq: fields.get("place")? });
        let position = Position { horizon: 0, seq: fields.get("seq")? };
        match events::event(&fields, position) {
            Ok(event) if filter.fits(&event) => found.push(event),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "an event cannot be read and is left out"),
        }
    }
    Ok(Meant::fitting(&replay.interest, found, place.filter(|_| seen == limit)))
}

/// Only counts in a dry run.
fn make(conn: &Connection, replay: &Replay, meant: &Meant) -> Result<Replayed, Error> {
    let mut replayed = meant.counted();
    let mut pending = conn.prepare_cached(
        "SELECT 1 FROM deliveries WHERE event_id = ?1 AND webhook = ?2 AND status = 'pending' LIMIT 1",
    )?;
    for new in NewDelivery::of(&meant.events, replay.now) {
        if pending.query_row(params![new.event_id, replay.webhook], |_| Ok(())).optional()?.is_some() {
            replayed.pending += 1;
            continue;
        }
        replayed.added += 1;
        if !replay.is_dry_run {
            insert(conn, &replay.webhook, &new, replay.now)?;
        }
    }
    Ok(replayed)
}
