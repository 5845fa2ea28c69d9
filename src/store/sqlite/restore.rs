//! `Restore`: what a restored backup shows as waiting, and what becomes of it.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit, standing};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::state::{Lane, State};
use crate::store::rules::RESTORED;
use crate::store::{Error, Restore, StateCount, bounds};

/// Ids and numbers grow with time: of callbacks and receipts the last one is the newest.
const NEWEST: &str = "SELECT max(at) FROM (
    SELECT max(updated_at) AS at FROM messages
    UNION ALL SELECT max(created_at) FROM idempotency
        WHERE created_at / 3600000 = (SELECT max(created_at / 3600000) FROM idempotency)
    UNION ALL SELECT * FROM (SELECT received_at FROM callbacks ORDER BY id DESC LIMIT 1)
    UNION ALL SELECT * FROM (SELECT received_at FROM receipts ORDER BY id DESC LIMIT 1)
    UNION ALL SELECT max(last_seen_at) FROM users
    UNION ALL SELECT max(max(created_at, coalesce(revoked_at, 0))) FROM keys
    UNION ALL SELECT max(fetched_at) FROM tokens
    UNION ALL SELECT max(updated_at) FROM accounts
    UNION ALL SELECT max(at) FROM audit)";

/// Two halves, each along its own index.
const AT_STAKE: [&str; 2] = ["state = 'sending' AND ?1 = ?1", "state IN ('scheduled', 'queued') AND due_at <= ?1"];

#[async_trait]
impl Restore for Sqlite {
    async fn newest(&self) -> Result<Option<Timestamp>, Error> {
        self.readers.read(|conn| Ok(conn.query_row(NEWEST, [], |row| row.get(0))?)).await
    }

    async fn at_stake(&self, now: Timestamp) -> Result<Vec<StateCount>, Error> {
        self.readers.read(move |conn| at_stake(conn, now)).await
    }

    async fn doubt(&self, now: Timestamp, limit: usize, act: Option<Act>) -> Result<usize, Error> {
        self.writer
            .run(move |unit| {
                act.iter().try_for_each(|act| audit::write(unit, act))?;
                doubt(unit, now, limit)
            })
            .await
    }
}

fn at_stake(conn: &Connection, now: Timestamp) -> Result<Vec<StateCount>, Error> {
    let mut lines = Vec::new();
    for half in AT_STAKE {
        let sql = format!(
            "SELECT account, lane, state, count(*) AS count FROM messages WHERE {half}
             GROUP BY account, lane, state ORDER BY account, lane, state"
        );
        let mut select = conn.prepare(&sql)?;
        let mut rows = select.query([now])?;
        while let Some(row) = rows.next()? {
            let fields = Fields::new(row, "messages", "account");
            lines.push(StateCount {
                account: fields.get("account")?,
                lane: fields.parsed("lane", Lane::parse).unwrap_or_default(),
                state: fields.parsed("state", State::parse)?,
                count: u64::try_from(fields.get::<i64>("count")?).unwrap_or(0),
            });
        }
    }
    Ok(lines)
}

fn doubt(unit: &mut Unit<'_>, now: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut touched = 0;
    for half in AT_STAKE {
        let sql = format!("SELECT {} FROM messages WHERE {half} LIMIT ?2", standing::COLUMNS);
        let (found, broken) = {
            let mut select = unit.tx.prepare_cached(&sql)?;
            standing::sort_out(&mut select.query(params![now, bounds::limit(limit - touched)])?)?
        };
        touched += found.len() + broken.len();
        for mut message in found {
            message.change(unit, State::Unknown, Some(RESTORED), now)?;
            unit.tx
                .prepare_cached("UPDATE messages SET doubtful_since = NULL WHERE rowid = ?1")?
                .execute([message.rowid])?;
        }
        for row in broken {
            row.set_aside(unit, now)?;
        }
    }
    Ok(touched)
}
