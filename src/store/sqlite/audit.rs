//! `Audit`: acts, written by the verbs that they tell of.

use async_trait::async_trait;
use rusqlite::types::Value as Column;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::Sqlite;
use super::fault::unavailable;
use super::readers::PATIENCE;
use super::row::Fields;
use super::writer::Unit;
use crate::domain::audit::{Act, ActFilter, Action, Actor, Origin};
use crate::domain::clock::Timestamp;
use crate::domain::ids::AuditId;
use crate::domain::page::{Page, PageRequest};
use crate::store::audit::{self, Conditions, Value};
use crate::store::bounds::{self, lowest_id};
use crate::store::{Audit, Error};

#[async_trait]
impl Audit for Sqlite {
    async fn list(&self, filter: ActFilter, page: PageRequest) -> Result<Page<Act>, Error> {
        self.readers.read_within(PATIENCE, move |conn| list(conn, &filter, &page)).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget(unit, before, limit)).await
    }
}

/// In the transaction of the change.
pub(super) fn write(unit: &Unit<'_>, act: &Act) -> Result<(), Error> {
    let Act { id, at, actor, action, account, object, details } = act;
    let details = serde_json::to_string(details)
        .map_err(|error| unavailable(format!("an act cannot be written down: {error}")))?;
    unit.tx
        .prepare_cached(
            "INSERT INTO audit (id, at, actor, key_id, action, account, object, details, request_id, remote)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            id.to_string(),
            at,
            actor.name,
            actor.key_id,
            action.as_str(),
            account,
            object,
            details,
            actor.origin.request_id.as_deref(),
            actor.origin.remote.map(|remote| remote.to_string()),
        ])?;
    Ok(())
}

fn list(conn: &Connection, filter: &ActFilter, page: &PageRequest) -> Result<Page<Act>, Error> {
    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let Conditions { sql, values } = Conditions::new(filter, page);
    let mut values: Vec<Column> = values
        .into_iter()
        .map(|value| match value {
            Value::Text(text) => Column::Text(text),
            Value::Time(at) => Column::Integer(at.as_millis()),
        })
        .collect();
    values.push(Column::Integer(bounds::limit(limit + 1)));
    let sql = format!(
        "SELECT id, at, actor, key_id, action, account, object, details, request_id, remote FROM audit
         WHERE {sql} ORDER BY id DESC LIMIT ?"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut acts = Vec::new();
    while let Some(row) = rows.next()? {
        acts.push(read(row)?);
    }
    Ok(audit::page(acts, limit))
}

fn forget(unit: &Unit<'_>, before: Timestamp, limit: usize) -> Result<usize, Error> {
    let mut delete = unit
        .tx
        .prepare_cached("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ?1 ORDER BY id LIMIT ?2)")?;
    Ok(delete.execute(params![lowest_id(AuditId::PREFIX, before), bounds::limit(limit)])?)
}

fn read(row: &Row<'_>) -> Result<Act, Error> {
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
