//! `Events`: written by the writer before each commit, one after the other; one writer, so their numbers are their order.

use async_trait::async_trait;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::Sqlite;
use super::batches;
use super::readers::PATIENCE;
use super::row::Fields;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventFilter, KindPattern, NewEvent, Position};
use crate::domain::ids::EventId;
use crate::failpoint::{Point, reach};
use crate::store::bounds::{ID_SLACK, limit as count, lowest_id};
use crate::store::told::{Finished, Tidings};
use crate::store::{Error, Events, Raise, Ring, Stretch};

#[async_trait]
impl Raise for Sqlite {
    async fn raise(&self, event: NewEvent) -> Result<(), Error> {
        let raise = move |unit: &mut Unit<'_>| {
            unit.raise(event.clone());
            Ok(())
        };
        self.writer.run(raise).await
    }
}

#[async_trait]
impl Events for Sqlite {
    async fn read(&self, filter: EventFilter, after: Position, limit: usize) -> Result<Stretch, Error> {
        let is_narrow = filter.is_narrow();
        let read = move |conn: &Connection| read(conn, &filter, after, limit);
        if is_narrow { self.readers.read(read).await } else { self.readers.read_within(PATIENCE, read).await }
    }

    async fn position_of(&self, id: EventId) -> Result<Position, Error> {
        let find = "SELECT seq FROM events WHERE id <= ?1 ORDER BY id DESC LIMIT 1";
        self.readers.read(move |conn| seq(conn, find, &id.to_string())).await
    }

    async fn newest(&self) -> Result<Position, Error> {
        self.readers.read(|conn| seq(conn, "SELECT max(seq) FROM events WHERE ?1 = ?1", "")).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget(unit, before, limit)).await
    }

    fn ring(&self) -> Ring {
        self.bell.hear()
    }
}

