//! `Batches`: many messages in one write.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::fault::unavailable;
use super::row::Fields;
use super::seen::Seen;
use super::standing::{self, Broken, Standing};
use super::writer::Unit;
use super::{Sqlite, idempotency, messages, outbox};
use crate::domain::batch::{Batch, BatchCount, NewBatch, RejectedItem};
use crate::domain::clock::Timestamp;
use crate::domain::ids::BatchId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::state::State;
use crate::store::batches::{Batches, KeptBatch, earlier_in};
use crate::store::{Accepted, Error, bounds};

#[async_trait]
impl Batches for Sqlite {
    async fn keep(&self, batch: NewBatch, messages: Vec<(u32, NewMessage)>, atomic: bool) -> Result<KeptBatch, Error> {
        let (boot, seen): (Arc<str>, _) = (self.boot.as_str().into(), self.seen.clone());
        // Refused as a result, as in `accept`.
        self.writer
            .try_run(move |unit| match (unit.shortage, &batch.idempotency) {
                (None, _) => keep(unit, &seen, &batch, &messages, atomic, &boot).map(Ok),
                (Some(shortage), None) => Ok(Err(shortage.clone())),
                (Some(shortage), Some(key)) => Ok(known(unit.tx, &seen, key)?.ok_or_else(|| shortage.clone())),
            })
            .await?
    }

    async fn known(&self, key: &IdempotencyKey) -> Result<Option<KeptBatch>, Error> {
        if self.seen.hours_of(&key.key).is_none() {
            return Ok(None);
        }
        let (key, seen) = (key.clone(), self.seen.clone());
        self.readers.read(move |conn| known(conn, &seen, &key)).await
    }

    async fn look_up(&self, id: BatchId) -> Result<Option<(Batch, Vec<BatchCount>)>, Error> {
        self.readers
            .read(move |conn| match find(conn, id)? {
                Some(batch) => Ok(Some((batch, counts(conn, &id.to_string())?))),
                None => Ok(None),
            })
            .await
    }

    async fn cancel(&self, id: BatchId, accounts: Option<Vec<String>>, now: Timestamp) -> Result<usize, Error> {
        self.writer.run(move |unit| cancel(unit, id, accounts.as_deref(), now)).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget(unit, before, limit)).await
    }
}

fn keep(
    unit: &mut Unit<'_>,
    seen: &Seen,
    batch: &NewBatch,
    messages: &[(u32, NewMessage)],
    atomic: bool,
    boot: &str,
) -> Result<KeptBatch, Error> {
    if let Some(key) = &batch.idempotency
        && let Some(known) = known(unit.tx, seen, key)?
    {
        return Ok(known);
    }
    if atomic {
        let in_the_way = mismatches(unit, seen, messages)?;
        if !in_the_way.is_empty() {
            return Ok(KeptBatch::Refused(in_the_way));
        }
    }
    let mut message_ids = Vec::with_capacity(messages.len());
    let mut rejected = batch.rejected.clone();
    for (index, message) in messages {
        match outbox::accept(unit, seen, message, None, boot)? {
            Accepted::New => message_ids.push(message.id),
            Accepted::Replay { message_id } => message_ids.push(message_id),
            Accepted::Mismatch { message_id } => rejected.push(RejectedItem::mismatch(*index, message_id)),
        }
    }
    rejected.sort_by_key(|item| item.index);
    let kept =
        Batch { id: batch.id, client: batch.client.clone(), created_at: batch.created_at, message_ids, rejected };
    insert(unit, &kept)?;
    unit.look_at_batch(kept.id, kept.created_at);
    if let Some(key) = &batch.idempotency {
        idempotency::add(unit.tx, seen, key, kept.id, kept.created_at)?;
    }
    Ok(KeptBatch::New(kept))
}

