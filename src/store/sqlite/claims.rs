//! Deliveries made of events, and those whose try is due.

use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::Sqlite;
use super::events;
use super::row::Fields;
use super::tries;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, Position};
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::{Due, Interest};
use crate::failpoint::{Point, reach};
use crate::store::bounds::limit as count;
use crate::store::deliveries::{Glimpse, NewDelivery, STRETCH};
use crate::store::{Claim, Claimed, Claims, Cursor, Error};

/// One is due at once unless an earlier one of its message is pending.
pub(super) const INSERT: &str = "INSERT INTO deliveries
        (id, webhook, event_id, event_type, message_id, status, next_at, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, 'pending',
        CASE WHEN ?5 IS NOT NULL AND EXISTS (SELECT 1 FROM deliveries WHERE webhook = ?2 AND message_id = ?5
            AND message_id IS NOT NULL AND status = 'pending') THEN NULL ELSE ?6 END,
        ?6, ?6)
     RETURNING next_at IS NOT NULL";

impl Sqlite {
    pub(super) async fn claim_events(&self, claim: Claim) -> Result<Claimed, Error> {
        let (interest, from, limit) = (claim.interest.clone(), claim.from.seen, claim.limit);
        let glimpse = self.readers.read(move |conn| glimpse(conn, &interest, from, limit)).await?;
        let mut claims = Claims {
            cursor: Cursor { kept: claim.from.kept, seen: glimpse.at },
            has_more: glimpse.has_more,
            ..Claims::default()
        };
        if glimpse.events.is_empty() && (!claim.keep || glimpse.at == claim.from.kept) {
            return Ok(Claimed::Kept(claims));
        }
        let new = NewDelivery::of(&glimpse.events, claim.now);
        claims.made = new.len();
        let at = glimpse.at;
        let Some(are_due) = self.writer.run(move |unit| keep(unit, &claim, at, &new)).await? else {
            return Ok(Claimed::Lost);
        };
        reach(Point::ClaimKept);
        claims.cursor.kept = at;
        let due = glimpse.events.into_iter().zip(are_due);
        claims.due = due.filter_map(|(event, id)| Some(Due { id: id?, attempts: 0, event })).collect();
        Ok(Claimed::Kept(claims))
    }

    pub(super) async fn read_due(
        &self,
        webhook: &str,
        limit: usize,
        except: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<Due>, Error> {
        let key = webhook.to_owned();
        let (due, orphans) = self.readers.read(move |conn| due(conn, &key, limit, &except, now)).await?;
        if !orphans.is_empty() {
            let webhook = webhook.to_owned();
            self.writer.run(move |unit| tries::orphaned(unit, &webhook, &orphans, now)).await?;
        }
        Ok(due)
    }
}

/// What stands behind `after`, until `limit` fit.
fn glimpse(conn: &Connection, interest: &Interest, after: Position, limit: usize) -> Result<Glimpse, Error> {
    let mut select = conn.prepare_cached(
        "SELECT seq, id, type, account, message_id, batch_id, client, at, data FROM events WHERE seq > ?1
         ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = select.query(params![after.seq, count(STRETCH)])?;
    let mut glimpse = Glimpse::behind(after);
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "events", "id");
        let position = Position { horizon: 0, seq: fields.get("seq")? };
        let fits = fits(interest, &fields).unwrap_or_else(|error| {
            tracing::error!(%error, "an event cannot be read and is left out");
            false
        });
        if glimpse.look_at(position, fits, limit, || events::event(&fields, position)) == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(glimpse)
}

pub(super) fn fits(interest: &Interest, fields: &Fields<'_>) -> Result<bool, Error> {
    let (kind, account): (String, Option<String>) = (fields.get("type")?, fields.get("account")?);
    Ok(interest.fits(&kind, account.as_deref()))
}

/// → of each its id when it is due; `None`: the lane is not ours any more, or the webhook is off.
fn keep(
    unit: &Unit<'_>,
    claim: &Claim,
    at: Position,
    new: &[NewDelivery],
) -> Result<Option<Vec<Option<DeliveryId>>>, Error> {
    let update = "UPDATE webhook_lanes SET seq = ?3 WHERE webhook = ?1 AND seq = ?2 AND disabled_reason IS NULL";
    if unit.tx.prepare_cached(update)?.execute(params![claim.webhook, claim.from.kept.seq, at.seq])? == 0 {
        return Ok(None);
    }
    let mut are_due = Vec::with_capacity(new.len());
    for delivery in new {
        let is_due = insert(unit.tx, &claim.webhook, delivery, claim.now)?;
        are_due.push(is_due.then_some(delivery.id));
    }
    reach(Point::ClaimWritten);
    Ok(Some(are_due))
}

/// → whether it is due at once.
pub(super) fn insert(conn: &Connection, webhook: &str, new: &NewDelivery, now: Timestamp) -> Result<bool, Error> {
    let mut insert = conn.prepare_cached(INSERT)?;
    let values = params![new.id, webhook, new.event_id, new.event_type, new.message_id, now];
    Ok(insert.query_row(values, |row| row.get(0))?)
}

type Orphans = Vec<DeliveryId>;

fn due(
    conn: &Connection,
    webhook: &str,
    limit: usize,
    except: &[DeliveryId],
    now: Timestamp,
) -> Result<(Vec<Due>, Orphans), Error> {
    let mut select = conn.prepare_cached(
        "SELECT d.id AS delivery, d.attempts, e.seq, e.id, e.type, e.account, e.message_id, e.batch_id, e.client, e.at, e.data
         FROM deliveries AS d LEFT JOIN events AS e ON e.id = d.event_id
         WHERE d.webhook = ?1 AND d.next_at <= ?2 ORDER BY d.next_at LIMIT ?3",
    )?;
    let mut rows = select.query(params![webhook, now, count(limit + except.len())])?;
    let (mut all, mut orphans) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "deliveries", "delivery");
        let id = fields.parsed("delivery", DeliveryId::parse)?;
        if except.contains(&id) {
            continue;
        }
        if all.len() == limit {
            break;
        }
        match read_event(&fields) {
            Ok(Some(event)) => all.push(Due { id, attempts: fields.get("attempts")?, event }),
            Ok(None) => orphans.push(id),
            Err(error) => {
                tracing::error!(%error, delivery.id = %id, "an event cannot be read: its delivery is given up");
                orphans.push(id);
            }
        }
    }
    Ok((all, orphans))
}

fn read_event(fields: &Fields<'_>) -> Result<Option<Event>, Error> {
    let Some(seq) = fields.get("seq")? else { return Ok(None) };
    events::event(fields, Position { horizon: 0, seq }).map(Some)
}

pub(super) fn next_due(conn: &Connection, webhook: &str, except: &[DeliveryId]) -> Result<Option<Timestamp>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT id, next_at FROM deliveries WHERE webhook = ?1 AND next_at IS NOT NULL ORDER BY next_at LIMIT ?2",
    )?;
    let mut rows = select.query(params![webhook, count(except.len() + 1)])?;
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "deliveries", "id");
        if !except.contains(&fields.parsed("id", DeliveryId::parse)?) {
            return Ok(Some(fields.get("next_at")?));
        }
    }
    Ok(None)
}
