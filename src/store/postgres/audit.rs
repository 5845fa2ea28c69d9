//! `Audit`: acts, written by the verbs that they tell of.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Postgres;
use super::command::{Command, Unit};
use super::fault::unavailable;
use super::row::Fields;
use super::sql::{Sql, numbered};
use crate::domain::audit::{Act, ActFilter, Action, Actor, Origin};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AuditId;
use crate::domain::page::{Page, PageRequest};
use crate::store::audit::{self, Conditions, Value};
use crate::store::bounds::{self, lowest_id};
use crate::store::{Audit, Error};

#[async_trait]
impl Audit for Postgres {
    async fn list(&self, filter: ActFilter, page: PageRequest) -> Result<Page<Act>, Error> {
        let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
        let Conditions { sql, values } = Conditions::new(&filter, &page);
        let most = bounds::limit(limit + 1);
        let mut given: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| -> &(dyn ToSql + Sync) {
                match value {
                    Value::Text(text) => text,
                    Value::Time(at) => at,
                }
            })
            .collect();
        given.push(&most);
        let sql = numbered(&format!(
            "SELECT id, at, actor, key_id, action, account, object, details, request_id, remote FROM audit
             WHERE {sql} ORDER BY id DESC LIMIT ?"
        ));
        let rows = self.readers.slow().await?.rows(&sql, &given).await?;
        let acts = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(audit::page(acts, limit))
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(Forget { before, limit }).await
    }
}

/// In the transaction of the change.
pub(super) async fn write(unit: &Unit<'_>, act: &Act) -> Result<(), Error> {
    let Act { id, at, actor, action, account, object, details } = act;
    let details = serde_json::to_string(details)
        .map_err(|error| unavailable(format!("an act cannot be written down: {error}")))?;
    let insert = "INSERT INTO audit (id, at, actor, key_id, action, account, object, details, request_id, remote)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    unit.execute(
        insert,
        &[
            &id.to_string(),
            at,
            &actor.name,
            &actor.key_id,
            &action.as_str(),
            account,
            object,
            &details,
            &actor.origin.request_id.as_deref(),
            &actor.origin.remote.map(|remote| remote.to_string()),
        ],
    )
    .await?;
    Ok(())
}

struct Forget {
    before: Timestamp,
    limit: usize,
}

#[async_trait]
impl Command for Forget {
    type Answer = usize;

    async fn run(&self, unit: &Unit<'_>) -> Result<usize, Error> {
        let delete = "DELETE FROM audit WHERE id = ANY (ARRAY(
                SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))";
        let before = lowest_id(AuditId::PREFIX, self.before);
        let count = unit.execute(delete, &[&before, &bounds::limit(self.limit)]).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

fn read(row: &Row) -> Result<Act, Error> {
    let fields = Fields::new(row, "audit", "id");
    let request_id: Option<String> = fields.get("request_id")?;
    Ok(Act {
        id: fields.parsed("id", AuditId::parse)?,
        at: fields.get("at")?,
        actor: Actor {
            name: fields.get("actor")?,
            key_id: fields.get("key_id")?,
            origin: Origin {
                request_id: request_id.map(Into::into),
                remote: fields.maybe("remote", |text| text.parse().ok())?,
            },
        },
        action: fields.parsed("action", Action::parse)?,
        account: fields.get("account")?,
        object: fields.get("object")?,
        details: fields.parsed("details", |text| serde_json::from_str(text).ok())?,
    })
}
