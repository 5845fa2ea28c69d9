//! `Restore`: what a restored backup shows as waiting, and what becomes of it.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::row::Fields;
use super::sql::Sql;
use super::{audit, nodes, standing};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::state::{Lane, State};
use crate::store::rules::RESTORED;
use crate::store::{Error, Restore, StateCount, bounds};

const NEWEST: &str = "SELECT max(at)::bigint AS at FROM (
    SELECT max(updated_at) AS at FROM messages
    UNION ALL SELECT max(created_at) FROM idempotency
    UNION ALL SELECT max(received_at) FROM callbacks
    UNION ALL SELECT max(received_at) FROM receipts
    UNION ALL SELECT max(last_seen_at) FROM users
    UNION ALL SELECT max(greatest(created_at, revoked_at)) FROM keys
    UNION ALL SELECT max(fetched_at) FROM tokens
    UNION ALL SELECT max(updated_at) FROM accounts
    UNION ALL SELECT max(at) FROM audit) AS dates";

/// `$1`: now.
const AT_STAKE: &str = "(state = 'sending' OR (state IN ('scheduled', 'queued') AND due_at <= $1))";

#[async_trait]
impl Restore for Postgres {
    async fn others(&self) -> Result<u64, Error> {
        let client = self.readers.unhurried().await?;
        nodes::others_alive(&client, &self.boot).await
    }

    async fn newest(&self) -> Result<Option<Timestamp>, Error> {
        let client = self.readers.unhurried().await?;
        let row = Unit::new(&client).row(NEWEST, &[]).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get("at")?))
    }

    async fn at_stake(&self, now: Timestamp) -> Result<Vec<StateCount>, Error> {
        let select = format!(
            "SELECT account, lane, state, count(*) AS count FROM messages WHERE {AT_STAKE}
             GROUP BY account, lane, state ORDER BY account, lane, state"
        );
        let client = self.readers.unhurried().await?;
        let rows = Unit::new(&client).rows(&select, &[&now]).await?;
        let lines = rows.iter().map(|row| {
            let fields = Fields::new(row, "messages", "account");
            Ok(StateCount {
                account: fields.get("account")?,
                lane: fields.parsed("lane", Lane::parse).unwrap_or_default(),
                state: fields.parsed("state", State::parse)?,
                count: u64::try_from(fields.get::<i64>("count")?).unwrap_or(0),
            })
        });
        lines.collect()
    }

    async fn doubt(&self, now: Timestamp, limit: usize, act: Option<Act>) -> Result<usize, Error> {
        self.writer.run(Doubt { now, limit, act }).await
    }
}

/// Nobody serves the database: no person's lock is needed.
struct Doubt {
    now: Timestamp,
    limit: usize,
    act: Option<Act>,
}

#[async_trait]
impl Command for Doubt {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        if let Some(act) = &self.act {
            audit::write(unit, act).await?;
        }
        let select = format!("SELECT {} FROM messages WHERE {AT_STAKE} LIMIT $2 FOR UPDATE", standing::COLUMNS);
        let rows = unit.rows(&select, &[&self.now, &bounds::limit(self.limit)]).await?;
        let (found, broken) = standing::sort_out(&rows)?;
        for mut message in found {
            message.change(unit, State::Unknown, Some(RESTORED), self.now).await?;
            unit.execute("UPDATE messages SET doubtful_since = NULL WHERE id = $1", &[&message.id]).await?;
        }
        for row in broken {
            row.set_aside(unit, self.now).await?;
        }
        Ok(rows.len())
    }
}
