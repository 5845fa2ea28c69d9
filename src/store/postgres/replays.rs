//! Events told once more.

use std::collections::HashSet;

use async_trait::async_trait;

use super::Postgres;
use super::audit;
use super::claims::insert;
use super::command::{Command, Unit};
use super::events;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::event::{EventFilter, Position};
use crate::domain::ids::EventId;
use crate::domain::webhook::{DeliveryStatus, Replayed};
use crate::store::bounds::limit as count;
use crate::store::deliveries::{self, Meant, NewDelivery};
use crate::store::{Error, Replay, ReplayOf};

impl Postgres {
    pub(super) async fn replay_events(&self, replay: Replay, limit: usize) -> Result<Replayed, Error> {
        let meant = match &replay.what {
            ReplayOf::Events(ids) => by_id(&self.readers.quick().await?, &replay, ids, limit).await?,
            ReplayOf::Filter { filter, last: None } => {
                let reader = self.readers.slow().await?;
                let stretch = events::read(&reader, &replay.filter(filter), replay.after, limit).await?;
                let next = stretch.next.filter(|_| stretch.is_full);
                Meant::fitting(&replay.interest, stretch.events, next)
            }
            ReplayOf::Filter { filter, last: Some(last) } => {
                by_last(&self.readers.slow().await?, &replay, filter, *last, limit).await?
            }
        };
        if replay.is_dry_run {
            let (_, replayed) = weigh(&self.readers.quick().await?, &replay, &meant).await?;
            return Ok(replayed);
        }
        self.writer.run(Make { replay, meant }).await
    }
}

async fn by_id(sql: &impl Sql, replay: &Replay, ids: &[EventId], limit: usize) -> Result<Meant, Error> {
    let ids: Vec<_> = ids.iter().take(limit).copied().collect();
    let select = "SELECT horizon, seq, id, type, account, message_id, batch_id, client, at, data
         FROM events WHERE id = ANY ($1::text[])";
    let mut found = Vec::new();
    for row in &sql.rows(select, &[&ids]).await? {
        found.extend(events::event(&Fields::new(row, "events", "id"), events::position(row)?).ok());
    }
    let mut meant = Meant::default();
    for id in ids {
        meant.named(&replay.interest, id, found.iter().find(|event| event.id == id).cloned());
    }
    meant.sort();
    Ok(meant)
}

/// Those whose last delivery stands so: found by the deliveries, in their order.
async fn by_last(
    sql: &impl Sql,
    replay: &Replay,
    filter: &EventFilter,
    last: DeliveryStatus,
    limit: usize,
) -> Result<Meant, Error> {
    let select = format!(
        "SELECT d.seq AS place, e.horizon, e.seq, e.id, e.type, e.account, e.message_id, e.batch_id, e.client, e.at, e.data
         FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
         WHERE d.webhook = $1 AND d.status = '{}' AND d.seq > $2 AND NOT EXISTS (
            SELECT 1 FROM deliveries AS later
            WHERE later.event_id = d.event_id AND later.webhook = $1 AND later.seq > d.seq)
         ORDER BY d.seq LIMIT $3",
        last.as_str()
    );
    let filter = replay.filter(filter);
    let rows = sql.rows(&select, &[&replay.webhook, &replay.after.seq, &count(limit)]).await?;
    let (mut found, mut place) = (Vec::new(), None);
    for row in &rows {
        let fields = Fields::new(row, "events", "id");
        place = Some(Position { horizon: 0, seq: fields.get("place")? });
        match events::event(&fields, events::position(row)?) {
            Ok(event) if filter.fits(&event) => found.push(event),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "an event cannot be read and is left out"),
        }
    }
    Ok(Meant::fitting(&replay.interest, found, place.filter(|_| rows.len() == limit)))
}

/// What is to be made, and the counts of it.
async fn weigh(sql: &impl Sql, replay: &Replay, meant: &Meant) -> Result<(Vec<NewDelivery>, Replayed), Error> {
    let mut new = NewDelivery::of(&meant.events, replay.now);
    let ids: Vec<_> = new.iter().map(|new| new.event_id).collect();
    let select = "SELECT id, event_id FROM deliveries
         WHERE event_id = ANY ($1::text[]) AND webhook = $2 AND status = 'pending'";
    let mut pending = HashSet::new();
    for row in &sql.rows(select, &[&ids, &replay.webhook]).await? {
        pending.insert(Fields::new(row, "deliveries", "id").parsed("event_id", EventId::parse)?);
    }
    new.retain(|new| !pending.contains(&new.event_id));
    let replayed = Replayed { added: new.len(), pending: pending.len(), ..meant.counted() };
    Ok((new, replayed))
}

struct Make {
    replay: Replay,
    meant: Meant,
}

#[async_trait]
impl Command for Make {
    type Answer = Replayed;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.replay.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Replayed, Error> {
        let (new, replayed) = weigh(unit, &self.replay, &self.meant).await?;
        insert(unit, &self.replay.webhook, &new, self.replay.now).await?;
        audit::write(unit, &deliveries::told(&self.replay.act, &replayed)).await?;
        Ok(replayed)
    }
}
