//! `Deliveries`: rows of `deliveries`. Claims stand in `claims`, results in `tries`, what is told again in `replays`.

use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::command::{Command, Unit};
use super::row::Fields;
use super::sql::Sql;
use super::tries::Settle;
use super::{Postgres, claims};
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
impl Deliveries for Postgres {
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
        self.read_next_due(webhook, except).await
    }

    async fn settle(&self, settling: Settling) -> Result<(), Error> {
        self.writer.run(Settle(settling)).await?;
        reach(Point::DeliverySettleKept);
        Ok(())
    }

    async fn backlog(&self, webhook: &str, interest: Interest, from: Option<Position>) -> Result<Backlog, Error> {
        let reader = self.readers.slow().await?;
        let select = "SELECT
                (SELECT count(*) FROM deliveries WHERE webhook = $1 AND status = 'pending') AS pending,
                (SELECT count(*) FROM deliveries WHERE webhook = $1 AND status = 'dead') AS dead,
                (SELECT events.at FROM deliveries JOIN events ON events.id = event_id
                    WHERE webhook = $1 AND status = 'pending' ORDER BY deliveries.seq LIMIT 1) AS pending_at,
                (SELECT horizon FROM webhook_lanes WHERE webhook = $1) AS horizon,
                (SELECT seq FROM webhook_lanes WHERE webhook = $1) AS seq";
        let Some(row) = reader.row(select, &[&webhook]).await? else { return Ok(Backlog::default()) };
        let fields = Fields::new(&row, "deliveries", "pending");
        let kept: Option<i64> = fields.get("horizon")?;
        let kept = kept.zip(fields.get("seq")?).map(|(horizon, seq)| Position { horizon, seq });
        let counted = |column| Ok::<_, Error>(u64::try_from(fields.get::<i64>(column)?).unwrap_or(0));
        let pending_at: Option<Timestamp> = fields.get("pending_at")?;
        let behind_at = match from.or(kept) {
            Some(from) => first_behind(&reader, &interest, from).await?,
            None => None,
        };
        Ok(Backlog {
            pending: counted("pending")?,
            dead: counted("dead")?,
            oldest_at: pending_at.into_iter().chain(behind_at).min(),
        })
    }

    async fn look_up(&self, id: DeliveryId) -> Result<Option<Delivery>, Error> {
        let row = self.readers.quick().await?.row(&format!("{SELECT} WHERE id = $1"), &[&id]).await?;
        row.as_ref().map(read).transpose()
    }

    async fn list(&self, filter: DeliveryFilter, page: PageRequest) -> Result<Page<Delivery>, Error> {
        let (mut sql, mut texts) = (format!("{SELECT} WHERE true"), Vec::new());
        let mut and = |condition: &str, value: Option<String>| {
            if let Some(value) = value {
                texts.push(value);
                sql += &format!(" AND {}", condition.replacen('?', &format!("${}", texts.len()), 1));
            }
        };
        and("webhook = ?", filter.webhook.clone());
        and("event_id = ?", filter.event_id.map(|id| id.to_string()));
        and("message_id = ?", filter.message_id.map(|id| id.to_string()));
        and(
            "seq <= coalesce((SELECT seq FROM deliveries WHERE id < ? ORDER BY id DESC LIMIT 1), 0)",
            page.after.clone(),
        );
        // As a literal: only so do the indexes of some states apply.
        let status = filter.status.map(|status| format!(" AND status = '{}'", status.as_str())).unwrap_or_default();
        let limit = i64::from(page.limit.max(1)) + 1;
        sql += &format!("{status} ORDER BY seq DESC LIMIT ${}", texts.len() + 1);
        let mut values: Vec<&(dyn ToSql + Sync)> = texts.iter().map(|text| -> &(dyn ToSql + Sync) { text }).collect();
        values.push(&limit);
        let mut found = Vec::new();
        for row in &self.readers.slow().await?.rows(&sql, &values).await? {
            match read(row) {
                Ok(delivery) => found.push(delivery),
                Err(error) => tracing::error!(%error, "a delivery cannot be read and is left out of a list"),
            }
        }
        Ok(Page::cut(found, page.limit, |delivery| delivery.id.to_string()))
    }

    async fn replay(&self, replay: Replay, limit: usize) -> Result<Replayed, Error> {
        self.replay_events(replay, limit).await
    }

    async fn forget(
        &self,
        before: Timestamp,
        known: Vec<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<usize, Error> {
        self.writer.run(Forget { before, known, limit, now }).await
    }
}

