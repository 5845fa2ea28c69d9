//! Repairs after the clock of this node was set back: rows that wait by dates of a clock that ran ahead.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::standing::{self, Standing};
use crate::domain::clock::{JUMP, Timestamp};
use crate::domain::state::State;
use crate::store::rules::WINDOW_OVER;
use crate::store::{Error, Realigned, bounds};

/// The rows that are wrong by this clock: `$1` the latest date that is right, `$2` whether it was seen to jump.
const WRONG: &str = "state = 'queued'
    AND (updated_at > $1 OR ($2 AND (doubtful_since IS NOT NULL OR busy_since IS NOT NULL)))";

impl Postgres {
    pub(super) async fn put_right(&self, now: Timestamp, jumped: bool, limit: usize) -> Result<Realigned, Error> {
        let select = format!("SELECT id, account, touser FROM messages WHERE {WRONG} LIMIT $3");
        let latest = now.plus(JUMP);
        let rows = self.readers.quick().await?.rows(&select, &[&latest, &jumped, &bounds::limit(limit)]).await?;
        let (mut ids, mut users) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            let fields = Fields::new(row, "messages", "id");
            ids.push(fields.get::<String>("id")?);
            users.push(LockKey::user(fields.get("account")?, fields.get("touser")?));
        }
        if ids.is_empty() {
            return Ok(Realigned::default());
        }
        self.writer.run(Realign { now, jumped, ids, users }).await
    }
}

struct Realign {
    now: Timestamp,
    jumped: bool,
    ids: Vec<String>,
    users: Vec<LockKey>,
}

#[async_trait]
impl Command for Realign {
    type Answer = Realigned;

    fn keys(&self) -> Vec<LockKey> {
        self.users.clone()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Realigned, Error> {
        let select = format!(
            "SELECT {}, (doubtful_since IS NOT NULL OR busy_since IS NOT NULL) AS may_be_there
             FROM messages WHERE {WRONG} AND id = ANY ($3::text[]) ORDER BY id FOR UPDATE",
            standing::COLUMNS
        );
        let rows = unit.rows(&select, &[&self.now.plus(JUMP), &self.jumped, &self.ids]).await?;
        let mut done = Realigned::default();
        for row in &rows {
            // One that cannot be read is left to `lease`.
            let Ok(mut message) = Standing::read(row) else { continue };
            if Fields::new(row, "messages", "id").get("may_be_there")? {
                message.change(unit, State::Unknown, Some(WINDOW_OVER), self.now).await?;
                done.unknown.push(message.id);
            } else {
                let update = "UPDATE messages SET due_at = $2 + greatest(due_at - updated_at, 0), updated_at = $2
                     WHERE id = $1";
                unit.execute(update, &[&message.id, &self.now]).await?;
                done.moved += 1;
            }
        }
        Ok(done)
    }
}
