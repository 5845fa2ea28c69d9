//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::fault::unavailable;
use super::forget::ForgetInbox;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{receipts, suppressions, users};
use crate::domain::callback::{NewCallback, Recorded};
use crate::domain::clock::Timestamp;
use crate::failpoint::{Point, reach};
use crate::store::rules::Told;
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Postgres {
    async fn record(&self, callback: NewCallback) -> Result<Recorded, Error> {
        self.writer.run(Record { callback }).await
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
            return Ok(Recorded::Seen { reply: first_reply(unit, callback).await? });
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
    let insert = "INSERT INTO callbacks (id, account, dedupe_key, kind, openid, body, reply, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, dedupe_key) DO NOTHING";
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
            ],
        )
        .await?;
    Ok(inserted == 1)
}

async fn first_reply(unit: &Unit<'_>, callback: &NewCallback) -> Result<Option<String>, Error> {
    let select = "SELECT id, reply FROM callbacks WHERE account = $1 AND dedupe_key = $2";
    let row = unit.row(select, &[&callback.account, &callback.dedupe_key]).await?;
    let row = row.ok_or_else(|| unavailable("a callback was forgotten while it was repeated"))?;
    Fields::new(&row, "callbacks", "id").get("reply")
}
