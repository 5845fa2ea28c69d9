//! Repairs of the queue: leases whose holder died, messages whose time is over.

use std::collections::HashSet;
use std::time::Duration;

use rusqlite::params;

use super::receipts;
use super::standing::{self, Standing};
use super::writer::Unit;
use crate::domain::clock::{JUMP, Timestamp};
use crate::domain::ids::MessageId;
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::queue::CRASHES;
use crate::store::{Error, Rescued, bounds, rules};

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
         WHERE state = 'sending' AND (lease_boot IS NOT ?1 OR lease_until < ?2 OR leased_at > ?4)
         ORDER BY lease_until LIMIT ?3",
        standing::COLUMNS
    );
    let (found, broken) = {
        let mut select = unit.tx.prepare_cached(&sql)?;
        // Those that run may be the oldest: they must not crowd the others out.
        let most = bounds::limit(limit.saturating_add(running.len()));
        let mut rows = select.query(params![boot, now, most, now.plus(JUMP)])?;
        standing::sort_out_but(&mut rows, running, limit)?
    };
    let mut rescued = Rescued::default();
    for mut message in found {
        let reason = take_back(unit, &mut message, now, window)?;
        reach(Point::RescueWritten);
        match message.state {
            State::Queued => rescued.queued.push(message.id),
            State::Unknown if reason == rules::QUARANTINED => rescued.quarantined.push(message.id),
            State::Unknown => rescued.unknown.push(message.id),
            state => rescued.settled.push((message.id, state)),
        }
    }
    for row in broken {
        row.set_aside(unit, now)?;
    }
    Ok(rescued)
}

/// → the reason that it was given.
fn take_back(
    unit: &mut Unit<'_>,
    message: &mut Standing,
    now: Timestamp,
    window: Duration,
) -> Result<&'static str, Error> {
    let doubtful_since = message.doubtful_since.or(message.leased_at).unwrap_or(now);
    let to = rules::after_crash(message.on_unknown, doubtful_since, now, window);
    unit.tx
        .prepare_cached("UPDATE messages SET doubtful_since = ?2, due_at = ?3 WHERE rowid = ?1")?
        .execute(params![message.rowid, doubtful_since, now])?;
    let (state, reason) = match to {
        State::Queued if crashes_before(unit, message.rowid)? + 1 >= CRASHES => (State::Unknown, rules::QUARANTINED),
        state => (state, rules::CRASH),
    };
    message.change(unit, state, Some(reason), now)?;
    // Its receipt may have come while it was sending.
    let kept = receipts::meant_for(unit, &message.account, &message.touser, message.id, doubtful_since)?;
    if let Some(kept) = kept {
        receipts::deliver(unit, message, &kept.msgid, &kept.verdict, now)?;
        receipts::use_up(unit, &message.account, &kept, message.id)?;
    }
    Ok(reason)
}

fn crashes_before(unit: &Unit<'_>, rowid: i64) -> Result<usize, Error> {
    let mut select = unit.tx.prepare_cached("SELECT history FROM messages WHERE rowid = ?1")?;
    let history: String = select.query_row([rowid], |row| row.get(0))?;
    Ok(rules::crashes_in_a_row(&history))
}

pub(super) fn expire(unit: &mut Unit<'_>, now: Timestamp, limit: usize) -> Result<Vec<(MessageId, State)>, Error> {
    let sql = format!(
        "SELECT {} FROM messages WHERE state IN ('scheduled', 'queued') AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        standing::COLUMNS
    );
    let (found, broken) = {
        let mut select = unit.tx.prepare_cached(&sql)?;
        standing::sort_out(&mut select.query(params![now, bounds::limit(limit)])?)?
    };
    let mut expired = Vec::with_capacity(found.len());
    for mut message in found {
        let to = rules::after_expiry(message.doubtful_since);
        message.change(unit, to, Some(rules::EXPIRED), now)?;
        reach(Point::ExpireWritten);
        expired.push((message.id, to));
    }
    for row in broken {
        row.set_aside(unit, now)?;
    }
    Ok(expired)
}