/// Items whose own idempotency key belongs to another body, one that stands in this very request included.
fn mismatches(unit: &Unit<'_>, seen: &Seen, messages: &[(u32, NewMessage)]) -> Result<Vec<RejectedItem>, Error> {
    let mut found = Vec::new();
    for (at, (index, message)) in messages.iter().enumerate() {
        let Some(key) = &message.idempotency else { continue };
        let in_the_way = match outbox::find(unit.tx, seen, key)? {
            Some(Accepted::Mismatch { message_id }) => Some(message_id),
            Some(_) => None,
            None => earlier_in(messages[..at].iter().map(|(_, message)| message), key),
        };
        found.extend(in_the_way.map(|message_id| RejectedItem::mismatch(*index, message_id)));
    }
    Ok(found)
}

fn insert(unit: &Unit<'_>, batch: &Batch) -> Result<(), Error> {
    let text = |json: serde_json::Result<String>| json.map_err(|_| unavailable("a batch cannot be written as JSON"));
    let message_ids = text(serde_json::to_string(&batch.message_ids))?;
    let rejected = text(serde_json::to_string(&batch.rejected))?;
    unit.tx
        .prepare_cached(
            "INSERT INTO batches (id, client, created_at, message_ids, rejected) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![batch.id, batch.client, batch.created_at, message_ids, rejected])?;
    Ok(())
}

fn known(conn: &Connection, seen: &Seen, key: &IdempotencyKey) -> Result<Option<KeptBatch>, Error> {
    let Some(kept) = idempotency::find(conn, seen, key, BatchId::parse)? else { return Ok(None) };
    let batch_id = kept.id;
    if !kept.same {
        return Ok(Some(KeptBatch::Mismatch { batch_id }));
    }
    // Retention took the batch before its key: nothing can be said of it any more.
    let batch = find(conn, batch_id)?;
    Ok(Some(batch.map_or(KeptBatch::Mismatch { batch_id }, KeptBatch::Replay)))
}

fn find(conn: &Connection, id: BatchId) -> Result<Option<Batch>, Error> {
    let mut select =
        conn.prepare_cached("SELECT id, client, created_at, message_ids, rejected FROM batches WHERE id = ?1")?;
    let mut rows = select.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let fields = Fields::new(row, "batches", "id");
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

pub(super) fn counts(conn: &Connection, id: &str) -> Result<Vec<BatchCount>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT account, state, count(*) AS count FROM messages INDEXED BY messages_batch WHERE batch_id = ?1
         GROUP BY account, state",
    )?;
    let mut rows = select.query([id])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "messages", "account");
        let count: i64 = fields.get("count")?;
        counts.push(BatchCount {
            account: fields.get("account")?,
            state: fields.parsed("state", State::parse)?,
            count: u64::try_from(count).unwrap_or(0),
        });
    }
    Ok(counts)
}

fn cancel(unit: &mut Unit<'_>, id: BatchId, accounts: Option<&[String]>, now: Timestamp) -> Result<usize, Error> {
    let sql = format!(
        "SELECT {} FROM messages INDEXED BY messages_batch WHERE batch_id = ?1 AND state IN ('scheduled', 'queued')",
        standing::COLUMNS
    );
    let (waiting, broken): (Vec<Standing>, Vec<Broken>) = {
        let mut select = unit.tx.prepare_cached(&sql)?;
        standing::sort_out(&mut select.query([id])?)?
    };
    let mut canceled = 0;
    for mut message in waiting {
        if accounts.is_some_and(|accounts| !accounts.contains(&message.account)) {
            continue;
        }
        if let Some((state, reason)) = messages::canceled(&message) {
            message.change(unit, state, reason, now)?;
            canceled += 1;
        }
    }
    for row in broken {
        row.set_aside(unit, now)?;
    }
    Ok(canceled)
}

fn forget(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut delete = unit.tx.prepare_cached(
        "DELETE FROM batches WHERE id IN
            (SELECT id FROM batches WHERE id < ?1
                AND NOT EXISTS (SELECT 1 FROM messages WHERE batch_id = batches.id) ORDER BY id LIMIT ?2)",
    )?;
    Ok(delete.execute(params![bounds::lowest_id(BatchId::PREFIX, before), bounds::limit(limit)])?)
}
