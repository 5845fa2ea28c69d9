//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::forget::ForgetInbox;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{receipts, suppressions, users};
use crate::domain::callback::{NewCallback, Recorded, RelayStanding, RelayStep};
use crate::domain::clock::Timestamp;
use crate::domain::relay::RelayState;
use crate::failpoint::{Point, reach};
use crate::store::rules::Told;
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Postgres {
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error> {
        self.writer.run(Record { callback }).await
    }

    async fn step_relay(&self, step: RelayStep) -> Result<Option<RelayStanding>, Error> {
        self.writer.run(StepRelay { step }).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(ForgetInbox { before, limit }).await
    }
}

struct Record {
    callback: NewCallback,
}

#[async_trait]
impl Command for Record {
    type Answer = Recorded;

    fn keys(&self) -> Vec<LockKey> {
        let callback = &self.callback;
        let receivers = callback.receipts.iter().map(|receipt| &receipt.openid);
        let users = receivers.chain(callback.user.iter().map(|seen| &seen.openid));
        let mut keys: Vec<_> = users.map(|openid| LockKey::user(&callback.account, openid.as_str())).collect();
        keys.push(LockKey::callback(&callback.account, &callback.dedupe_key));
        keys
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Recorded, Error> {
        let callback = &self.callback;
        if !is_first(unit, callback).await? {
            let found = standing(unit, &callback.account, &callback.dedupe_key).await?;
            let (relay, reply) = found.unwrap_or_default();
            return Ok(Recorded::Seen { reply, relay });
        }
        unit.called_back(callback);
        if let Some(seen) = &callback.user {
            users::see(unit, callback, seen).await?;
            if seen.subscribed == Some(true) {
                let (openid, now) = (seen.openid.as_str(), callback.received_at);
                suppressions::heed(unit, &callback.account, openid, Some(Told::IsReached), now).await?;
            }
            reach(Point::CallbackWritten);
        }
        let mut effects = Vec::with_capacity(callback.receipts.len());
        for receipt in &callback.receipts {
            effects.push(receipts::take(unit, callback, receipt).await?);
        }
        Ok(Recorded::First { receipts: effects })
    }
}

/// Keeps it, unless it is there already.
async fn is_first(unit: &Unit<'_>, callback: &NewCallback) -> Result<bool, Error> {
    let insert = "INSERT INTO callbacks (id, account, dedupe_key, kind, openid, body, reply, received_at, relay)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account, dedupe_key) DO NOTHING";
    let inserted = unit
        .execute(
            insert,
            &[
                &callback.id,
                &callback.account,
                &callback.dedupe_key,
                &callback.kind,
                &callback.openid,
                &callback.body,
                &callback.reply,
                &callback.received_at,
                &callback.is_relayed.then_some(RelayState::Pending.as_str()),
            ],
        )
        .await?;
    Ok(inserted == 1)
}

struct StepRelay {
    step: RelayStep,
}

#[async_trait]
impl Command for StepRelay {
    type Answer = Option<RelayStanding>;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::callback(&self.step.account, &self.step.dedupe_key)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Option<RelayStanding>, Error> {
        let RelayStep { account, dedupe_key, from, to, reply, event } = &self.step;
        let update =
            "UPDATE callbacks SET relay = $4, reply = $5 WHERE account = $1 AND dedupe_key = $2 AND relay = $3";
        let moved = unit.execute(update, &[account, dedupe_key, &from.as_str(), &to.as_str(), reply]).await? == 1;
        if moved {
            event.iter().cloned().for_each(|event| unit.raise(event));
            return Ok(Some(RelayStanding { moved, state: Some(*to), reply: reply.clone() }));
        }
        let standing = standing(unit, account, dedupe_key).await?;
        Ok(standing.map(|(state, reply)| RelayStanding { moved, state, reply }))
    }
}

type Standing = (Option<RelayState>, Option<String>);

async fn standing(unit: &Unit<'_>, account: &str, dedupe_key: &str) -> Result<Option<Standing>, Error> {
    let select = "SELECT id, relay, reply FROM callbacks WHERE account = $1 AND dedupe_key = $2";
    let Some(row) = unit.row(select, &[&account, &dedupe_key]).await? else { return Ok(None) };
    let fields = Fields::new(&row, "callbacks", "id");
    let relay: Option<String> = fields.get("relay")?;
    Ok(Some((relay.as_deref().and_then(RelayState::parse), fields.get("reply")?)))
}
