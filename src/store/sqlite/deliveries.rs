//! `Deliveries`: rows of `deliveries`. Claims stand in `claims`, results in `tries`, what is told again in `replays`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::readers::PATIENCE;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, claims, replays, tries};
use crate::domain::clock::Timestamp;
use crate::domain::event::Position;
use crate::domain::ids::{DeliveryId, EventId};
use crate::domain::page::{Page, PageRequest};
use crate::domain::webhook::{Backlog, Delivery, DeliveryFilter, DeliveryStatus, Due, Interest, Replayed};
use crate::failpoint::{Point, reach};
use crate::store::bounds::limit as count;
use crate::store::deliveries::STRETCH;
use crate::store::{Claim, Claimed, Deliveries, Error, Replay, Settling};

const SELECT: &str = "SELECT id, webhook, event_id, event_type, message_id, status, attempts, next_at, status_code, error, \
     duration_ms, created_at, updated_at, first_tried_at FROM deliveries";

#[async_trait]
impl Deliveries for Sqlite {
    async fn claim(&self, claim: Claim) -> Result<Claimed, Error> {
        self.claim_events(claim).await
    }

    async fn due(
        &self,
        webhook: &str,
        limit: usize,
        except: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<Due>, Error> {
        self.read_due(webhook, limit, except, now).await
    }

    async fn next_due(&self, webhook: &str, except: Vec<DeliveryId>) -> Result<Option<Timestamp>, Error> {
        let webhook = webhook.to_owned();
        self.readers.read(move |conn| claims::next_due(conn, &webhook, &except)).await
    }

    async fn settle(&self, settling: Settling) -> Result<(), Error> {
        self.writer.run(move |unit| tries::settle(unit, &settling)).await?;
        reach(Point::DeliverySettleKept);
        Ok(())
    }

    async fn backlog(&self, webhook: &str, interest: Interest, from: Option<Position>) -> Result<Backlog, Error> {
        let webhook = webhook.to_owned();
        self.readers.read_within(PATIENCE, move |conn| backlog(conn, &webhook, &interest, from)).await
    }

    async fn look_up(&self, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        let look_up = move |conn: &Connection| {
            let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            select.query_row([id], |row| Ok(read(row))).optional()?.transpose()
        };
        self.readers.read(look_up).await
    }

    async fn list(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<Delivery>, Error> {
        self.readers.read_within(PATIENCE, move |conn| list(conn, &filter, &page)).await
    }

    async fn replay(&self, replay: Replay, limit: usize) -> Result<Replayed, Error> {
        replays::replay(self, replay, limit).await
    }

    async fn forget(
        &self,
        before: Timestamp,
        known: Vec<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.writer.run(move |unit| forget(unit, before, &known, limit, now)).await
    }
}

fn backlog(conn: &Connection, webhook: &str, interest: &Interest, from: Option<Position>) -> Result<Backlog, Error> {
    let counted = |status: DeliveryStatus| -> Result<u64, Error> {
        let select = format!("SELECT count(*) FROM deliveries WHERE webhook = ?1 AND status = '{}'", status.as_str());
        let found: i64 = conn.prepare_cached(&select)?.query_row([webhook], |row| row.get(0))?;
        Ok(u64::try_from(found).unwrap_or(0))
    };
    let oldest = "SELECT events.at FROM deliveries JOIN events ON events.id = event_id
         WHERE webhook = ?1 AND status = 'pending' ORDER BY deliveries.seq LIMIT 1";
    let pending_at: Option<Timestamp> =
        conn.prepare_cached(oldest)?.query_row([webhook], |row| row.get(0)).optional()?;
    let from = match from {
        Some(from) => Some(from.seq),
        None => conn
            .prepare_cached("SELECT seq FROM webhook_lanes WHERE webhook = ?1")?
            .query_row([webhook], |row| row.get(0))
            .optional()?,
    };
    let behind_at = from.map(|from| first_behind(conn, interest, from)).transpose()?.flatten();
    Ok(Backlog {
        pending: counted(DeliveryStatus::Pending)?,
        dead: counted(DeliveryStatus::Dead)?,
        oldest_at: pending_at.into_iter().chain(behind_at).min(),
    })
}

/// When the first event happened that fits, of a stretch of them.
fn first_behind(conn: &Connection, interest: &Interest, from: i64) -> Result<Option<Timestamp>, Error> {
    let mut select =
        conn.prepare_cached("SELECT id, type, account, at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = select.query(params![from, count(STRETCH)])?;
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "events", "id");
        if claims::fits(interest, &fields).unwrap_or(false) {
            return Ok(Some(fields.get("at")?));
        }
    }
    Ok(None)
}

fn list(conn: &Connection, filter: &DeliveryFilter, page: &PageRequest) -> Result<Page<Delivery>, Error> {
    let (mut sql, mut values) = (format!("{SELECT} WHERE 1 = 1"), Vec::new());
    let mut and = |condition: &str, value: Option<String>| {
        if let Some(value) = value {
            sql += &format!(" AND {condition}");
            values.push(Value::Text(value));
        }
    };
    and("webhook = ?", filter.webhook.clone());
    and("event_id = ?", filter.event_id.map(|id| id.to_string()));
    and("message_id = ?", filter.message_id.map(|id| id.to_string()));
    // As a literal: only so do the indexes of some states apply.
    let status = filter.status.map(|status| format!(" AND status = '{}'", status.as_str())).unwrap_or_default();
    let after = "seq <= ifnull((SELECT seq FROM deliveries WHERE id < ? ORDER BY id DESC LIMIT 1), 0)";
    and(after, page.after.clone());
    sql += &format!("{status} ORDER BY seq DESC LIMIT ?");
    values.push(Value::Integer(i64::from(page.limit.max(1)) + 1));
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(delivery) => found.push(delivery),
            Err(error) => tracing::error!(%error, "a delivery cannot be read and is left out of a list"),
        }
    }
    Ok(Page::cut(found, page.limit, |delivery| delivery.id.to_string()))
}

