//! What tries came to.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::webhooks;
use crate::domain::clock::Timestamp;
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::DisabledReason;
use crate::failpoint::{Point, reach};
use crate::store::deliveries::EVENT_GONE;
use crate::store::{Error, Settling};

/// `$1` the webhook, `$2` now; then one entry a try.
const KEEP: &str = "
    UPDATE deliveries SET status = t.status, attempts = t.attempt, next_at = t.next_at, status_code = t.code,
        error = t.error, duration_ms = t.duration, updated_at = $2, first_tried_at = coalesce(first_tried_at, t.at)
    FROM unnest($3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[])
        AS t (id, attempt, status, next_at, code, error, duration, at)
    WHERE deliveries.id = t.id AND webhook = $1 AND deliveries.status = 'pending' AND attempts = t.attempt - 1
    RETURNING deliveries.id, CASE WHEN deliveries.status <> 'pending' THEN message_id END AS message_id";

/// The next of each of these messages is due now.
const RELEASE: &str = "
    UPDATE deliveries SET next_at = $2 WHERE next_at IS NULL AND seq IN (
        SELECT min(seq) FROM deliveries WHERE webhook = $1 AND message_id = ANY ($3::text[]) AND status = 'pending'
        GROUP BY message_id)";

pub(super) struct Settle(pub(super) Settling);

#[async_trait]
impl Command for Settle {
    type Answer = ();

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.0.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let Settling { webhook, tried, gone, now } = &self.0;
        let ids: Vec<_> = tried.iter().map(|tried| tried.id).collect();
        let attempts: Vec<_> = tried.iter().map(|tried| i64::from(tried.attempt)).collect();
        let statuses: Vec<_> = tried.iter().map(|tried| tried.outcome.status().as_str()).collect();
        let next: Vec<_> = tried.iter().map(|tried| tried.outcome.next_at()).collect();
        let codes: Vec<_> = tried.iter().map(|tried| tried.status_code.map(i64::from)).collect();
        let errors: Vec<_> = tried.iter().map(|tried| tried.error.as_deref()).collect();
        let durations: Vec<_> =
            tried.iter().map(|tried| i64::try_from(tried.duration.as_millis()).unwrap_or(i64::MAX)).collect();
        let dates: Vec<_> = tried.iter().map(|tried| tried.at).collect();
        let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[webhook, now, &ids, &attempts, &statuses, &next, &codes, &errors, &durations, &dates];
        let rows = unit.rows(KEEP, values).await?;
        let mut ended: Vec<String> = Vec::new();
        for row in &rows {
            ended.extend(Fields::new(row, "deliveries", "id").get::<Option<String>>("message_id")?);
        }
        release(unit, webhook, &ended, *now).await?;
        if let Some(event) = gone
            && webhooks::disable(unit, webhook, DisabledReason::Gone, *now).await?
        {
            unit.raise(event.clone());
        }
        reach(Point::DeliverySettleWritten);
        Ok(())
    }
}

async fn release(unit: &Unit<'_>, webhook: &str, messages: &[String], now: Timestamp) -> Result<(), Error> {
    if !messages.is_empty() {
        unit.execute(RELEASE, &[&webhook, &now, &messages]).await?;
    }
    Ok(())
}

/// Their events are not there: nothing can be sent.
pub(super) struct Orphaned {
    pub(super) webhook: String,
    pub(super) ids: Vec<DeliveryId>,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Command for Orphaned {
    type Answer = ();

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let update = "UPDATE deliveries SET status = 'dead', next_at = NULL, error = $3, updated_at = $2
             WHERE id = ANY ($1::text[]) AND status = 'pending' RETURNING id, message_id";
        let mut ended: Vec<String> = Vec::new();
        for row in &unit.rows(update, &[&self.ids, &self.now, &EVENT_GONE]).await? {
            ended.extend(Fields::new(row, "deliveries", "id").get::<Option<String>>("message_id")?);
        }
        release(unit, &self.webhook, &ended, self.now).await
    }
}