/// When the first event happened that fits, of a stretch of them.
async fn first_behind(sql: &impl Sql, interest: &Interest, from: Position) -> Result<Option<Timestamp>, Error> {
    let select =
        "SELECT id, type, account, at FROM events WHERE (horizon, seq) > ($1, $2) ORDER BY horizon, seq LIMIT $3";
    for row in &sql.rows(select, &[&from.horizon, &from.seq, &count(STRETCH)]).await? {
        let fields = Fields::new(row, "events", "id");
        if claims::fits(interest, &fields).unwrap_or(false) {
            return Ok(Some(fields.get("at")?));
        }
    }
    Ok(None)
}

fn read(row: &Row) -> Result<Delivery, Error> {
    let fields = Fields::new(row, "deliveries", "id");
    let duration: Option<i64> = fields.get("duration_ms")?;
    let code: Option<i64> = fields.get("status_code")?;
    Ok(Delivery {
        id: fields.parsed("id", DeliveryId::parse)?,
        webhook: fields.get("webhook")?,
        event_id: fields.parsed("event_id", EventId::parse)?,
        event_type: fields.get("event_type")?,
        message_id: fields.get("message_id")?,
        status: fields.parsed("status", DeliveryStatus::parse)?,
        attempts: fields.count("attempts")?,
        next_at: fields.get("next_at")?,
        status_code: code.and_then(|code| u16::try_from(code).ok()),
        error: fields.get("error")?,
        duration: duration.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
        created_at: fields.get("created_at")?,
        updated_at: fields.get("updated_at")?,
        first_tried_at: fields.get("first_tried_at")?,
    })
}

struct Forget {
    before: Timestamp,
    known: Vec<String>,
    limit: usize,
    now: Timestamp,
}

#[async_trait]
impl Command for Forget {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let cancel = "UPDATE deliveries SET status = 'canceled', next_at = NULL, updated_at = $1 WHERE seq IN (
                SELECT seq FROM deliveries WHERE status = 'pending' AND created_at < $2
                    AND (webhook <> ALL ($3::text[]) OR webhook IN
                        (SELECT webhook FROM webhook_lanes WHERE disabled_reason IS NOT NULL))
                LIMIT $4 FOR UPDATE SKIP LOCKED)";
        let limit = count(self.limit);
        if unit.execute(cancel, &[&self.now, &self.before, &self.known, &limit]).await? > 0 {
            // Those that waited for one that was canceled.
            let release = "UPDATE deliveries SET next_at = $1
                 WHERE status = 'pending' AND next_at IS NULL AND NOT EXISTS (
                    SELECT 1 FROM deliveries AS earlier WHERE earlier.webhook = deliveries.webhook
                        AND earlier.message_id = deliveries.message_id AND earlier.status = 'pending'
                        AND earlier.seq < deliveries.seq)";
            unit.execute(release, &[&self.now]).await?;
        }
        // Of the first, those that are old and over. The inner limit keeps it from reading on.
        let delete = "DELETE FROM deliveries WHERE seq IN (
                SELECT seq FROM deliveries WHERE created_at < $1 AND status <> 'pending' AND seq IN (
                    SELECT seq FROM deliveries ORDER BY seq
                    LIMIT $2 + (SELECT count(*) FROM deliveries WHERE status = 'pending'))
                LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let gone = unit.execute(delete, &[&self.before, &limit]).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}
