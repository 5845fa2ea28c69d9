//! `Queue`: who holds what, and until when.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use super::leases::{Extend, LendDue};
use super::rescue::Expire;
use super::row::Fields;
use super::settle::Settle;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::settlement::Settlement;
use crate::domain::state::{Lane, State};
use crate::store::{Change, Error, OpenAccount, Queue, Realigned, Rescued, Settled};

#[async_trait]
impl Queue for Postgres {
    async fn lease(
        &self,
        lane: Lane,
        open: &[OpenAccount],
        limit: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let (boot, turns) = (self.boot.clone(), self.turns.clone());
        let terms = LendDue { boot, lane, open: open.to_vec(), turns, limit, now, until: now.plus(hold) };
        self.writer.run(terms).await
    }

    async fn extend(&self, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
        self.writer.run(Extend { message_id, generation, until }).await
    }

    async fn settle(&self, lease: Lease, settlement: Settlement, now: Timestamp) -> Result<Settled, Error> {
        let id = lease.message_id;
        let is_own = self.own.contains(id);
        let settled = self.writer.run(Settle { lease, settlement, now, is_own }).await?;
        self.own.remove(id);
        Ok(settled)
    }

    async fn rescue(
        &self,
        now: Timestamp,
        window: Duration,
        limit: usize,
        running: &[MessageId],
    ) -> Result<Rescued, Error> {
        self.take_back(now, window, limit, running).await
    }

    async fn realign(&self, now: Timestamp, jumped: bool, limit: usize) -> Result<Realigned, Error> {
        self.put_right(now, jumped, limit).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
        self.writer.run(Expire { now, limit }).await
    }

    async fn next_due(&self, open: &[OpenAccount]) -> Result<Option<Timestamp>, Error> {
        let stretches: Vec<_> =
            open.iter().flat_map(|account| Lane::ALL.map(|lane| (lane, account.name.to_string()))).collect();
        earliest_due(&self.readers.quick().await?, &stretches).await
    }

    async fn changed(&self) -> Change {
        match &self.nodes {
            Some(nodes) => nodes.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// The earliest due date of these lanes and accounts: a look into `messages_due` for each of their clients.
pub(super) async fn earliest_due(sql: &impl Sql, stretches: &[(Lane, String)]) -> Result<Option<Timestamp>, Error> {
    let lanes: Vec<_> = stretches.iter().map(|(lane, _)| lane.as_str()).collect();
    let accounts: Vec<_> = stretches.iter().map(|(_, account)| account.as_str()).collect();
    let select = "SELECT min(due.due_at) AS due_at FROM unnest($1::text[], $2::text[]) AS t (lane, account), LATERAL (
        WITH RECURSIVE clients AS (
            (SELECT client, due_at FROM messages
             WHERE lane = t.lane AND account = t.account AND state IN ('scheduled', 'queued')
             ORDER BY client, due_at LIMIT 1)
            UNION ALL
            SELECT next.client, next.due_at FROM clients, LATERAL (
                SELECT client, due_at FROM messages
                WHERE lane = t.lane AND account = t.account AND state IN ('scheduled', 'queued')
                    AND client > clients.client
                ORDER BY client, due_at LIMIT 1) AS next)
        SELECT due_at FROM clients) AS due";
    let row = sql.row(select, &[&lanes, &accounts]).await?;
    row.map_or(Ok(None), |row| Fields::new(&row, "messages", "due_at").get("due_at"))
}
