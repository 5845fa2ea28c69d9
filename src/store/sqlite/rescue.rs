//! Repairs of the queue: leases whose holder died, messages whose time is over.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::params;

use super::standing::{self, Standing};
use super::writer::Unit;
use super::{receipts, row};
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::state::{OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::store::{Error, Rescued};

/// The reason of what was taken back.
pub(super) const CRASH: &str = "crash";
const EXPIRED: &str = "expired";

pub(super) fn rescue(
    unit: &mut Unit<'_>,
    boot: &str,
    now: Timestamp,
    window: Duration,
    limit: usize,
    running: &HashSet<String>,
) -> Result<Rescued, Error> {
    let sql = format!(
        "SELECT {} FROM messages INDEXED BY messages_lease
         WHERE state = 'sending' AND (lease_boot IS NOT ?1 OR lease_until < ?2) ORDER BY lease_until LIMIT ?3",
        standing::COLUMNS
    );
    let (found, broken) = {
        let mut select = unit.tx.prepare_cached(&sql)?;
        // Those that run may be the oldest: they must not crowd the others out.
        let mut rows = select.query(params![boot, now, row::limit(limit.saturating_add(running.len()))])?;
        standing::sort_out_but(&mut rows, running, limit)?
    };
    let mut rescued = Rescued::default();
    for mut message in found {
        take_back(unit, &mut message, now, window)?;
        reach(Point::RescueWritten);
        match message.state {
            State::Queued => rescued.queued.push(message.id),
            State::Unknown => rescued.unknown.push(message.id),
            state => rescued.settled.push((message.id, state)),
        }
    }
    for row in broken {
        row.set_aside(unit, now)?;
    }
    Ok(rescued)
}

fn take_back(unit: &mut Unit<'_>, message: &mut Standing, now: Timestamp, window: Duration) -> Result<(), Error> {
    let doubtful_since = message.doubtful_since.or(message.leased_at).unwrap_or(now);
    // A doubt from the future: the clock was set back, and how old it is nobody knows.
    let is_young = doubtful_since <= now && now.since(doubtful_since) < window;
    let again = message.on_unknown == OnUnknown::Retry && is_young;
    unit.tx
        .prepare_cached("UPDATE messages SET doubtful_since = ?2, due_at = ?3 WHERE rowid = ?1")?
        .execute(params![message.rowid, doubtful_since, now])?;
    message.change(unit, if again { State::Queued } else { State::Unknown }, Some(CRASH), now)?;
    // Its receipt may have come while it was sending.
    let kept = receipts::meant_for(unit, &message.account, &message.touser, message.id, doubtful_since)?;
    if let Some(kept) = kept {
        receipts::deliver(unit, message, &kept.msgid, &kept.verdict, now)?;
        receipts::use_up(unit, &message.account, &kept, message.id)?;
    }
    Ok(())
}

pub(super) fn expire(unit: &mut Unit<'_>, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
    let sql = format!(
        "SELECT {} FROM messages WHERE state IN ('scheduled', 'queued') AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        standing::COLUMNS
    );
    let (found, broken) = {
        let mut select = unit.tx.prepare_cached(&sql)?;
        standing::sort_out(&mut select.query(params![now, row::limit(limit)])?)?
    };
    let mut expired = Vec::with_capacity(found.len());
    for mut message in found {
        let to = if message.doubtful_since.is_some() { State::Unknown } else { State::Expired };
        message.change(unit, to, Some(EXPIRED), now)?;
        reach(Point::ExpireWritten);
        expired.push((message.id, to));
    }
    for row in broken {
        row.set_aside(unit, now)?;
    }
    Ok(expired)
}
