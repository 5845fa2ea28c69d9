//! Deliveries made of events, and those whose try is due.

use std::collections::HashSet;
use std::ops::ControlFlow;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::Postgres;
use super::command::{Command, Unit};
use super::events::{self, SETTLED};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::tries::Orphaned;
use crate::domain::clock::Timestamp;
use crate::domain::event::Position;
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::{Due, Interest};
use crate::failpoint::{Point, reach};
use crate::store::bounds::limit as count;
use crate::store::deliveries::{Glimpse, NewDelivery, STRETCH};
use crate::store::{Claim, Claimed, Claims, Cursor, Error};

/// One is due at once unless an earlier one of its message is pending, or comes before it here.
const INSERT: &str = "
    INSERT INTO deliveries (id, webhook, event_id, event_type, message_id, status, next_at, created_at, updated_at)
    SELECT id, $1, event_id, event_type, message_id, 'pending',
        CASE WHEN is_behind OR EXISTS (SELECT 1 FROM deliveries AS earlier
            WHERE earlier.webhook = $1 AND earlier.message_id = t.message_id AND earlier.status = 'pending')
        THEN NULL ELSE $7::bigint END, $7, $7
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
        WITH ORDINALITY AS t (id, event_id, event_type, message_id, is_behind, place)
    ORDER BY place
    RETURNING id, next_at IS NOT NULL AS is_due";

impl Postgres {
    pub(super) async fn claim_events(&self, claim: Claim) -> Result<Claimed, Error> {
        let (glimpse, is_waiting) = self.glimpse(&claim).await?;
        let mut claims = Claims {
            cursor: Cursor { kept: claim.from.kept, seen: glimpse.at },
            has_more: glimpse.has_more,
            is_waiting,
            ..Claims::default()
        };
        if glimpse.events.is_empty() && (!claim.keep || glimpse.at == claim.from.kept) {
            return Ok(Claimed::Kept(claims));
        }
        let new = NewDelivery::of(&glimpse.events, claim.now);
        let (at, boot) = (glimpse.at, self.boot.clone());
        let Some(due) = self.writer.run(Keep { claim, at, boot, new }).await? else { return Ok(Claimed::Lost) };
        reach(Point::ClaimKept);
        claims.made = due.len();
        claims.cursor.kept = at;
        let due = glimpse.events.into_iter().zip(due);
        claims.due = due.filter_map(|(event, id)| Some(Due { id: id?, attempts: 0, event })).collect();
        Ok(Claimed::Kept(claims))
    }

    /// What stands behind the cursor, until enough fit. What does not fit is read without its data.
    async fn glimpse(&self, claim: &Claim) -> Result<(Glimpse, bool), Error> {
        let after = claim.from.seen;
        let select = format!(
            "SELECT horizon, seq, id, type, account, message_id, batch_id, client, at, data, {SETTLED} AS is_settled
             FROM events WHERE (horizon, seq) > ($1, $2) ORDER BY horizon, seq LIMIT $3"
        );
        let values: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&after.horizon, &after.seq, &count(STRETCH)];
        let rows = self.readers.quick().await?.rows(&select, values).await?;
        let mut glimpse = Glimpse::behind(after);
        for row in &rows {
            let fields = Fields::new(row, "events", "id");
            if !fields.get::<bool>("is_settled")? {
                return Ok((glimpse, true));
            }
            let position = events::position(row)?;
            let fits = fits(&claim.interest, &fields).unwrap_or_else(|error| {
                tracing::error!(%error, "an event cannot be read and is left out");
                false
            });
            let read = || events::event(&fields, position);
            if glimpse.look_at(position, fits, claim.limit, read) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok((glimpse, false))
    }

