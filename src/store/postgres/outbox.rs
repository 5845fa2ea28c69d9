//! `Outbox`: a message and its idempotency key, in one write.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::{Accepted, Error, Outbox, bounds, history};

#[async_trait]
impl Outbox for Postgres {
    async fn accept(&self, message: NewMessage, first_lease: Option<Duration>) -> Result<Accepted, Error> {
        let own = first_lease.map(|_| message.id);
        self.own.extend(own);
        let accepted = self.writer.try_run(Accept { message, first_lease, boot: self.boot.clone() }).await;
        if !matches!(accepted, Ok(Accepted::New)) {
            own.iter().for_each(|id| self.own.remove(*id));
        }
        accepted
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
        find(&self.readers.quick().await?, key).await
    }

    async fn forget_keys(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(ForgetKeys { before, limit }).await
    }
}

pub(super) struct Accept {
    pub(super) message: NewMessage,
    pub(super) first_lease: Option<Duration>,
    pub(super) boot: String,
}

#[async_trait]
impl Command for Accept {
    type Answer = Accepted;

    fn keys(&self) -> Vec<LockKey> {
        // Without a key of its own it waits for nobody: its id is new.
        let own = || LockKey::message(self.message.id);
        vec![self.message.idempotency.as_ref().map_or_else(own, LockKey::idempotency)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Accepted, Error> {
        let message = &self.message;
        if let Some(key) = &message.idempotency
            && let Some(known) = claim(unit, key, message).await?
        {
            return Ok(known);
        }
        let entry = if message.send_at.is_some() { State::Scheduled } else { State::Queued };
        let state = if self.first_lease.is_some() { State::Sending } else { entry };
        self.insert(unit, entry, state).await?;
        reach(Point::AcceptWritten);
        unit.accepted(message, state);
        if state == State::Queued {
            unit.is_due();
        }
        Ok(Accepted::New)
    }
}

/// Takes the key for this message; `Some` when it is taken.
async fn claim(unit: &Unit<'_>, key: &IdempotencyKey, message: &NewMessage) -> Result<Option<Accepted>, Error> {
    let insert = "INSERT INTO idempotency (client, endpoint, key, body_hash, message_id, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let values: super::sql::Values<'_> =
        &[&key.client, &key.endpoint, &key.key, &key.body_hash, &message.id, &message.created_at];
    if unit.execute(insert, values).await? == 1 {
        return Ok(None);
    }
    find(unit, key).await
}

/// What became of the request with this key.
pub(super) async fn find(sql: &impl Sql, key: &IdempotencyKey) -> Result<Option<Accepted>, Error> {
    let select = "SELECT key, body_hash, message_id FROM idempotency WHERE client = $1 AND endpoint = $2 AND key = $3";
    let Some(row) = sql.row(select, &[&key.client, &key.endpoint, &key.key]).await? else { return Ok(None) };
    let fields = Fields::new(&row, "idempotency", "key");
    let message_id = fields.parsed("message_id", MessageId::parse)?;
    let same = fields.get::<String>("body_hash")? == key.body_hash;
    Ok(Some(if same { Accepted::Replay { message_id } } else { Accepted::Mismatch { message_id } }))
}

impl Accept {
    async fn insert(&self, unit: &Unit<'_>, entry: State, state: State) -> Result<(), Error> {
        let (message, now) = (&self.message, self.message.created_at);
        let mut lines = history::line(entry, now, message.wait_reason)?;
        if state == State::Sending {
            lines += &history::line(state, now, None)?;
        }
        let insert =
            "INSERT INTO messages (id, account, client, touser, template_id, body, client_msg_id, lane, on_unknown,
                state, state_reason, created_at, updated_at, send_at, expires_at, due_at, lease_boot, lease_generation, leased_at,
                lease_until, tries, metadata, retry_of, batch_id, trace, attempts, history)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $24, $11, $11, $12, $13, $14, $15, $16, $17, $18, 0, $19, $20,
                $21, $22, '', $23)";
        unit.execute(
            insert,
            &[
                &message.id,
                &&*message.account,
                &&*message.client,
                &message.touser,
                &message.template_id,
                &message.body,
                &message.client_msg_id,
                &message.lane,
                &message.on_unknown,
                &state,
                &now,
                &message.send_at,
                &message.expires_at,
                &message.send_at.unwrap_or(now),
                &self.first_lease.map(|_| &*self.boot),
                &i64::from(self.first_lease.is_some()),
                &self.first_lease.map(|_| now),
                &self.first_lease.map(|hold| now.plus(hold)),
                &message.metadata,
                &message.retry_of,
                &message.batch_id,
                &message.trace,
                &lines,
                &message.wait_reason,
            ],
        )
        .await?;
        Ok(())
    }
}

struct ForgetKeys {
    before: Timestamp,
    limit: usize,
}

#[async_trait]
impl Command for ForgetKeys {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let delete = "DELETE FROM idempotency WHERE (client, endpoint, key) IN
                (SELECT client, endpoint, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2
                 FOR UPDATE SKIP LOCKED)";
        let gone = unit.execute(delete, &[&self.before, &bounds::limit(self.limit)]).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}
