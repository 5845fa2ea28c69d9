//! `Outbox`: a message and its idempotency key, in one write.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::writer::Unit;
use super::{Sqlite, row};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::{Accepted, Error, Outbox, bounds, history};

#[async_trait]
impl Outbox for Sqlite {
    async fn accept(&self, message: NewMessage, first_lease: Option<Duration>) -> Result<Accepted, Error> {
        let boot: Arc<str> = self.boot.as_str().into();
        // Refused as a result, not as an error: that would roll back the results of attempts in the same transaction.
        self.writer
            .try_run(move |unit| match unit.shortage {
                None => accept(unit, &message, first_lease, &boot).map(Ok),
                Some(shortage) => Ok(known(unit, &message)?.ok_or_else(|| shortage.clone())),
            })
            .await?
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
        let key = key.clone();
        self.readers.read(move |conn| find(conn, &key)).await
    }

    async fn forget_keys(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget_keys(unit, before, limit)).await
    }
}

pub(super) fn accept(
    unit: &mut Unit<'_>,
    message: &NewMessage,
    first_lease: Option<Duration>,
    boot: &str,
) -> Result<Accepted, Error> {
    if let Some(key) = &message.idempotency
        && let Some(known) = claim(unit, key, message)?
    {
        return Ok(known);
    }
    let entry = if message.send_at.is_some() { State::Scheduled } else { State::Queued };
    let state = if first_lease.is_some() { State::Sending } else { entry };
    insert(unit, message, entry, first_lease, boot)?;
    unit.deltas.accepted(&message.account, message.lane, state);
    reach(Point::AcceptWritten);
    Ok(Accepted::New)
}

/// Takes the key for this message; `Some` when it is taken.
fn claim(unit: &Unit<'_>, key: &IdempotencyKey, message: &NewMessage) -> Result<Option<Accepted>, Error> {
    let mut insert = unit.tx.prepare_cached(
        "INSERT INTO idempotency (client, endpoint, key, body_hash, message_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    let row = params![key.client, key.endpoint, key.key, key.body_hash, message.id, message.created_at];
    if insert.execute(row)? == 1 {
        return Ok(None);
    }
    find(unit.tx, key)
}

/// What became of the key before, if it came before.
fn known(unit: &Unit<'_>, message: &NewMessage) -> Result<Option<Accepted>, Error> {
    message.idempotency.as_ref().map_or(Ok(None), |key| find(unit.tx, key))
}

pub(super) fn find(conn: &Connection, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT key, body_hash, message_id FROM idempotency WHERE client = ?1 AND endpoint = ?2 AND key = ?3",
    )?;
    let mut rows = select.query(params![key.client, key.endpoint, key.key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let fields = row::Fields::new(row, "idempotency", "key");
    let message_id = fields.parsed("message_id", MessageId::parse)?;
    let same = fields.get::<String>("body_hash")? == key.body_hash;
    Ok(Some(if same { Accepted::Replay { message_id } } else { Accepted::Mismatch { message_id } }))
}

fn insert(
    unit: &Unit<'_>,
    message: &NewMessage,
    entry: State,
    first_lease: Option<Duration>,
    boot: &str,
) -> Result<(), Error> {
    let now = message.created_at;
    let mut lines = history::line(entry, now, None)?;
    if first_lease.is_some() {
        lines += &history::line(State::Sending, now, None)?;
    }
    unit.tx
        .prepare_cached(
            "INSERT INTO messages (id, account, client, touser, template_id, body, client_msg_id, lane, on_unknown,
                state, created_at, updated_at, send_at, expires_at, due_at, lease_boot, lease_generation, leased_at,
                lease_until, tries, metadata, retry_of, batch_id, trace, attempts, history)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, 0, ?19, ?20,
                ?21, ?22, '', ?23)",
        )?
        .execute(params![
            message.id,
            &*message.account,
            &*message.client,
            message.touser,
            message.template_id,
            message.body,
            message.client_msg_id,
            message.lane,
            message.on_unknown,
            if first_lease.is_some() { State::Sending } else { entry },
            now,
            message.send_at,
            message.expires_at,
            message.send_at.unwrap_or(now),
            first_lease.map(|_| boot),
            i64::from(first_lease.is_some()),
            first_lease.map(|_| now),
            first_lease.map(|hold| now.plus(hold)),
            message.metadata,
            message.retry_of,
            message.batch_id,
            message.trace,
            lines,
        ])?;
    Ok(())
}

fn forget_keys(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut delete = unit.tx.prepare_cached(
        "DELETE FROM idempotency WHERE (client, endpoint, key) IN
            (SELECT client, endpoint, key FROM idempotency WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
    )?;
    Ok(delete.execute(params![before, bounds::limit(limit)])?)
}
