//! Repairs after the clock was set back: rows that wait by dates of a clock that ran ahead.
//!
//! A reader looks for them, because it has to look at everything that waits; the writer changes a few at a time.

use rusqlite::{Connection, params};

use super::row::Fields;
use super::standing::{self, Standing};
use super::writer::Unit;
use crate::domain::clock::{JUMP, Timestamp};
use crate::domain::state::State;
use crate::store::rules::WINDOW_OVER;
use crate::store::{Error, Realigned, bounds};

/// The rows that are wrong by this clock.
const WRONG: &str = "state = 'queued'
    AND (updated_at > ?1 OR (?2 AND (doubtful_since IS NOT NULL OR busy_since IS NOT NULL)))";

/// Their ids, at most `limit`.
pub(super) fn find(conn: &Connection, now: Timestamp, jumped: bool, limit: usize) -> Result<Vec<String>, Error> {
    let sql = format!(
        "SELECT id FROM messages INDEXED BY messages_due WHERE state IN ('scheduled', 'queued') AND {WRONG} LIMIT ?3"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let ids = select.query_map(params![now.plus(JUMP), jumped, bounds::limit(limit)], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn realign(unit: &mut Unit<'_>, ids: &[String], now: Timestamp, jumped: bool) -> Result<Realigned, Error> {
    let mut done = Realigned::default();
    for id in ids {
        let Some((mut message, may_be_there)) = read(unit, id, now, jumped)? else { continue };
        if may_be_there {
            message.change(unit, State::Unknown, Some(WINDOW_OVER), now)?;
            done.unknown.push(message.id);
        } else {
            unit.tx
                .prepare_cached(
                    "UPDATE messages SET due_at = ?2 + max(due_at - updated_at, 0), updated_at = ?2 WHERE rowid = ?1",
                )?
                .execute(params![message.rowid, now])?;
            done.moved += 1;
        }
    }
    Ok(done)
}

/// The row, if it is wrong still, and whether WeChat may have it. One that cannot be read is left to `lease`.
fn read(unit: &Unit<'_>, id: &str, now: Timestamp, jumped: bool) -> Result<Option<(Standing, bool)>, Error> {
    let sql = format!(
        "SELECT {}, (doubtful_since IS NOT NULL OR busy_since IS NOT NULL) AS may_be_there
         FROM messages WHERE id = ?3 AND {WRONG}",
        standing::COLUMNS
    );
    let mut select = unit.tx.prepare_cached(&sql)?;
    let mut rows = select.query(params![now.plus(JUMP), jumped, id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let may_be_there = Fields::new(row, "messages", "id").get("may_be_there")?;
    Ok(Standing::read(row).ok().map(|standing| (standing, may_be_there)))
}
