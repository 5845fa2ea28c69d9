//! `Outbox`: a message and its idempotency key, in one write.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::seen::Seen;
use super::writer::Unit;
use super::{Sqlite, idempotency};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::{Accepted, Error, Outbox, history};

#[async_trait]
impl Outbox for Sqlite {
    async fn accept(&self, message: NewMessage, first_lease: Option<Duration>) -> Result<Accepted, Error> {
        let (boot, seen): (Arc<str>, _) = (self.boot.as_str().into(), self.seen.clone());
        // Refused as a result, not as an error: that would roll back the results of attempts in the same transaction.
        self.writer
            .try_run(move |unit| match unit.shortage {
                None => accept(unit, &seen, &message, first_lease, &boot).map(Ok),
                Some(shortage) => Ok(known(unit, &seen, &message)?.ok_or_else(|| shortage.clone())),
            })
            .await?
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
        if self.seen.hours_of(&key.key).is_none() {
            return Ok(None);
        }
        let (key, seen) = (key.clone(), self.seen.clone());
        self.readers.read(move |conn| find(conn, &seen, &key)).await
    }

    async fn forget_keys(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        let seen = self.seen.clone();
        self.writer.run(move |unit| idempotency::forget(unit.tx, &seen, before, limit)).await
    }
}

pub(super) fn accept(
    unit: &mut Unit<'_>,
    seen: &Seen,
    message: &NewMessage,
    first_lease: Option<Duration>,
    boot: &str,
) -> Result<Accepted, Error> {
    if let Some(key) = &message.idempotency {
        if let Some(known) = find(unit.tx, seen, key)? {
            return Ok(known);
        }
        idempotency::add(unit.tx, seen, key, message.id, message.created_at)?;
    }
    let entry = if message.send_at.is_some() { State::Scheduled } else { State::Queued };
    let state = if first_lease.is_some() { State::Sending } else { entry };
    insert(unit, message, entry, first_lease, boot)?;
    unit.accepted(&message.account, message.lane, state);
    reach(Point::AcceptWritten);
    Ok(Accepted::New)
}

/// What became of the key before, if it came before.
fn known(unit: &Unit<'_>, seen: &Seen, message: &NewMessage) -> Result<Option<Accepted>, Error> {
    message.idempotency.as_ref().map_or(Ok(None), |key| find(unit.tx, seen, key))
}

pub(super) fn find(conn: &Connection, seen: &Seen, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
    let kept = idempotency::find(conn, seen, key, MessageId::parse)?;
    Ok(kept.map(|kept| match kept.same {
        true => Accepted::Replay { message_id: kept.id },
        false => Accepted::Mismatch { message_id: kept.id },
    }))
}

fn insert(
    unit: &Unit<'_>,
    message: &NewMessage,
    entry: State,
    first_lease: Option<Duration>,
    boot: &str,
) -> Result<(), Error> {
    let now = message.created_at;
    let mut lines = history::line(entry, now, message.wait_reason)?;
    if first_lease.is_some() {
        lines += &history::line(State::Sending, now, None)?;
    }
    unit.tx
        .prepare_cached(
            "INSERT INTO messages (id, account, client, touser, template_id, body, client_msg_id, lane, on_unknown,
                state, state_reason, created_at, updated_at, send_at, expires_at, due_at, lease_boot, lease_generation, leased_at,
                lease_until, tries, metadata, retry_of, batch_id, trace, attempts, history)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?24, ?11, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, 0, ?19, ?20,
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
            message.wait_reason,
        ])?;
    Ok(())
}