fn read(row: &Row<'_>) -> Result<Delivery, Error> {
    let fields = Fields::new(row, "deliveries", "id");
    let duration: Option<i64> = fields.get("duration_ms")?;
    Ok(Delivery {
        id: fields.parsed("id", DeliveryId::parse)?,
        webhook: fields.get("webhook")?,
        event_id: fields.parsed("event_id", EventId::parse)?,
        event_type: fields.get("event_type")?,
        message_id: fields.get("message_id")?,
        status: fields.parsed("status", DeliveryStatus::parse)?,
        attempts: fields.get("attempts")?,
        next_at: fields.get("next_at")?,
        status_code: fields.get("status_code")?,
        error: fields.get("error")?,
        duration: duration.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        created_at: fields.get("created_at")?,
        updated_at: fields.get("updated_at")?,
        first_tried_at: fields.get("first_tried_at")?,
    })
}

fn forget(unit: &Unit<'_>, before: Timestamp, known: &[String], limit: usize, now: Timestamp) -> Result<usize, Error> {
    let sql = format!(
        "UPDATE deliveries SET status = 'canceled', next_at = NULL, updated_at = ? WHERE seq IN (
            SELECT seq FROM deliveries WHERE status = 'pending' AND created_at < ?
                AND (webhook NOT IN ({}) OR webhook IN
                    (SELECT webhook FROM webhook_lanes WHERE disabled_reason IS NOT NULL))
            LIMIT ?)",
        vec!["?"; known.len()].join(", ")
    );
    let mut values = vec![Value::Integer(now.as_millis()), Value::Integer(before.as_millis())];
    values.extend(known.iter().cloned().map(Value::Text));
    values.push(Value::Integer(count(limit)));
    if unit.tx.prepare_cached(&sql)?.execute(params_from_iter(values))? > 0 {
        release_all(unit, now)?;
    }
    // Of the first, those that are old and over. The inner limit keeps it from reading on.
    let mut delete = unit.tx.prepare_cached(
        "DELETE FROM deliveries WHERE seq IN (
            SELECT seq FROM (SELECT seq, created_at, status FROM deliveries ORDER BY seq
                LIMIT ?2 + (SELECT count(*) FROM deliveries WHERE status = 'pending'))
            WHERE created_at < ?1 AND status <> 'pending' LIMIT ?2)",
    )?;
    Ok(delete.execute(params![before, count(limit)])?)
}

/// Those that waited for one that was canceled.
fn release_all(unit: &Unit<'_>, now: Timestamp) -> Result<(), Error> {
    let update = "UPDATE deliveries SET next_at = ?1 WHERE status = 'pending' AND next_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM deliveries AS earlier WHERE earlier.webhook = deliveries.webhook
                AND earlier.message_id = deliveries.message_id AND earlier.message_id IS NOT NULL
                AND earlier.status = 'pending' AND earlier.seq < deliveries.seq)";
    unit.tx.prepare_cached(update)?.execute([now])?;
    Ok(())
}
