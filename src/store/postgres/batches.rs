//! `Batches`: many messages in one write.

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::Postgres;
use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::messages::Hand;
use super::outbox::{self, Accept};
use super::row::Fields;
use super::sql::Sql;
use super::standing;
use crate::domain::batch::{Batch, BatchCount, NewBatch, RejectedItem};
use crate::domain::clock::Timestamp;
use crate::domain::ids::BatchId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::state::State;
use crate::store::batches::{Batches, KeptBatch, earlier_in};
use crate::store::bounds::{limit as count, lowest_id};
use crate::store::{Accepted, Error};

#[async_trait]
impl Batches for Postgres {
    async fn keep(&self, batch: NewBatch, messages: Vec<(u32, NewMessage)>, atomic: bool) -> Result<KeptBatch, Error> {
        let accept = |(index, message)| (index, Accept { message, first_lease: None, boot: self.boot.clone() });
        self.writer.try_run(Keep { batch, items: messages.into_iter().map(accept).collect(), atomic }).await
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Option<KeptBatch>, Error> {
        known(&self.readers.quick().await?, key).await
    }

    async fn look_up(&self, id: BatchId) -> Result<Option<(Batch, Vec<BatchCount>)>, Error> {
        let reader = self.readers.quick().await?;
        match find(&reader, id).await? {
            Some(batch) => Ok(Some((batch, counts(&reader, &id.to_string()).await?))),
            None => Ok(None),
        }
    }

    async fn cancel(&self, id: BatchId, accounts: Option<Vec<String>>, now: Timestamp) -> Result<usize, Error> {
        let select =
            "SELECT id, account, touser FROM messages WHERE batch_id = $1 AND state IN ('scheduled', 'queued')";
        let rows = self.readers.quick().await?.rows(select, &[&id]).await?;
        let mut users = Vec::with_capacity(rows.len());
        for row in &rows {
            let fields = Fields::new(row, "messages", "id");
            users.push(LockKey::user(fields.get("account")?, fields.get("touser")?));
        }
        if users.is_empty() {
            return Ok(0);
        }
        self.writer.run(Cancel { id, users, accounts, now }).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(Forget { before, limit }).await
    }
}

struct Keep {
    batch: NewBatch,
    items: Vec<(u32, Accept)>,
    atomic: bool,
}

#[async_trait]
impl Command for Keep {
    type Answer = KeptBatch;

    fn keys(&self) -> Vec<LockKey> {
        let own = self.batch.idempotency.as_ref().map(LockKey::idempotency);
        own.into_iter().chain(self.items.iter().flat_map(|(_, accept)| accept.keys())).collect()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<KeptBatch, Error> {
        if let Some(key) = &self.batch.idempotency
            && let Some(known) = known(unit, key).await?
        {
            return Ok(known);
        }
        if self.atomic {
            let in_the_way = self.mismatches(unit).await?;
            if !in_the_way.is_empty() {
                return Ok(KeptBatch::Refused(in_the_way));
            }
        }
        let mut message_ids = Vec::with_capacity(self.items.len());
        let mut rejected = self.batch.rejected.clone();
        for ((index, accept), accepted) in self.items.iter().zip(self.accept_all(unit).await?) {
            match accepted {
                Accepted::New => message_ids.push(accept.message.id),
                Accepted::Replay { message_id } => message_ids.push(message_id),
                Accepted::Mismatch { message_id } => rejected.push(RejectedItem::mismatch(*index, message_id)),
            }
        }
        rejected.sort_by_key(|item| item.index);
        let NewBatch { id, client, created_at, idempotency, .. } = &self.batch;
        let kept = Batch { id: *id, client: client.clone(), created_at: *created_at, message_ids, rejected };
        insert(unit, &kept, idempotency.as_ref()).await?;
        unit.kept_batch(*id, idempotency.clone());
        unit.look_at_batch(*id, *created_at);
        Ok(KeptBatch::New(kept))
    }
}

impl Keep {
    /// Those without a key go side by side; two with the same key have to come one after the other.
    async fn accept_all(&self, unit: &Unit<'_>) -> Result<Vec<Accepted>, Error> {
        let is_keyed = |accept: &Accept| accept.message.idempotency.is_some();
        let plain = self.items.iter().filter(|(_, accept)| !is_keyed(accept)).map(|(_, accept)| accept.run(unit));
        let mut plain = try_join_all(plain).await?.into_iter();
        let mut accepted = Vec::with_capacity(self.items.len());
        for (_, accept) in &self.items {
            let done = if is_keyed(accept) { None } else { plain.next() };
            accepted.push(match done {
                Some(done) => done,
                None => accept.run(unit).await?,
            });
        }
        Ok(accepted)
    }

