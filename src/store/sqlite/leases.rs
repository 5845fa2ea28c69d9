//! Lending messages: due rows in, leases out. A row that cannot be read is set aside and holds up no other.

use std::sync::Arc;

use rusqlite::{Row, params};

use super::row::Fields;
use super::standing::Broken;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::store::{Error, OpenAccount, bounds, history};

/// The due rows of one lane and account: a walk along one stretch of `messages_due`.
const DUE: &str = "SELECT rowid, id, account, lane, touser, body, on_unknown, state, created_at, expires_at,
        lease_generation, tries, doubtful_since, busy_since, trace
     FROM messages INDEXED BY messages_due
     WHERE lane = ?1 AND account = ?2 AND state IN ('scheduled', 'queued') AND due_at <= ?3 AND expires_at > ?3
     ORDER BY due_at, rowid LIMIT ?4";

/// What one due row is good for.
enum Due {
    Lendable { rowid: i64, from: State, lease: Lease },
    Broken(Broken),
}

/// Who may be lent what, and until when.
pub(super) struct Terms {
    pub(super) boot: String,
    pub(super) lane: Lane,
    pub(super) open: Vec<OpenAccount>,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
    pub(super) until: Timestamp,
}

pub(super) fn lease(unit: &mut Unit<'_>, terms: &Terms) -> Result<Vec<Lease>, Error> {
    let mut leases = Vec::new();
    for account in &terms.open {
        let wanted = account.room.min(terms.limit - leases.len());
        if wanted > 0 {
            lease_of(unit, terms, &account.name, wanted, &mut leases)?;
        }
    }
    Ok(leases)
}

/// Up to `wanted` messages of one account.
fn lease_of(
    unit: &mut Unit<'_>,
    terms: &Terms,
    account: &Arc<str>,
    mut wanted: usize,
    leases: &mut Vec<Lease>,
) -> Result<(), Error> {
    loop {
        let mut broken_ones = 0;
        for due in due(unit, terms, account, wanted)? {
            match due {
                Due::Lendable { rowid, from, lease } => {
                    lend(unit, rowid, terms)?;
                    unit.lent(&lease.account, terms.lane, from);
                    leases.push(lease);
                    reach(Point::LeaseWritten);
                }
                Due::Broken(broken) => {
                    broken_ones += 1;
                    broken.set_aside(unit, terms.now)?;
                }
            }
        }
        // What was set aside took the place of others.
        wanted = broken_ones;
        if wanted == 0 {
            return Ok(());
        }
    }
}

pub(super) fn extend(unit: &Unit<'_>, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE messages SET lease_until = ?3 WHERE id = ?1 AND lease_generation = ?2 AND state = 'sending'",
    )?;
    Ok(update.execute(params![message_id, generation, until])? == 1)
}

fn due(unit: &Unit<'_>, terms: &Terms, account: &Arc<str>, limit: usize) -> Result<Vec<Due>, Error> {
    let mut select = unit.tx.prepare_cached(DUE)?;
    let mut rows = select.query(params![terms.lane, &**account, terms.now, bounds::limit(limit)])?;
    let mut due = Vec::new();
    while let Some(row) = rows.next()? {
        due.push(match read_lease(row, terms, account) {
            Ok((rowid, from, lease)) => Due::Lendable { rowid, from, lease },
            Err(error) => Due::Broken(Broken::new(row, error)?),
        });
    }
    Ok(due)
}

fn read_lease(row: &Row<'_>, terms: &Terms, account: &Arc<str>) -> Result<(i64, State, Lease), Error> {
    let fields = Fields::new(row, "messages", "id");
    let lease = Lease {
        message_id: fields.parsed("id", MessageId::parse)?,
        generation: fields.get::<i64>("lease_generation")? + 1,
        until: terms.until,
        account: account.clone(),
        touser: fields.parsed("touser", Openid::parse)?,
        body: fields.get("body")?,
        lane: terms.lane,
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

fn lend(unit: &Unit<'_>, rowid: i64, terms: &Terms) -> Result<(), Error> {
    let Terms { boot, now, until, .. } = terms;
    unit.tx
        .prepare_cached(
            "UPDATE messages SET state = 'sending', state_reason = NULL, lease_generation = lease_generation + 1,
                lease_boot = ?2, leased_at = ?3, lease_until = ?4, updated_at = ?3, history = history || ?5
             WHERE rowid = ?1",
        )?
        .execute(params![rowid, boot, now, until, history::line(State::Sending, *now, None)?])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_is_due_is_neither_sorted_nor_searched_for() {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {DUE}")).unwrap();
        let lines =
            select.query_map(params![Lane::Normal, "shop", 1, 1], |row| row.get::<_, String>("detail")).unwrap();
        let plan = lines.map(Result::unwrap).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("messages_due (lane=? AND account=? AND due_at<?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
