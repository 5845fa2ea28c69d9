//! Where a message stands: the few columns that the verbs need that move it, and what becomes of rows that lack them.

use std::collections::HashSet;

use rusqlite::{Row, Rows, params};

use super::fault::unavailable;
use super::row::Fields;
use super::unit;
use super::writer::Unit;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::store::told::{self, Told};
use crate::store::{Error, history};

/// The columns that [`Standing::read`] reads.
pub(super) const COLUMNS: &str = "rowid, id, account, touser, lane, on_unknown, state, leased_at, doubtful_since";

pub(super) struct Standing {
    pub(super) rowid: i64,
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
    pub(super) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let fields = Fields::new(row, "messages", "id");
        Ok(Self {
            rowid: fields.get("rowid")?,
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

    /// Another state, with its line of history and its count. `self` tells where it stood before.
    pub(super) fn change(
        &mut self,
        unit: &mut Unit<'_>,
        to: State,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let step = HistoryEntry { state: to, at: now, reason: reason.map(str::to_owned) };
        let lines = history::lines(std::slice::from_ref(&step))?;
        let told = write(unit, self.rowid, &step, &lines)?;
        unit.moved(&told, &self.account, self.lane, self.state, &[step])?;
        self.state = to;
        Ok(())
    }
}

/// A row that cannot be read.
pub(super) struct Broken {
    rowid: i64,
    account: String,
    lane: Lane,
    pub(super) state: State,
    error: Error,
}

impl Broken {
    /// Takes what is left of it. The query has found it by its state, so that one is sound.
    pub(super) fn new(row: &Row<'_>, error: Error) -> Result<Self, Error> {
        let fields = Fields::new(row, "messages", "id");
        Ok(Self {
            rowid: fields.get("rowid")?,
            account: fields.get("account").unwrap_or_default(),
            lane: fields.parsed("lane", Lane::parse).unwrap_or_default(),
            state: fields.parsed("state", State::parse)?,
            error,
        })
    }

    /// Out of the way: `unknown`, reason `corrupt`, for an operator to look at.
    pub(super) fn set_aside(self, unit: &mut Unit<'_>, now: Timestamp) -> Result<(), Error> {
        tracing::error!(error = %self.error, "a message cannot be read; it is set aside as unknown, reason corrupt");
        self.put(unit, State::Unknown, "corrupt", now)
    }

    /// Its history may be what is broken, so that stays as it is.
    pub(super) fn put(&self, unit: &mut Unit<'_>, to: State, reason: &str, now: Timestamp) -> Result<(), Error> {
        let step = HistoryEntry { state: to, at: now, reason: Some(reason.to_owned()) };
        let told = write(unit, self.rowid, &step, "")?;
        unit.moved(&told, &self.account, self.lane, self.state, &[step])
    }
}

/// `lines`: what its history is lengthened by.
fn write(unit: &Unit<'_>, rowid: i64, step: &HistoryEntry, lines: &str) -> Result<Told, Error> {
    let sql = format!(
        "UPDATE messages SET state = ?2, state_reason = ?3, updated_at = ?4, history = history || ?5
         WHERE rowid = ?1 RETURNING {}",
        told::COLUMNS
    );
    let mut update = unit.tx.prepare_cached(&sql)?;
    let mut rows = update.query(params![rowid, step.state, step.reason, step.at, lines])?;
    let told = rows.next()?.map(unit::told).ok_or_else(|| unavailable("the row of a message is gone"))?;
    // To its end: only then is the update done.
    while rows.next()?.is_some() {}
    Ok(told)
}

/// The rows that can be read, and those that cannot.
pub(super) fn sort_out(rows: &mut Rows<'_>) -> Result<(Vec<Standing>, Vec<Broken>), Error> {
    sort_out_but(rows, &HashSet::new(), usize::MAX)
}

/// The same for the first `limit` whose id is not one of `but`.
pub(super) fn sort_out_but(
    rows: &mut Rows<'_>,
    but: &HashSet<String>,
    limit: usize,
) -> Result<(Vec<Standing>, Vec<Broken>), Error> {
    let (mut sound, mut broken) = (Vec::new(), Vec::new());
    while sound.len() + broken.len() < limit
        && let Some(row) = rows.next()?
    {
        if row.get::<_, String>("id").is_ok_and(|id| but.contains(&id)) {
            continue;
        }
        match Standing::read(row) {
            Ok(standing) => sound.push(standing),
            Err(error) => broken.push(Broken::new(row, error)?),
        }
    }
    Ok((sound, broken))
}
