//! `Queue`: who holds what, and until when.

use std::time::Duration;

use async_trait::async_trait;

use super::Postgres;
use super::fault::unavailable;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::settlement::Settlement;
use crate::domain::state::{Lane, State};
use crate::store::{Error, OpenAccount, Queue, Rescued, Settled};

#[async_trait]
impl Queue for Postgres {
    async fn lease(
        &self,
        _lane: Lane,
        _open: &[OpenAccount],
        _limit: usize,
        _now: Timestamp,
        _hold: Duration,
    ) -> Result<Vec<Lease>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn extend(&self, _message_id: MessageId, _generation: i64, _until: Timestamp) -> Result<bool, Error> {
        Err(unavailable("not written yet"))
    }

    async fn settle(&self, _lease: Lease, _settlement: Settlement, _now: Timestamp) -> Result<Settled, Error> {
        Err(unavailable("not written yet"))
    }

    async fn rescue(
        &self,
        _now: Timestamp,
        _window: Duration,
        _limit: usize,
        _running: &[MessageId],
    ) -> Result<Rescued, Error> {
        Err(unavailable("not written yet"))
    }

    async fn expire(&self, _now: Timestamp, _limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn next_due(&self, open: &[OpenAccount]) -> Result<Option<Timestamp>, Error> {
        let stretches: Vec<_> =
            open.iter().flat_map(|account| Lane::ALL.map(|lane| (lane, account.name.to_string()))).collect();
        earliest_due(&self.readers.quick().await?, &stretches).await
    }
}

/// The earliest due date of these lanes and accounts: one look into `messages_due` each.
pub(super) async fn earliest_due(sql: &impl Sql, stretches: &[(Lane, String)]) -> Result<Option<Timestamp>, Error> {
    let lanes: Vec<_> = stretches.iter().map(|(lane, _)| lane.as_str()).collect();
    let accounts: Vec<_> = stretches.iter().map(|(_, account)| account.as_str()).collect();
    let select = "SELECT min(due.due_at) AS due_at FROM unnest($1::text[], $2::text[]) AS t (lane, account),
            LATERAL (SELECT due_at FROM messages WHERE lane = t.lane AND account = t.account
                AND state IN ('scheduled', 'queued') ORDER BY due_at LIMIT 1) AS due";
    let row = sql.row(select, &[&lanes, &accounts]).await?;
    row.map_or(Ok(None), |row| Fields::new(&row, "messages", "due_at").get("due_at"))
}
