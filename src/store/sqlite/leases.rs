//! Lending messages: due rows in, leases out. A row that cannot be read is set aside and holds up no other.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::row::Fields;
use super::standing::Broken;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::store::turns::Turns;
use crate::store::{Error, OpenAccount, bounds, history};

/// The due rows of one lane, account and client: a walk along one stretch of `messages_due`.
const DUE: &str = "SELECT rowid, id, account, lane, touser, body, on_unknown, state, created_at, expires_at,
        lease_generation, tries, doubtful_since, busy_since, trace
     FROM messages INDEXED BY messages_due
     WHERE lane = ?1 AND account = ?2 AND client = ?5 AND state IN ('scheduled', 'queued') AND due_at <= ?3
        AND expires_at > ?3
     ORDER BY due_at, rowid LIMIT ?4";

/// The client after `?3` with anything that waits, and when the first of it is due: one look into `messages_due`.
const NEXT_CLIENT: &str = "SELECT client, due_at FROM messages INDEXED BY messages_due
     WHERE lane = ?1 AND account = ?2 AND state IN ('scheduled', 'queued') AND client > ?3
     ORDER BY client, due_at LIMIT 1";

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
    pub(super) turns: Arc<Turns>,
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

/// Up to `wanted` messages of one account, its clients by turns.
fn lease_of(
    unit: &mut Unit<'_>,
    terms: &Terms,
    account: &Arc<str>,
    wanted: usize,
    leases: &mut Vec<Lease>,
) -> Result<(), Error> {
    let waiting = first_dues(unit.tx, terms.lane, account)?;
    let clients = waiting.into_iter().filter(|(_, due_at)| *due_at <= terms.now).map(|(client, _)| client).collect();
    let mut round = terms.turns.begin(terms.lane, account, clients, wanted);
    while let Some((client, share)) = round.next() {
        let before = leases.len();
        lease_from(unit, terms, account, &client, share, leases)?;
        round.took(client, share, leases.len() - before);
    }
    terms.turns.end(terms.lane, account, round);
    Ok(())
}

/// Up to `wanted` messages of one client.
fn lease_from(
    unit: &mut Unit<'_>,
    terms: &Terms,
    account: &Arc<str>,
    client: &str,
    mut wanted: usize,
    leases: &mut Vec<Lease>,
) -> Result<(), Error> {
    loop {
        let mut broken_ones = 0;
        for due in due(unit, terms, account, client, wanted)? {
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

/// The clients of a lane and account with anything that waits, in alphabetical order, and when the first of it is due. Costs a
/// look for each client, however much waits.
pub(super) fn first_dues(conn: &Connection, lane: Lane, account: &str) -> Result<Vec<(String, Timestamp)>, Error> {
    let mut select = conn.prepare_cached(NEXT_CLIENT)?;
    let mut found: Vec<(String, Timestamp)> = Vec::new();
    loop {
        let last = found.last().map_or("", |(client, _)| client.as_str());
        let next = select.query_row(params![lane, account, last], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match next {
            Some(next) => found.push(next),
            None => return Ok(found),
        }
    }
}

pub(super) fn extend(unit: &Unit<'_>, message_id: MessageId, generation: i64, until: Timestamp) -> Result<bool, Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE messages SET lease_until = ?3 WHERE id = ?1 AND lease_generation = ?2 AND state = 'sending'",
    )?;
    Ok(update.execute(params![message_id, generation, until])? == 1)
}

fn due(unit: &Unit<'_>, terms: &Terms, account: &Arc<str>, client: &str, limit: usize) -> Result<Vec<Due>, Error> {
    let mut select = unit.tx.prepare_cached(DUE)?;
    let mut rows = select.query(params![terms.lane, &**account, terms.now, bounds::limit(limit), client])?;
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
        body: fields.get::<String>("body")?.into(),
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
    use rusqlite::types::Value;

    use super::*;

    fn plan(sql: &str, values: &[Value]) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = select.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>("detail")).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_due_is_neither_sorted_nor_searched_for() {
        let text = |text: &str| Value::Text(text.to_owned());
        let number = Value::Integer(1);
        let (lane, account, client) = (text("normal"), text("shop"), text("crm"));
        let due = plan(DUE, &[lane.clone(), account.clone(), number.clone(), number, client.clone()]);
        assert!(due.contains("messages_due (lane=? AND account=? AND client=? AND due_at<?)"), "{due}");
        let next = plan(NEXT_CLIENT, &[lane, account, client]);
        assert!(next.contains("messages_due (lane=? AND account=? AND client>?)"), "{next}");
        assert!(!(due + &next).contains("TEMP B-TREE"));
    }
}
