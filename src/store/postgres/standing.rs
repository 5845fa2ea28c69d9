//! Where a message stands: the few columns that the verbs need that move it, and what becomes of rows that lack them.
//!
//! Whoever changes a message by what it has read has read it `FOR UPDATE`: another node may be lending it at this moment.

use tokio_postgres::Row;

use super::command::Unit;
use super::fault::unavailable;
use super::row::{self, Fields};
use super::sql::Sql;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::store::told::{self, Told};
use crate::store::{Error, history};

/// The columns that [`Standing::read`] reads.
pub(super) const COLUMNS: &str = "id, account, touser, lane, on_unknown, state, leased_at, doubtful_since";

pub(super) struct Standing {
    pub(super) id: MessageId,
    pub(super) account: String,
    pub(super) touser: String,
    pub(super) lane: Lane,
    pub(super) on_unknown: OnUnknown,
    pub(super) state: State,
    pub(super) leased_at: Option<Timestamp>,
    pub(super) doubtful_since: Option<Timestamp>,
}

impl Standing {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let fields = Fields::new(row, "messages", "id");
        Ok(Self {
            id: fields.parsed("id", MessageId::parse)?,
            account: fields.get("account")?,
            touser: fields.get("touser")?,
            lane: fields.parsed("lane", Lane::parse)?,
            on_unknown: fields.parsed("on_unknown", OnUnknown::parse)?,
            state: fields.parsed("state", State::parse)?,
            leased_at: fields.get("leased_at")?,
            doubtful_since: fields.get("doubtful_since")?,
        })
    }

    /// Another state, with its line of history and its count. `self` tells where it stood before. Whoever waits for the
    /// message on another node hears of it.
    pub(super) async fn change(
        &mut self,
        unit: &Unit<'_>,
        to: State,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let step = HistoryEntry { state: to, at: now, reason: reason.map(str::to_owned) };
        let lines = history::lines(std::slice::from_ref(&step))?;
        let told = write(unit, &self.id.to_string(), &step, &lines).await?;
        unit.moved(&told, &self.account, self.lane, self.state, &[step])?;
        if !to.is_under_way() {
            unit.ended(self.id);
        }
        self.state = to;
        Ok(())
    }
}

/// A row that cannot be read.
pub(super) struct Broken {
    pub(super) id: String,
    account: String,
    lane: Lane,
    pub(super) state: State,
    error: Error,
}

impl Broken {
    /// Takes what is left of it. The query has found it by its state, so that one is sound.
    pub(super) fn new(row: &Row, error: Error) -> Result<Self, Error> {
        let fields = Fields::new(row, "messages", "id");
        Ok(Self {
            id: fields.get("id")?,
            account: fields.get("account").unwrap_or_default(),
            lane: fields.parsed("lane", Lane::parse).unwrap_or_default(),
            state: fields.parsed("state", State::parse)?,
            error,
        })
    }

    /// Out of the way: `unknown`, reason `corrupt`, for an operator to look at.
    pub(super) async fn set_aside(&self, unit: &Unit<'_>, now: Timestamp) -> Result<(), Error> {
        tracing::error!(error = %self.error, "a message cannot be read; it is set aside as unknown, reason corrupt");
        self.put(unit, State::Unknown, "corrupt", now).await
    }

    /// Its history may be what is broken, so that stays as it is.
    pub(super) async fn put(&self, unit: &Unit<'_>, to: State, reason: &str, now: Timestamp) -> Result<(), Error> {
        let step = HistoryEntry { state: to, at: now, reason: Some(reason.to_owned()) };
        let told = write(unit, &self.id, &step, "").await?;
        unit.moved(&told, &self.account, self.lane, self.state, &[step])
    }
}

/// `lines`: what its history is lengthened by.
async fn write(unit: &Unit<'_>, id: &str, step: &HistoryEntry, lines: &str) -> Result<Told, Error> {
    let update = format!(
        "UPDATE messages SET state = $2, state_reason = $3, updated_at = $4, history = history || $5
         WHERE id = $1 RETURNING {}",
        told::COLUMNS
    );
    let row = unit.row(&update, &[&id, &step.state, &step.reason, &step.at, &lines]).await?;
    row.as_ref().map(row::told).ok_or_else(|| unavailable("the row of a message is gone"))
}

/// The rows that can be read, and those that cannot.
pub(super) fn sort_out(rows: &[Row]) -> Result<(Vec<Standing>, Vec<Broken>), Error> {
    let (mut sound, mut broken) = (Vec::new(), Vec::new());
    for row in rows {
        match Standing::read(row) {
            Ok(standing) => sound.push(standing),
            Err(error) => broken.push(Broken::new(row, error)?),
        }
    }
    Ok((sound, broken))
}
