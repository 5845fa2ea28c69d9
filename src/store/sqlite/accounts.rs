//! `Accounts`: those made at run time.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::unavailable;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::account::{AccountOptions, AccountSettings, StoredAccount};
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;
use crate::store::accounts::{self, Added, Removed};
use crate::store::{Accounts, Error};

const SELECT: &str = "SELECT name, app_id, app_secret, token, encoding_aes_key, previous_token, previous_encoding_aes_key, \
     options, revision, created_at, updated_at FROM accounts";

#[async_trait]
impl Accounts for Sqlite {
    async fn add(&self, account: StoredAccount, act: Act) -> Result<Added, Error> {
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| add(unit, &sealer, &account, &act)).await
    }

    async fn list(&self) -> Result<Vec<StoredAccount>, Error> {
        let sealer = self.sealer.clone();
        self.readers.read(move |conn| list(conn, &sealer)).await
    }

    async fn look_up(&self, name: &str) -> Result<Option<StoredAccount>, Error> {
        let (name, sealer) = (name.to_owned(), self.sealer.clone());
        self.readers.read(move |conn| look_up(conn, &sealer, &name)).await
    }

    async fn change(&self, account: StoredAccount, act: Act) -> Result<bool, Error> {
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| change(unit, &sealer, &account, &act)).await
    }

    async fn remove(&self, name: &str, force: bool, act: Act) -> Result<Removed, Error> {
        let name = name.to_owned();
        self.writer.run(move |unit| remove(unit, &name, force, &act)).await
    }

    async fn version(&self) -> Result<i64, Error> {
        self.readers.read(version).await
    }
}

fn add(unit: &Unit<'_>, sealer: &Sealer, account: &StoredAccount, act: &Act) -> Result<Added, Error> {
    let StoredAccount { name, settings, revision, created_at, updated_at, .. } = account;
    let exists = |sql: &str, value: &str| -> Result<bool, Error> { Ok(unit.tx.prepare_cached(sql)?.exists([value])?) };
    if exists("SELECT 1 FROM accounts WHERE name = ?1", name)? {
        return Ok(Added::NameTaken);
    }
    if exists("SELECT 1 FROM accounts WHERE app_id = ?1", &settings.app_id)? {
        return Ok(Added::AppTaken);
    }
    let [app_secret, token, aes_key, previous_token, previous_aes_key] =
        accounts::seal(sealer, name, &settings.secrets)?;
    unit.tx
        .prepare_cached(
            "INSERT INTO accounts (name, app_id, app_secret, token, encoding_aes_key, previous_token,
                previous_encoding_aes_key, options, revision, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            name,
            settings.app_id,
            app_secret,
            token,
            aes_key,
            previous_token,
            previous_aes_key,
            json(&settings.options)?,
            revision,
            created_at,
            updated_at,
        ])?;
    changed(unit, act)?;
    Ok(Added::Kept)
}

fn change(unit: &Unit<'_>, sealer: &Sealer, account: &StoredAccount, act: &Act) -> Result<bool, Error> {
    let StoredAccount { name, settings, revision, updated_at, .. } = account;
    let [app_secret, token, aes_key, previous_token, previous_aes_key] =
        accounts::seal(sealer, name, &settings.secrets)?;
    let touched = unit
        .tx
        .prepare_cached(
            "UPDATE accounts SET app_secret = ?2, token = ?3, encoding_aes_key = ?4, previous_token = ?5,
                previous_encoding_aes_key = ?6, options = ?7, revision = ?8, updated_at = ?9
             WHERE name = ?1 AND revision = ?8 - 1",
        )?
        .execute(params![
            name,
            app_secret,
            token,
            aes_key,
            previous_token,
            previous_aes_key,
            json(&settings.options)?,
            revision,
            updated_at,
        ])?;
    if touched == 1 {
        changed(unit, act)?;
    }
    Ok(touched == 1)
}

fn remove(unit: &Unit<'_>, name: &str, force: bool, act: &Act) -> Result<Removed, Error> {
    if !unit.tx.prepare_cached("SELECT 1 FROM accounts WHERE name = ?1")?.exists([name])? {
        return Ok(Removed::NotThere);
    }
    // Each lane's stretch of the index `messages_due`, and the messages on their way.
    let waiting: i64 = unit
        .tx
        .prepare_cached(
            "SELECT (SELECT count(*) FROM messages
                    WHERE lane IN ('urgent', 'normal', 'bulk') AND account = ?1 AND state IN ('scheduled', 'queued'))
                + (SELECT count(*) FROM messages WHERE state = 'sending' AND account = ?1)",
        )?
        .query_row([name], |row| row.get(0))?;
    let waiting = u64::try_from(waiting).unwrap_or(0);
    if waiting > 0 && !force {
        return Ok(Removed::Busy { waiting });
    }
    unit.tx.prepare_cached("DELETE FROM accounts WHERE name = ?1")?.execute([name])?;
    unit.tx.prepare_cached("DELETE FROM tokens WHERE account = ?1")?.execute([name])?;
    changed(unit, act)?;
    Ok(Removed::Done { waiting })
}

/// Written down; pollers see it, in every process.
fn changed(unit: &Unit<'_>, act: &Act) -> Result<(), Error> {
    audit::write(unit, act)?;
    unit.tx.prepare_cached("UPDATE totals SET value = value + 1 WHERE name = 'accounts'")?.execute([])?;
    Ok(())
}

fn version(conn: &Connection) -> Result<i64, Error> {
    let mut select = conn.prepare_cached("SELECT value FROM totals WHERE name = 'accounts'")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

pub(super) fn list(conn: &Connection, sealer: &Sealer) -> Result<Vec<StoredAccount>, Error> {
    let mut select = conn.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
    let mut rows = select.query([])?;
    let mut accounts = Vec::new();
    while let Some(row) = rows.next()? {
        accounts.push(read(row, sealer)?);
    }
    Ok(accounts)
}

fn look_up(conn: &Connection, sealer: &Sealer, name: &str) -> Result<Option<StoredAccount>, Error> {
    let mut select = conn.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?;
    select.query_row([name], |row| Ok(read(row, sealer))).optional()?.transpose()
}

fn read(row: &Row<'_>, sealer: &Sealer) -> Result<StoredAccount, Error> {
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
