//! `Accounts`: those made at run time.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{Postgres, audit};
use crate::domain::account::{AccountOptions, AccountSettings, StoredAccount};
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;
use crate::store::accounts::{self, Added, Removed};
use crate::store::{Accounts, Error};

const SELECT: &str = "SELECT name, app_id, app_secret, token, encoding_aes_key, previous_token, previous_encoding_aes_key, \
     options, revision, created_at, updated_at FROM accounts";

#[async_trait]
impl Accounts for Postgres {
    async fn add(&self, account: StoredAccount, act: Act) -> Result<Added, Error> {
        self.writer.run(Add { account, act, sealer: self.sealer.clone() }).await
    }

    async fn list(&self) -> Result<Vec<StoredAccount>, Error> {
        list(&self.readers.quick().await?, &self.sealer).await
    }

    async fn look_up(&self, name: &str) -> Result<Option<StoredAccount>, Error> {
        let found = self.readers.quick().await?.row(&format!("{SELECT} WHERE name = $1"), &[&name]).await?;
        found.as_ref().map(|row| read(row, &self.sealer)).transpose()
    }

    async fn change(&self, account: StoredAccount, act: Act) -> Result<bool, Error> {
        self.writer.run(Change { account, act, sealer: self.sealer.clone() }).await
    }

    async fn remove(&self, name: &str, force: bool, act: Act) -> Result<Removed, Error> {
        self.writer.run(Remove { name: name.to_owned(), force, act }).await
    }

    async fn version(&self) -> Result<i64, Error> {
        let select = "SELECT name, value FROM totals WHERE name = 'accounts' AND boot = ''";
        let row = self.readers.quick().await?.row(select, &[]).await?;
        let row = row.ok_or_else(|| unavailable("a row of totals is missing"))?;
        Fields::new(&row, "totals", "name").get("value")
    }
}

struct Add {
    account: StoredAccount,
    act: Act,
    sealer: Sealer,
}

#[async_trait]
impl Command for Add {
    type Answer = Added;

    /// Two nodes that make accounts take turns: what one of them looks for, the other may be writing.
    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::accounts()]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Added, Error> {
        let StoredAccount { name, settings, revision, created_at, updated_at, .. } = &self.account;
        if unit.row("SELECT 1 FROM accounts WHERE name = $1", &[name]).await?.is_some() {
            return Ok(Added::NameTaken);
        }
        if unit.row("SELECT 1 FROM accounts WHERE app_id = $1", &[&settings.app_id]).await?.is_some() {
            return Ok(Added::AppTaken);
        }
        let [app_secret, token, aes_key, previous_token, previous_aes_key] =
            accounts::seal(&self.sealer, name, &settings.secrets)?;
        let insert = "INSERT INTO accounts (name, app_id, app_secret, token, encoding_aes_key, previous_token,
                previous_encoding_aes_key, options, revision, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
        unit.execute(
            insert,
            &[
                name,
                &settings.app_id,
                &app_secret,
                &token,
                &aes_key,
                &previous_token,
                &previous_aes_key,
                &json(&settings.options)?,
                revision,
                created_at,
                updated_at,
            ],
        )
        .await?;
        changed(unit, &self.act).await?;
        Ok(Added::Kept)
    }
}

struct Change {
    account: StoredAccount,
    act: Act,
    sealer: Sealer,
}

#[async_trait]
impl Command for Change {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::accounts()]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let StoredAccount { name, settings, revision, updated_at, .. } = &self.account;
        let [app_secret, token, aes_key, previous_token, previous_aes_key] =
            accounts::seal(&self.sealer, name, &settings.secrets)?;
        let update = "UPDATE accounts SET app_secret = $2, token = $3, encoding_aes_key = $4, previous_token = $5,
                previous_encoding_aes_key = $6, options = $7, revision = $8::bigint, updated_at = $9
             WHERE name = $1 AND revision = $8::bigint - 1";
        let touched = unit
            .execute(
                update,
                &[
                    name,
                    &app_secret,
                    &token,
                    &aes_key,
                    &previous_token,
                    &previous_aes_key,
                    &json(&settings.options)?,
                    revision,
                    updated_at,
                ],
            )
            .await?;
        if touched == 1 {
            changed(unit, &self.act).await?;
        }
        Ok(touched == 1)
    }
}

struct Remove {
    name: String,
    force: bool,
    act: Act,
}

#[async_trait]
impl Command for Remove {
    type Answer = Removed;

    /// A token that is being kept meanwhile is kept before or after, never beside.
    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::accounts(), LockKey::token(&self.name)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Removed, Error> {
        let Self { name, force, .. } = self;
        if unit.row("SELECT 1 FROM accounts WHERE name = $1", &[name]).await?.is_none() {
            return Ok(Removed::NotThere);
        }
        let count = "SELECT (SELECT count(*) FROM messages
                    WHERE lane IN ('urgent', 'normal', 'bulk') AND account = $1 AND state IN ('scheduled', 'queued'))
                + (SELECT count(*) FROM messages WHERE state = 'sending' AND account = $1) AS waiting, $1 AS name";
        let row = unit.row(count, &[name]).await?.ok_or_else(|| unavailable("messages cannot be counted"))?;
        let waiting: i64 = Fields::new(&row, "messages", "name").get("waiting")?;
        let waiting = u64::try_from(waiting).unwrap_or(0);
        if waiting > 0 && !force {
            return Ok(Removed::Busy { waiting });
        }
        unit.execute("DELETE FROM accounts WHERE name = $1", &[name]).await?;
        unit.execute("DELETE FROM tokens WHERE account = $1", &[name]).await?;
        changed(unit, &self.act).await?;
        Ok(Removed::Done { waiting })
    }
}

/// Written down; pollers see it, in every process.
async fn changed(unit: &Unit<'_>, act: &Act) -> Result<(), Error> {
    audit::write(unit, act).await?;
    unit.execute("UPDATE totals SET value = value + 1 WHERE name = 'accounts' AND boot = ''", &[]).await?;
    Ok(())
}

pub(super) async fn list(sql: &impl Sql, sealer: &Sealer) -> Result<Vec<StoredAccount>, Error> {
    let rows = sql.rows(&format!("{SELECT} ORDER BY name"), &[]).await?;
    rows.iter().map(|row| read(row, sealer)).collect()
}

fn read(row: &Row, sealer: &Sealer) -> Result<StoredAccount, Error> {
    let fields = Fields::new(row, "accounts", "name");
    let name: String = fields.get("name")?;
    let sealed = [
        fields.get("app_secret")?,
        fields.get("token")?,
        fields.get("encoding_aes_key")?,
        fields.get("previous_token")?,
        fields.get("previous_encoding_aes_key")?,
    ];
    let (secrets, lost) = accounts::open(sealer, &name, sealed);
    let options: AccountOptions = fields.parsed("options", |text| serde_json::from_str(text).ok())?;
    Ok(StoredAccount {
        name,
        settings: AccountSettings { app_id: fields.get("app_id")?, secrets, options },
        lost,
        revision: fields.get("revision")?,
        created_at: fields.get("created_at")?,
        updated_at: fields.get("updated_at")?,
    })
}

fn json(options: &AccountOptions) -> Result<String, Error> {
    serde_json::to_string(options).map_err(|error| unavailable(format!("an account cannot be written: {error}")))
}
