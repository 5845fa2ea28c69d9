//! `Keys`: what `wxgate key` made.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::fault::unavailable;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::caller::{Key, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;
use crate::store::{Error, Keys, keys};

const SELECT: &str = "SELECT id, client, secret_sha256, scopes, accounts, templates, created_at, expires_at, revoked_at, \
     sealed_secret, last_used_at FROM keys";

#[async_trait]
impl Keys for Sqlite {
    async fn add(&self, key: Key, act: Act) -> Result<(), Error> {
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| add(unit, &sealer, &key, &act)).await
    }

    async fn list(&self) -> Result<Vec<Key>, Error> {
        let sealer = self.sealer.clone();
        self.readers.read(move |conn| list(conn, &sealer)).await
    }

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error> {
        let (id, sealer) = (id.to_owned(), self.sealer.clone());
        self.readers.read(move |conn| look_up(conn, &sealer, &id)).await
    }

    async fn revoke(&self, id: &str, now: Timestamp, act: Act) -> Result<bool, Error> {
        let id = id.to_owned();
        self.writer.run(move |unit| revoke(unit, &id, now, &act)).await
    }

    async fn touch(&self, used: Vec<(String, Timestamp)>) -> Result<(), Error> {
        self.writer.run(move |unit| touch(unit, &used)).await
    }

    async fn version(&self) -> Result<i64, Error> {
        self.readers.read(version).await
    }
}

fn add(unit: &Unit<'_>, sealer: &Sealer, key: &Key, act: &Act) -> Result<(), Error> {
    let sealed = keys::seal(sealer, key)?;
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    unit.tx
        .prepare_cached(
            "INSERT INTO keys (id, client, secret_sha256, scopes, accounts, templates, created_at, expires_at, revoked_at,
                sealed_secret, last_used_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            key.id,
            key.client,
            key.secret_sha256,
            scopes.join(" "),
            key.accounts.as_deref().map(json).transpose()?,
            key.templates.as_deref().map(json).transpose()?,
            key.created_at,
            key.expires_at,
            key.revoked_at,
            sealed,
            key.last_used_at,
        ])?;
    audit::write(unit, act)?;
    changed(unit)
}

fn revoke(unit: &Unit<'_>, id: &str, now: Timestamp, act: &Act) -> Result<bool, Error> {
    let revoked = unit
        .tx
        .prepare_cached("UPDATE keys SET revoked_at = ?2, sealed_secret = NULL WHERE id = ?1 AND revoked_at IS NULL")?
        .execute(params![id, now])?;
    if revoked == 1 {
        audit::write(unit, act)?;
        changed(unit)?;
    }
    Ok(revoked == 1)
}

fn touch(unit: &Unit<'_>, used: &[(String, Timestamp)]) -> Result<(), Error> {
    let mut update =
        unit.tx.prepare_cached("UPDATE keys SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE id = ?1")?;
    for (id, at) in used {
        update.execute(params![id, at])?;
    }
    Ok(())
}

/// Pollers see it, in every process. (`PRAGMA data_version` would also grow with every message.)
fn changed(unit: &Unit<'_>) -> Result<(), Error> {
    unit.tx.prepare_cached("UPDATE totals SET value = value + 1 WHERE name = 'keys'")?.execute([])?;
    Ok(())
}

fn version(conn: &Connection) -> Result<i64, Error> {
    let mut select = conn.prepare_cached("SELECT value FROM totals WHERE name = 'keys'")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

fn list(conn: &Connection, sealer: &Sealer) -> Result<Vec<Key>, Error> {
    let mut select = conn.prepare_cached(&format!("{SELECT} ORDER BY created_at, id"))?;
    let mut rows = select.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(read(row, sealer)?);
    }
    Ok(keys)
}

fn look_up(conn: &Connection, sealer: &Sealer, id: &str) -> Result<Option<Key>, Error> {
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    let mut rows = select.query([id])?;
    rows.next()?.map(|row| read(row, sealer)).transpose()
}

fn read(row: &Row<'_>, sealer: &Sealer) -> Result<Key, Error> {
    let fields = Fields::new(row, "keys", "id");
    let id: String = fields.get("id")?;
    Ok(Key {
        signing: keys::open(sealer, &id, fields.get("sealed_secret")?),
        id,
        client: fields.get("client")?,
        secret_sha256: fields.get("secret_sha256")?,
        scopes: fields.parsed("scopes", |text| text.split_whitespace().map(Scope::parse).collect())?,
        accounts: fields.maybe("accounts", |text| serde_json::from_str(text).ok())?,
        templates: fields.maybe("templates", |text| serde_json::from_str(text).ok())?,
        created_at: fields.get("created_at")?,
        expires_at: fields.get("expires_at")?,
        revoked_at: fields.get("revoked_at")?,
        last_used_at: fields.get("last_used_at")?,
    })
}

fn json(names: &[String]) -> Result<String, Error> {
    serde_json::to_string(names).map_err(|error| unavailable(format!("a key cannot be written: {error}")))
}