/// What a transaction tells; batches that it has finished come last.
pub(super) fn write(tx: &Connection, tidings: &mut Tidings) -> Result<(), Error> {
    for (batch, at) in tidings.take_batches() {
        if let Some(finished) = finish(tx, &batch, at)? {
            tidings.finished(&finished, at)?;
        }
    }
    if tidings.is_empty() {
        return Ok(());
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO events (id, type, account, message_id, batch_id, client, at, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for (id, event) in tidings.events() {
        insert.execute(params![
            id,
            event.kind,
            event.account,
            event.message_id,
            event.batch_id,
            event.client,
            event.at,
            event.data
        ])?;
    }
    reach(Point::EventsWritten);
    Ok(())
}

/// The batch, when nothing of it is under way any more, the first time.
fn finish(tx: &Connection, id: &str, at: Timestamp) -> Result<Option<Finished>, Error> {
    let mut update = tx.prepare_cached(
        "UPDATE batches SET finished_at = ?2 WHERE id = ?1 AND finished_at IS NULL AND NOT EXISTS (
            SELECT 1 FROM messages INDEXED BY messages_batch_open
            WHERE batch_id = ?1 AND batch_id IS NOT NULL AND state IN ('scheduled', 'queued', 'sending'))
         RETURNING id, client, created_at, rejected",
    )?;
    let mut rows = update.query(params![id, at])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let fields = Fields::new(row, "batches", "id");
    let finished = Finished {
        id: id.to_owned(),
        client: fields.get("client")?,
        created_at: fields.get("created_at")?,
        rejected: fields.get("rejected")?,
        counts: Vec::new(),
    };
    // To its end: only then is the update done.
    while rows.next()?.is_some() {}
    Ok(Some(Finished { counts: batches::counts(tx, id)?, ..finished }))
}

fn seq(conn: &Connection, sql: &str, id: &str) -> Result<Position, Error> {
    let found: Option<Option<i64>> = conn.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    Ok(Position { horizon: 0, seq: found.flatten().unwrap_or(0) })
}

/// A walk along the numbers, or along one message's few rows.
pub(super) fn read(conn: &Connection, filter: &EventFilter, after: Position, limit: usize) -> Result<Stretch, Error> {
    let (sql, values) = query(filter, after, limit);
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let (mut stretch, mut seen) = (Stretch::default(), 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        let fields = Fields::new(row, "events", "id");
        let position = Position { horizon: 0, seq: fields.get("seq")? };
        stretch.next = Some(position);
        match event(&fields, position) {
            Ok(event) => stretch.events.push(event),
            Err(error) => tracing::error!(%error, "an event cannot be read and is left out"),
        }
    }
    stretch.is_full = seen == limit;
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

fn query(filter: &EventFilter, after: Position, limit: usize) -> (String, Vec<Value>) {
    let index = if filter.message_id.is_some() { "INDEXED BY events_message" } else { "NOT INDEXED" };
    let mut sql = format!(
        "SELECT seq, id, type, account, message_id, batch_id, client, at, data FROM events {index} WHERE seq > ?"
    );
    let mut values = vec![Value::Integer(after.seq)];
    let mut and = |condition: &str, value: Value| {
        sql += " AND ";
        sql += condition;
        values.push(value);
    };
    if let Some(id) = filter.message_id {
        and("message_id = ?", Value::Text(id.to_string()));
    }
    if let Some(id) = filter.batch_id {
        and("batch_id = ?", Value::Text(id.to_string()));
    }
    if let Some(account) = &filter.account {
        and("account = ?", Value::Text(account.clone()));
    }
    if let Some(from) = filter.created_after {
        // Where to begin: ids begin with their time.
        let first = "seq >= ifnull((SELECT seq FROM events WHERE id >= ? ORDER BY id LIMIT 1), 9e18)";
        and(first, Value::Text(lowest_id(EventId::PREFIX, from.minus(ID_SLACK))));
        and("at >= ?", Value::Integer(from.as_millis()));
    }
    if let Some(until) = filter.created_before {
        let last = "seq <= ifnull((SELECT seq FROM events WHERE id < ? ORDER BY id DESC LIMIT 1), 0)";
        and(last, Value::Text(lowest_id(EventId::PREFIX, until.plus(ID_SLACK))));
        and("at < ?", Value::Integer(until.as_millis()));
    }
    if let Some(accounts) = &filter.visible_accounts {
        sql += &format!(" AND account IN ({})", vec!["?"; accounts.len()].join(", "));
        values.extend(accounts.iter().cloned().map(Value::Text));
    }
    if !filter.kinds.is_empty() {
        let any = filter.kinds.iter().map(|pattern| match pattern {
            KindPattern::Is(_) => "type = ?",
            KindPattern::Begins(_) => "type GLOB ?",
        });
        sql += &format!(" AND ({})", any.collect::<Vec<_>>().join(" OR "));
        values.extend(filter.kinds.iter().map(|pattern| match pattern {
            KindPattern::Is(kind) => Value::Text(kind.clone()),
            KindPattern::Begins(stem) => Value::Text(format!("{stem}*")),
        }));
    }
    sql += " ORDER BY seq LIMIT ?";
    values.push(Value::Integer(count(limit)));
    (sql, values)
}

/// Of the first, those that are old and that no pending delivery needs. The inner limit keeps it from reading on; the newest
/// keeps the numbers growing.
fn forget(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut delete = unit.tx.prepare_cached(
        "DELETE FROM events WHERE seq IN
            (SELECT seq FROM (SELECT seq, id, at FROM events ORDER BY seq
                LIMIT ?2 + (SELECT count(*) FROM deliveries WHERE status = 'pending')) AS first
             WHERE at < ?1 AND NOT EXISTS (
                SELECT 1 FROM deliveries WHERE event_id = first.id AND status = 'pending')
             LIMIT ?2)
            AND seq < (SELECT max(seq) FROM events)",
    )?;
    let gone = delete.execute(params![before, count(limit)])?;
    reach(Point::ForgetWritten);
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MessageId;

    fn plan(filter: &EventFilter) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        let (sql, values) = query(filter, Position::default(), 10);
        let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = select.query_map(params_from_iter(values), |row| row.get::<_, String>("detail")).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn nothing_is_sorted_and_times_bound_the_walk() {
        let at = Some(Timestamp::from_seconds(1));
        let times = EventFilter { created_after: at, created_before: at, ..EventFilter::default() };
        let message = EventFilter { message_id: Some(MessageId::generate(Timestamp::default())), ..Default::default() };
        for (filter, way) in [
            (EventFilter::default(), "INTEGER PRIMARY KEY (rowid>?)"),
            (times, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (message, "events_message (message_id=? AND rowid>?)"),
        ] {
            let plan = plan(&filter);
            assert!(plan.contains(way) && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
