//! Lending messages: due rows in, leases out. A row that cannot be read is set aside and holds up no other.

use std::time::Duration;

use rusqlite::{Row, params};

use super::history;
use super::row::{self, Fields};
use super::standing::Broken;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::store::Error;

/// What one due row is good for.
enum Due {
    Lendable { rowid: i64, from: State, lease: Lease },
    Broken(Broken),
}

pub(super) fn lease(
    unit: &mut Unit<'_>,
    boot: &str,
    lane: Lane,
    limit: usize,
    now: Timestamp,
    hold: Duration,
) -> Result<Vec<Lease>, Error> {
    let until = now.plus(hold);
    let mut leases = Vec::new();
    for due in due(unit, lane, limit, now, until)? {
        match due {
            Due::Lendable { rowid, from, lease } => {
                lend(unit, rowid, boot, now, until)?;
                unit.deltas.moved(&lease.account, lane, from, State::Sending);
                leases.push(lease);
            }
            Due::Broken(broken) => broken.set_aside(unit, now)?,
        }
    }
    Ok(leases)
}

pub(super) fn extend(unit: &Unit<'_>, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE messages SET lease_until = ?3 WHERE id = ?1 AND lease_generation = ?2 AND state = 'sending'",
    )?;
    Ok(update.execute(params![message_id, generation, until])? == 1)
}

fn due(unit: &Unit<'_>, lane: Lane, limit: usize, now: Timestamp, until: Timestamp) -> Result<Vec<Due>, Error> {
    let mut select = unit.tx.prepare_cached(
        "SELECT rowid, id, account, lane, touser, body, on_unknown, state, created_at, expires_at, lease_generation, tries,
            doubtful_since, busy_since, trace
         FROM messages
         WHERE lane = ?1 AND state IN ('scheduled', 'queued') AND due_at <= ?2 AND expires_at > ?2
         ORDER BY due_at, rowid LIMIT ?3",
    )?;
    let mut rows = select.query(params![lane, now, row::limit(limit)])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(match read_lease(row, lane, until) {
            Ok((rowid, from, lease)) => Due::Lendable { rowid, from, lease },
            Err(error) => Due::Broken(Broken::new(row, error)?),
        });
    }
    Ok(due)
}

fn read_lease(row: &Row<'_>, lane: Lane, until: Timestamp) -> Result<(i64, State, Lease), Error> {
    let fields = Fields::new(row, "messages", "id");
    let lease = Lease {
        message_id: fields.parsed("id", MessageId::parse)?,
        generation: fields.get::<i64>("lease_generation")? + 1,
        until,
        account: fields.get::<String>("account")?.into(),
        touser: fields.parsed("touser", Openid::parse)?,
        body: fields.get("body")?,
        lane,
        on_unknown: fields.parsed("on_unknown", OnUnknown::parse)?,
        created_at: fields.get("created_at")?,
        expires_at: fields.get("expires_at")?,
        tries: fields.get("tries")?,
        doubtful_since: fields.get("doubtful_since")?,
        busy_since: fields.get("busy_since")?,
        trace: fields.get("trace")?,
    };
    Ok((fields.get("rowid")?, fields.parsed("state", State::parse)?, lease))
}

fn lend(unit: &Unit<'_>, rowid: i64, boot: &str, now: Timestamp, until: Timestamp) -> Result<(), Error> {
    unit.tx
        .prepare_cached(
            "UPDATE messages SET state = 'sending', state_reason = NULL, lease_generation = lease_generation + 1,
                lease_boot = ?2, leased_at = ?3, lease_until = ?4, updated_at = ?3, history = history || ?5
             WHERE rowid = ?1",
        )?
        .execute(params![rowid, boot, now, until, history::line(State::Sending, now, None)?])?;
    Ok(())
}
