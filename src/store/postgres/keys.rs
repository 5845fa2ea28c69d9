//! `Keys`: what `wxgate key` made.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{Postgres, audit};
use crate::domain::audit::Act;
use crate::domain::caller::{Key, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;
use crate::store::{Error, Keys, keys};

const SELECT: &str = "SELECT id, client, secret_sha256, scopes, accounts, templates, created_at, expires_at, revoked_at, \
     sealed_secret, last_used_at FROM keys";

#[async_trait]
impl Keys for Postgres {
    async fn add(&self, key: Key, act: Act) -> Result<(), Error> {
        self.writer.run(Add { key, act, sealer: self.sealer.clone() }).await
    }

    async fn list(&self) -> Result<Vec<Key>, Error> {
        let rows = self.readers.quick().await?.rows(&format!("{SELECT} ORDER BY created_at, id"), &[]).await?;
        rows.iter().map(|row| read(row, &self.sealer)).collect()
    }

    async fn look_up(&self, id: &str) -> Result<Option<Key>, Error> {
        let found = self.readers.quick().await?.row(&format!("{SELECT} WHERE id = $1"), &[&id]).await?;
        found.as_ref().map(|row| read(row, &self.sealer)).transpose()
    }

    async fn revoke(&self, id: &str, now: Timestamp, act: Act) -> Result<bool, Error> {
        self.writer.run(Revoke { id: id.to_owned(), now, act }).await
    }

    async fn touch(&self, used: Vec<(String, Timestamp)>) -> Result<(), Error> {
        self.writer.run(Touch { used }).await
    }

    async fn version(&self) -> Result<i64, Error> {
        let select = "SELECT name, value FROM totals WHERE name = 'keys' AND boot = ''";
        let row = self.readers.quick().await?.row(select, &[]).await?;
        let row = row.ok_or_else(|| unavailable("a row of totals is missing"))?;
        Fields::new(&row, "totals", "name").get("value")
    }
}

struct Add {
    key: Key,
    act: Act,
    sealer: Sealer,
}

#[async_trait]
impl Command for Add {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let Self { key, act, sealer } = self;
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let insert = "INSERT INTO keys
                (id, client, secret_sha256, scopes, accounts, templates, created_at, expires_at, revoked_at,
                sealed_secret, last_used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        unit.execute(
            insert,
            &[
                &key.id,
                &key.client,
                &key.secret_sha256,
                &scopes.join(" "),
                &key.accounts.as_deref().map(json).transpose()?,
                &key.templates.as_deref().map(json).transpose()?,
                &key.created_at,
                &key.expires_at,
                &key.revoked_at,
                &keys::seal(sealer, key)?,
                &key.last_used_at,
            ],
        )
        .await?;
        audit::write(unit, act).await?;
        changed(unit).await
    }
}

struct Revoke {
    id: String,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Revoke {
    type Answer = bool;

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let update = "UPDATE keys SET revoked_at = $2, sealed_secret = NULL WHERE id = $1 AND revoked_at IS NULL";
        let revoked = unit.execute(update, &[&self.id, &self.now]).await? == 1;
        if revoked {
            audit::write(unit, &self.act).await?;
            changed(unit).await?;
        }
        Ok(revoked)
    }
}

struct Touch {
    used: Vec<(String, Timestamp)>,
}

#[async_trait]
impl Command for Touch {
    type Answer = ();

    /// Two nodes that touch the same rows in another order would wait for each other.
    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::key_uses()]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let (ids, times): (Vec<&str>, Vec<Timestamp>) = self.used.iter().map(|(id, at)| (id.as_str(), *at)).unzip();
        let update = "UPDATE keys SET last_used_at = greatest(last_used_at, used.at)
             FROM unnest($1::text[], $2::bigint[]) AS used (id, at) WHERE keys.id = used.id";
        unit.execute(update, &[&ids, &times]).await?;
        Ok(())
    }
}

/// Pollers see it, in every process. The row belongs to no process, so each change waits for the one before.
async fn changed(unit: &Unit<'_>) -> Result<(), Error> {
    unit.execute("UPDATE totals SET value = value + 1 WHERE name = 'keys' AND boot = ''", &[]).await?;
    Ok(())
}

fn read(row: &Row, sealer: &Sealer) -> Result<Key, Error> {
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
