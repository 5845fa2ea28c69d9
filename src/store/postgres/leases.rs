//! Lending messages: due rows in, leases out. A row that cannot be read is set aside and holds up no other.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::row::Fields;
use super::sql::Sql;
use super::standing::Broken;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::store::turns::Turns;
use crate::store::{Error, OpenAccount, bounds, history};

/// The clients of a lane and account with anything that waits, in alphabetical order, and when the first of it is due: a look
/// into `messages_due` for each client, however much waits.
const FIRST_DUES: &str = "
    WITH RECURSIVE clients AS (
        (SELECT client, due_at FROM messages
         WHERE lane = $1 AND account = $2 AND state IN ('scheduled', 'queued') ORDER BY client, due_at LIMIT 1)
        UNION ALL
        SELECT next.client, next.due_at FROM clients, LATERAL (
            SELECT client, due_at FROM messages
            WHERE lane = $1 AND account = $2 AND state IN ('scheduled', 'queued') AND client > clients.client
            ORDER BY client, due_at LIMIT 1) AS next)
    SELECT client, due_at FROM clients";

/// Lends the due rows of one lane, account and client: a walk along one stretch of `messages_due`, past those that another node is
/// lending at this moment. `state` is the one before.
const LEND: &str = "
    WITH due AS (
        SELECT id, state, due_at FROM messages
        WHERE lane = $1 AND account = $2 AND client = $8 AND state IN ('scheduled', 'queued') AND due_at <= $3
            AND expires_at > $3
        ORDER BY due_at, id LIMIT $4 FOR UPDATE SKIP LOCKED)
    UPDATE messages AS m SET state = 'sending', state_reason = NULL, lease_generation = m.lease_generation + 1,
        lease_boot = $5, leased_at = $3, lease_until = $6, updated_at = $3, history = m.history || $7
    FROM due WHERE m.id = due.id
    RETURNING m.id, m.account, m.lane, m.touser, m.body, m.on_unknown, due.state, m.created_at, m.expires_at,
        m.lease_generation, m.tries, m.doubtful_since, m.busy_since, m.trace, due.due_at";

/// `$2`: how long the line of history is that [`LEND`] has written.
const GIVE_BACK: &str = "UPDATE messages SET lease_generation = lease_generation - 1, history = left(history, -$2::int)
     WHERE id = $1";

/// Who may be lent what, and until when.
pub(super) struct LendDue {
    pub(super) boot: String,
    pub(super) lane: Lane,
    pub(super) open: Vec<OpenAccount>,
    pub(super) turns: Arc<Turns>,
    pub(super) limit: usize,
    pub(super) now: Timestamp,
    pub(super) until: Timestamp,
}

#[async_trait]
impl Command for LendDue {
    type Answer = Vec<Lease>;

    async fn run(&self, unit: &Unit<'_>) -> Result<Vec<Lease>, Error> {
        let mut leases = Vec::new();
        for account in &self.open {
            let wanted = account.room.min(self.limit - leases.len());
            if wanted > 0 {
                self.lend(unit, &account.name, wanted, &mut leases).await?;
            }
        }
        Ok(leases)
    }
}

impl LendDue {
    /// Up to `wanted` messages of one account, its clients by turns.
    async fn lend(
        &self,
        unit: &Unit<'_>,
        account: &Arc<str>,
        wanted: usize,
        leases: &mut Vec<Lease>,
    ) -> Result<(), Error> {
        let mut clients = Vec::new();
        for row in unit.rows(FIRST_DUES, &[&self.lane, &&**account]).await? {
            let fields = Fields::new(&row, "messages", "client");
            if fields.get::<Timestamp>("due_at")? <= self.now {
                clients.push(fields.get("client")?);
            }
        }
        let mut round = self.turns.begin(self.lane, account, clients, wanted);
        while let Some((client, share)) = round.next() {
            let before = leases.len();
            self.lend_from(unit, account, &client, share, leases).await?;
            round.took(client, share, leases.len() - before);
        }
        self.turns.end(self.lane, account, round);
        Ok(())
    }

    /// Up to `wanted` messages of one client.
    async fn lend_from(
        &self,
        unit: &Unit<'_>,
        account: &Arc<str>,
        client: &str,
        mut wanted: usize,
        leases: &mut Vec<Lease>,
    ) -> Result<(), Error> {
        let line = history::line(State::Sending, self.now, None)?;
        let length = i32::try_from(line.chars().count()).unwrap_or(i32::MAX);
        loop {
            let limit = bounds::limit(wanted);
            let values: super::sql::Values<'_> =
                &[&self.lane, &&**account, &self.now, &limit, &self.boot, &self.until, &line, &client];
            let rows = unit.rows(LEND, values).await?;
            let mut broken_ones = 0;
            for row in in_order(rows)? {
                match self.read(&row, account) {
                    Ok((from, lease)) => {
                        unit.lent(&lease, from);
                        leases.push(lease);
                        reach(Point::LeaseWritten);
                    }
                    Err(error) => {
                        broken_ones += 1;
                        let broken = Broken::new(&row, error)?;
                        unit.execute(GIVE_BACK, &[&broken.id, &length]).await?;
                        broken.set_aside(unit, self.now).await?;
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

    fn read(&self, row: &Row, account: &Arc<str>) -> Result<(State, Lease), Error> {
        let fields = Fields::new(row, "messages", "id");
        let lease = Lease {
            message_id: fields.parsed("id", MessageId::parse)?,
            generation: fields.get("lease_generation")?,
            until: self.until,
            account: account.clone(),
            touser: fields.parsed("touser", Openid::parse)?,
            body: fields.get::<String>("body")?.into(),
            lane: self.lane,
            on_unknown: fields.parsed("on_unknown", OnUnknown::parse)?,
            created_at: fields.get("created_at")?,
            expires_at: fields.get("expires_at")?,
            tries: fields.count("tries")?,
            doubtful_since: fields.get("doubtful_since")?,
            busy_since: fields.get("busy_since")?,
            trace: fields.get("trace")?,
        };
        Ok((fields.parsed("state", State::parse)?, lease))
    }
}

/// Oldest due first: an update gives its rows in any order.
fn in_order(rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    let date = |row: &Row| {
        let fields = Fields::new(row, "messages", "id");
        Ok::<_, Error>((fields.get::<Timestamp>("due_at")?, fields.get::<String>("id")?))
    };
    let mut dated = rows.into_iter().map(|row| Ok((date(&row)?, row))).collect::<Result<Vec<_>, Error>>()?;
    dated.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(dated.into_iter().map(|(_, row)| row).collect())
}

pub(super) struct Extend {
    pub(super) message_id: MessageId,
    pub(super) generation: i64,
    pub(super) until: Timestamp,
}

#[async_trait]
impl Command for Extend {
    type Answer = bool;

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let update =
            "UPDATE messages SET lease_until = $3 WHERE id = $1 AND lease_generation = $2 AND state = 'sending'";
        Ok(unit.execute(update, &[&self.message_id, &self.generation, &self.until]).await? == 1)
    }
}