    async fn mismatches(&self, unit: &Unit<'_>) -> Result<Vec<RejectedItem>, Error> {
        let messages = || self.items.iter().map(|(_, accept)| &accept.message);
        let mut found = Vec::new();
        for (at, (index, accept)) in self.items.iter().enumerate() {
            let Some(key) = &accept.message.idempotency else { continue };
            let in_the_way = match outbox::find(unit, key).await? {
                Some(Accepted::Mismatch { message_id }) => Some(message_id),
                Some(_) => None,
                None => earlier_in(messages().take(at), key),
            };
            found.extend(in_the_way.map(|message_id| RejectedItem::mismatch(*index, message_id)));
        }
        Ok(found)
    }
}

async fn insert(unit: &Unit<'_>, batch: &Batch, key: Option<&IdempotencyKey>) -> Result<(), Error> {
    let text = |json: serde_json::Result<String>| json.map_err(|_| unavailable("a batch cannot be written as JSON"));
    let message_ids = text(serde_json::to_string(&batch.message_ids))?;
    let rejected = text(serde_json::to_string(&batch.rejected))?;
    let row = "INSERT INTO batches (id, client, created_at, message_ids, rejected) VALUES ($1, $2, $3, $4, $5)";
    unit.execute(row, &[&batch.id, &batch.client, &batch.created_at, &message_ids, &rejected]).await?;
    if let Some(key) = key {
        let claim = "INSERT INTO idempotency (client, endpoint, key, body_hash, message_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)";
        let IdempotencyKey { client, endpoint, key, body_hash } = key;
        unit.execute(claim, &[client, endpoint, key, body_hash, &batch.id, &batch.created_at]).await?;
    }
    Ok(())
}

async fn known(sql: &impl Sql, key: &IdempotencyKey) -> Result<Option<KeptBatch>, Error> {
    let select = "SELECT key, body_hash, message_id FROM idempotency WHERE client = $1 AND endpoint = $2 AND key = $3";
    let Some(row) = sql.row(select, &[&key.client, &key.endpoint, &key.key]).await? else { return Ok(None) };
    let fields = Fields::new(&row, "idempotency", "key");
    let batch_id = fields.parsed("message_id", BatchId::parse)?;
    if fields.get::<String>("body_hash")? != key.body_hash {
        return Ok(Some(KeptBatch::Mismatch { batch_id }));
    }
    // Retention took the batch before its key: nothing can be said of it any more.
    let batch = find(sql, batch_id).await?;
    Ok(Some(batch.map_or(KeptBatch::Mismatch { batch_id }, KeptBatch::Replay)))
}

async fn find(sql: &impl Sql, id: BatchId) -> Result<Option<Batch>, Error> {
    let select = "SELECT id, client, created_at, message_ids, rejected FROM batches WHERE id = $1";
    let Some(row) = sql.row(select, &[&id]).await? else { return Ok(None) };
    let fields = Fields::new(&row, "batches", "id");
    let message_ids: String = fields.get("message_ids")?;
    let rejected: String = fields.get("rejected")?;
    Ok(Some(Batch {
        id,
        client: fields.get("client")?,
        created_at: fields.get("created_at")?,
        message_ids: serde_json::from_str(&message_ids).map_err(|_| fields.corrupt("message_ids"))?,
        rejected: serde_json::from_str(&rejected).map_err(|_| fields.corrupt("rejected"))?,
    }))
}

pub(super) async fn counts(sql: &impl Sql, id: &str) -> Result<Vec<BatchCount>, Error> {
    let select = "SELECT account, state, count(*) AS count FROM messages WHERE batch_id = $1 GROUP BY account, state
         ORDER BY account, state";
    let mut counts = Vec::new();
    for row in sql.rows(select, &[&id]).await? {
        let fields = Fields::new(&row, "messages", "account");
        let count: i64 = fields.get("count")?;
        counts.push(BatchCount {
            account: fields.get("account")?,
            state: fields.parsed("state", State::parse)?,
            count: u64::try_from(count).unwrap_or(0),
        });
    }
    Ok(counts)
}

struct Cancel {
    id: BatchId,
    users: Vec<LockKey>,
    accounts: Option<Vec<String>>,
    now: Timestamp,
}

#[async_trait]
impl Command for Cancel {
    type Answer = usize;

    fn keys(&self) -> Vec<LockKey> {
        self.users.clone()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let select = format!(
            "SELECT {} FROM messages WHERE batch_id = $1 AND state IN ('scheduled', 'queued') ORDER BY id FOR UPDATE",
            standing::COLUMNS
        );
        let (waiting, broken) = standing::sort_out(&unit.rows(&select, &[&self.id]).await?)?;
        let mut canceled = 0;
        for mut message in waiting {
            if self.accounts.as_ref().is_some_and(|accounts| !accounts.contains(&message.account)) {
                continue;
            }
            if let Some((state, reason)) = Hand::Cancel.target(&message) {
                message.change(unit, state, reason, self.now).await?;
                canceled += 1;
            }
        }
        for row in broken {
            row.set_aside(unit, self.now).await?;
        }
        Ok(canceled)
    }
}

struct Forget {
    before: Timestamp,
    limit: usize,
}

#[async_trait]
impl Command for Forget {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let delete = "DELETE FROM batches WHERE id IN
                (SELECT id FROM batches WHERE id < $1
                    AND NOT EXISTS (SELECT 1 FROM messages WHERE batch_id = batches.id)
                 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let gone = unit.execute(delete, &[&lowest_id(BatchId::PREFIX, self.before), &count(self.limit)]).await?;
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }
}

/// What was accepted without anybody being told is no batch: its key is free again.
pub(super) async fn disown(unit: &Unit<'_>, batches: &[(BatchId, Option<IdempotencyKey>)]) -> Result<(), Error> {
    for (id, key) in batches {
        if let Some(key) = key {
            let delete = "DELETE FROM idempotency WHERE client = $1 AND endpoint = $2 AND key = $3";
            unit.execute(delete, &[&key.client, &key.endpoint, &key.key]).await?;
        }
        unit.execute("DELETE FROM batches WHERE id = $1", &[id]).await?;
    }
    Ok(())
}
