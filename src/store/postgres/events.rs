//! `Events`: written with one statement before each commit.
//!
//! Transactions of several nodes do not commit in the order in which they took their numbers, so whoever reads up to the highest
//! number misses what commits later with a lower one. So each row has a `horizon`: the newest transaction that had begun
//! when it was written. Read is what lies below the oldest transaction that is still under way: all that is there has ended, and
//! whatever is written later gets a horizon at or above it. Within one horizon the numbers decide. Of two changes of one message the
//! later is written after the earlier has committed, so its horizon is no lower and its number higher.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::batches;
use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventFilter, KindPattern, NewEvent, Position};
use crate::domain::ids::EventId;
use crate::failpoint::{Point, reach};
use crate::store::bounds::{ID_SLACK, limit as count, lowest_id};
use crate::store::told::{Finished, Tidings};
use crate::store::{Error, Events, Raise, Ring, Stretch};

/// `$1` ids, `$2` types, `$3` accounts, `$4` messages, `$5` batches, `$6` clients, `$7` dates, `$8` data: one entry an event, in order.
pub(super) const WRITE: &str = "
    INSERT INTO events (horizon, id, type, account, message_id, batch_id, client, at, data)
    SELECT greatest(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1),
        id, type, account, message_id, batch_id, client, at, data
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[])
        WITH ORDINALITY AS t (id, type, account, message_id, batch_id, client, at, data, place)
    ORDER BY place";

/// What can be read.
pub(super) const SETTLED: &str = "horizon < pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/// `$1` batches, `$2` dates: those of which nothing is under way any more, the first time.
const FINISH: &str = "
    UPDATE batches SET finished_at = t.at FROM unnest($1::text[], $2::bigint[]) AS t (id, at)
    WHERE batches.id = t.id AND finished_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM messages WHERE batch_id = t.id AND batch_id IS NOT NULL
            AND state IN ('scheduled', 'queued', 'sending'))
    RETURNING batches.id, client, created_at, rejected, finished_at";

/// Rows of another server's counting, after a dump was restored here: all of them come before whatever is written from now on.
pub(super) const REBASE: &str = "
    UPDATE events SET horizon = 0 WHERE horizon <> 0 AND EXISTS (
        SELECT 1 FROM events WHERE horizon >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)";

#[async_trait]
impl Raise for Postgres {
    async fn raise(&self, event: NewEvent) -> Result<(), Error> {
        self.writer.run(RaiseOne(event)).await
    }
}

#[async_trait]
impl Events for Postgres {
    async fn read(&self, filter: EventFilter, after: Position, limit: usize) -> Result<Stretch, Error> {
        let reader = if filter.is_narrow() { self.readers.quick().await? } else { self.readers.slow().await? };
        read(&reader, &filter, after, limit).await
    }

    async fn position_of(&self, id: EventId) -> Result<Position, Error> {
        let select = "SELECT horizon, seq, id FROM events WHERE id <= $1 ORDER BY id DESC LIMIT 1";
        let row = self.readers.quick().await?.row(select, &[&id]).await?;
        row.as_ref().map_or(Ok(Position::default()), position)
    }

    async fn newest(&self) -> Result<Position, Error> {
        let select =
            format!("SELECT horizon, seq, id FROM events WHERE {SETTLED} ORDER BY horizon DESC, seq DESC LIMIT 1");
        let row = self.readers.quick().await?.row(&select, &[]).await?;
        row.as_ref().map_or(Ok(Position::default()), position)
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(Forget { before, limit }).await
    }

    fn ring(&self) -> Ring {
        self.nodes.as_ref().map_or(Ring::silent(), |nodes| nodes.events.hear())
    }
}

struct RaiseOne(NewEvent);

#[async_trait]
impl Command for RaiseOne {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        unit.raise(self.0.clone());
        Ok(())
    }
}

/// Batches that the transaction has finished are told last. Two nodes that end the last two messages of one batch do not see
/// each other's: they take turns.
pub(super) async fn finish(unit: &Unit<'_>) -> Result<(), Error> {
    let batches = unit.take_batches();
    if batches.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<_> = batches.iter().map(|(id, _)| LockKey::batch(id)).collect();
    keys.sort_unstable();
    let (ids, dates): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
    unit.rows(super::batch::LOCK, &[&keys]).await?;
    for row in unit.rows(FINISH, &[&ids, &dates]).await? {
        let fields = Fields::new(&row, "batches", "id");
        let id: String = fields.get("id")?;
        let finished = Finished {
            client: fields.get("client")?,
            created_at: fields.get("created_at")?,
            rejected: fields.get("rejected")?,
            counts: batches::counts(unit, &id).await?,
            id,
        };
        unit.finished(&finished, fields.get("finished_at")?)?;
    }
    Ok(())
}

