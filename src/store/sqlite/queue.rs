//! `Queue`: who holds what, and until when.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::leases::Terms;
use super::{Sqlite, leases, realign, rescue, settle};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::settlement::Settlement;
use crate::domain::state::{Lane, State};
use crate::store::{Error, OpenAccount, Queue, Realigned, Rescued, Settled};

#[async_trait]
impl Queue for Sqlite {
    async fn lease(
        &self,
        lane: Lane,
        open: &[OpenAccount],
        limit: usize,
        now: Timestamp,
        hold: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let (boot, turns) = (self.boot.clone(), self.turns.clone());
        let terms = Terms { boot, lane, open: open.to_vec(), turns, limit, now, until: now.plus(hold) };
        self.writer.run(move |unit| leases::lease(unit, &terms)).await
    }

    async fn extend(&self, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
        self.writer.run(move |unit| leases::extend(unit, message_id, generation, until)).await
    }

    async fn settle(&self, lease: Lease, settlement: Settlement, now: Timestamp) -> Result<Settled, Error> {
        self.writer.run(move |unit| settle::settle(unit, &lease, &settlement, now)).await
    }

    async fn rescue(
        &self,
        now: Timestamp,
        window: Duration,
        limit: usize,
        running: &[MessageId],
    ) -> Result<Rescued, Error> {
        let boot = self.boot.clone();
        let running: HashSet<String> = running.iter().map(MessageId::to_string).collect();
        self.writer.run(move |unit| rescue::rescue(unit, &boot, now, window, limit, &running)).await
    }

    async fn realign(&self, now: Timestamp, jumped: bool, limit: usize) -> Result<Realigned, Error> {
        let ids = self.readers.read(move |conn| realign::find(conn, now, jumped, limit)).await?;
        if ids.is_empty() {
            return Ok(Realigned::default());
        }
        self.writer.run(move |unit| realign::realign(unit, &ids, now, jumped)).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
        self.writer.run(move |unit| rescue::expire(unit, now, limit)).await
    }

    async fn next_due(&self, open: &[OpenAccount]) -> Result<Option<Timestamp>, Error> {
        let stretches: Vec<_> =
            open.iter().flat_map(|account| Lane::ALL.map(|lane| (lane, account.name.clone()))).collect();
        self.readers.read(move |conn| earliest_due(conn, &stretches)).await
    }
}

/// The earliest due date of these lanes and accounts.
pub(super) fn earliest_due(
    conn: &Connection,
    stretches: &[(Lane, impl AsRef<str>)],
) -> Result<Option<Timestamp>, Error> {
    let mut earliest = None;
    for (lane, account) in stretches {
        let dues = leases::first_dues(conn, *lane, account.as_ref())?;
        earliest = dues.into_iter().map(|(_, due_at)| due_at).chain(earliest).min();
    }
    Ok(earliest)
}