    pub(super) async fn read_due(
        &self,
        webhook: &str,
        limit: usize,
        except: Vec<DeliveryId>,
        now: Timestamp,
    ) -> Result<Vec<Due>, Error> {
        let select = "SELECT d.id AS delivery, d.attempts, e.horizon, e.seq, e.id, e.type, e.account, e.message_id,
                e.batch_id, e.client, e.at, e.data
             FROM deliveries AS d LEFT JOIN events AS e ON e.id = d.event_id
             WHERE d.webhook = $1 AND d.next_at <= $2 AND d.id <> ALL ($4::text[])
             ORDER BY d.next_at, d.seq LIMIT $3";
        let rows = self.readers.quick().await?.rows(select, &[&webhook, &now, &count(limit), &except]).await?;
        let (mut due, mut orphans) = (Vec::new(), Vec::new());
        for row in &rows {
            let id = Fields::new(row, "deliveries", "delivery").parsed("delivery", DeliveryId::parse)?;
            match read_due(row, id) {
                Ok(Some(one)) => due.push(one),
                Ok(None) => orphans.push(id),
                Err(error) => {
                    tracing::error!(%error, delivery.id = %id, "an event cannot be read: its delivery is given up");
                    orphans.push(id);
                }
            }
        }
        if !orphans.is_empty() {
            self.writer.run(Orphaned { webhook: webhook.to_owned(), ids: orphans, now }).await?;
        }
        Ok(due)
    }

    pub(super) async fn read_next_due(
        &self,
        webhook: &str,
        except: Vec<DeliveryId>,
    ) -> Result<Option<Timestamp>, Error> {
        let select = "SELECT id, next_at FROM deliveries WHERE webhook = $1 AND next_at IS NOT NULL
             AND id <> ALL ($2::text[]) ORDER BY next_at LIMIT 1";
        let row = self.readers.quick().await?.row(select, &[&webhook, &except]).await?;
        row.map(|row| Fields::new(&row, "deliveries", "id").get("next_at")).transpose()
    }
}

pub(super) fn fits(interest: &Interest, fields: &Fields<'_>) -> Result<bool, Error> {
    let (kind, account): (String, Option<String>) = (fields.get("type")?, fields.get("account")?);
    Ok(interest.fits(&kind, account.as_deref()))
}

fn read_due(row: &Row, id: DeliveryId) -> Result<Option<Due>, Error> {
    let fields = Fields::new(row, "deliveries", "delivery");
    if fields.get::<Option<String>>("id")?.is_none() {
        return Ok(None);
    }
    let event = events::event(&fields, events::position(row)?)?;
    Ok(Some(Due { id, attempts: fields.count("attempts")?, event }))
}

struct Keep {
    claim: Claim,
    at: Position,
    boot: String,
    new: Vec<NewDelivery>,
}

#[async_trait]
impl Command for Keep {
    /// Of each its id when it is due; `None`: the lane is not ours any more, or the webhook is off.
    type Answer = Option<Vec<Option<DeliveryId>>>;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.claim.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Self::Answer, Error> {
        let (webhook, kept) = (&self.claim.webhook, self.claim.from.kept);
        let update = "UPDATE webhook_lanes SET horizon = $4, seq = $5
             WHERE webhook = $1 AND horizon = $2 AND seq = $3 AND disabled_reason IS NULL AND boot = $6";
        let moved = unit
            .execute(update, &[webhook, &kept.horizon, &kept.seq, &self.at.horizon, &self.at.seq, &self.boot])
            .await?;
        if moved == 0 {
            return Ok(None);
        }
        let due = insert(unit, webhook, &self.new, self.claim.now).await?;
        reach(Point::ClaimWritten);
        Ok(Some(self.new.iter().map(|new| due.contains(&new.id).then_some(new.id)).collect()))
    }
}

/// → those that are due at once.
pub(super) async fn insert(
    unit: &Unit<'_>,
    webhook: &str,
    new: &[NewDelivery],
    now: Timestamp,
) -> Result<HashSet<DeliveryId>, Error> {
    let mut messages = HashSet::new();
    let is_behind: Vec<_> =
        new.iter().map(|new| new.message_id.as_deref().is_some_and(|message| !messages.insert(message))).collect();
    let ids: Vec<_> = new.iter().map(|new| new.id).collect();
    let event_ids: Vec<_> = new.iter().map(|new| new.event_id).collect();
    let kinds: Vec<_> = new.iter().map(|new| new.event_type.as_str()).collect();
    let message_ids: Vec<_> = new.iter().map(|new| new.message_id.as_deref()).collect();
    let rows = unit.rows(INSERT, &[&webhook, &ids, &event_ids, &kinds, &message_ids, &is_behind, &now]).await?;
    let mut due = HashSet::new();
    for row in &rows {
        let fields = Fields::new(row, "deliveries", "id");
        if fields.get("is_due")? {
            due.insert(fields.parsed("id", DeliveryId::parse)?);
        }
    }
    Ok(due)
}