/// What the transaction tells.
pub(super) async fn write(unit: &Unit<'_>, tidings: &Tidings) -> Result<(), Error> {
    let events = tidings.events();
    if events.is_empty() {
        return Ok(());
    }
    reach(Point::EventsWritten);
    let ids: Vec<_> = events.iter().map(|(id, _)| *id).collect();
    let kinds: Vec<_> = events.iter().map(|(_, event)| &*event.kind).collect();
    let accounts: Vec<_> = events.iter().map(|(_, event)| event.account.as_deref()).collect();
    let messages: Vec<_> = events.iter().map(|(_, event)| event.message_id.as_deref()).collect();
    let batches: Vec<_> = events.iter().map(|(_, event)| event.batch_id.as_deref()).collect();
    let clients: Vec<_> = events.iter().map(|(_, event)| event.client.as_deref()).collect();
    let dates: Vec<_> = events.iter().map(|(_, event)| event.at).collect();
    let data: Vec<_> = events.iter().map(|(_, event)| event.data.as_str()).collect();
    unit.execute(WRITE, &[&ids, &kinds, &accounts, &messages, &batches, &clients, &dates, &data]).await?;
    Ok(())
}

pub(super) fn position(row: &Row) -> Result<Position, Error> {
    let fields = Fields::new(row, "events", "id");
    Ok(Position { horizon: fields.get("horizon")?, seq: fields.get("seq")? })
}

pub(super) async fn read(
    sql: &impl Sql,
    filter: &EventFilter,
    after: Position,
    limit: usize,
) -> Result<Stretch, Error> {
    let query = Query::new(filter, after, limit);
    let values: Vec<&(dyn ToSql + Sync)> =
        query.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }).collect();
    let rows = sql.rows(&query.sql, &values).await?;
    let mut stretch = Stretch::default();
    for row in &rows {
        let fields = Fields::new(row, "events", "id");
        if !fields.get::<bool>("is_settled")? {
            stretch.is_waiting = true;
            return Ok(stretch);
        }
        let position = position(row)?;
        stretch.next = Some(position);
        match event(&fields, position) {
            Ok(event) => stretch.events.push(event),
            Err(error) => tracing::error!(%error, "an event cannot be read and is left out"),
        }
    }
    stretch.is_full = rows.len() == limit;
    Ok(stretch)
}

pub(super) fn event(fields: &Fields<'_>, position: Position) -> Result<Event, Error> {
    Ok(Event {
        position,
        id: fields.parsed("id", EventId::parse)?,
        kind: fields.get("type")?,
        account: fields.get("account")?,
        message_id: fields.get("message_id")?,
        batch_id: fields.get("batch_id")?,
        client: fields.get("client")?,
        at: fields.get("at")?,
        data: fields.parsed("data", |text| serde_json::from_str(text).ok())?,
    })
}

struct Query {
    sql: String,
    values: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Query {
    fn new(filter: &EventFilter, after: Position, limit: usize) -> Self {
        let sql = format!(
            "SELECT horizon, seq, id, type, account, message_id, batch_id, client, at, data, {SETTLED} AS is_settled
             FROM events WHERE (horizon, seq) > ($1, $2)"
        );
        let mut query = Self { sql, values: vec![Box::new(after.horizon), Box::new(after.seq)] };
        if let Some(id) = filter.message_id {
            query.and("message_id = ?", id);
        }
        if let Some(id) = filter.batch_id {
            query.and("batch_id = ?", id);
        }
        if let Some(account) = &filter.account {
            query.and("account = ?", account.clone());
        }
        if let Some(from) = filter.created_after {
            query.and("at >= ?", from);
            query.and("id >= ?", lowest_id(EventId::PREFIX, from.minus(ID_SLACK)));
        }
        if let Some(until) = filter.created_before {
            query.and("at < ?", until);
            query.and("id < ?", lowest_id(EventId::PREFIX, until.plus(ID_SLACK)));
        }
        if let Some(accounts) = &filter.visible_accounts {
            query.and("account = ANY (?)", accounts.clone());
        }
        if !filter.kinds.is_empty() {
            let (mut names, mut stems) = (Vec::new(), Vec::new());
            for pattern in &filter.kinds {
                match pattern {
                    KindPattern::Is(kind) => names.push(kind.clone()),
                    KindPattern::Begins(stem) => stems.push(stem.clone()),
                }
            }
            query.values.push(Box::new(stems));
            let stems = query.values.len();
            query.and(&format!("(type = ANY (?) OR type ^@ ANY (${stems}::text[]))"), names);
        }
        query.values.push(Box::new(count(limit)));
        query.sql += &format!(" ORDER BY horizon, seq LIMIT ${}", query.values.len());
        query
    }

    /// `condition` has a question mark where its value belongs.
    fn and(&mut self, condition: &str, value: impl ToSql + Send + Sync + 'static) {
        self.values.push(Box::new(value));
        let place = format!("${}", self.values.len());
        self.sql += &format!(" AND {}", condition.replacen('?', &place, 1));
    }
}

struct Forget {
    before: Timestamp,
    limit: usize,
}

#[async_trait]
impl Command for Forget {
    type Answer = usize;

    /// Of the first, those that are old and that no pending delivery needs. The inner limit keeps it from reading on.
    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let delete = "DELETE FROM events WHERE id IN
                (SELECT id FROM events WHERE at < $1
                    AND id IN (SELECT id FROM events ORDER BY horizon, seq
                        LIMIT $2 + (SELECT count(*) FROM deliveries WHERE status = 'pending'))
                    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id AND status = 'pending')
                    AND (horizon, seq) < (SELECT horizon, seq FROM events ORDER BY horizon DESC, seq DESC LIMIT 1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let gone = unit.execute(delete, &[&self.before, &count(self.limit)]).await?;
        reach(Point::ForgetWritten);
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}
