//! `Tokens`: the last good token of each account, sealed.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::Sqlite;
use super::fault::unavailable;
use super::row::Fields;
use super::writer::Unit;
use crate::domain::seal::Sealer;
use crate::domain::token::AccessToken;
use crate::store::{Error, Tokens, tokens};

#[async_trait]
impl Tokens for Sqlite {
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
        let (account, app_id, sealer) = (account.to_owned(), app_id.to_owned(), self.sealer.clone());
        self.readers.read(move |conn| load(conn, &sealer, &account, &app_id)).await
    }

    async fn keep(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error> {
        let (account, app_id, token) = (account.to_owned(), app_id.to_owned(), token.clone());
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| keep(unit, &sealer, &account, &app_id, &token)).await
    }
}

fn load(conn: &Connection, sealer: &Sealer, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT account, sealed, generation, fetched_at, expires_at, forced_at, forced_today FROM tokens
         WHERE account = ?1 AND app_id = ?2",
    )?;
    let mut rows = select.query([account, app_id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let fields = Fields::new(row, "tokens", "account");
    let sealed: String = fields.get("sealed")?;
    let Ok(token) = sealer.open(&sealed, &tokens::row_name(account)) else { return Ok(None) };
    Ok(Some(AccessToken {
        token,
        generation: fields.get("generation")?,
        fetched_at: fields.get("fetched_at")?,
        expires_at: fields.get("expires_at")?,
        forced_at: fields.get("forced_at")?,
        forced_today: fields.get("forced_today")?,
    }))
}

/// A row that [`load`] would not give (another app, another key) is no newer generation: it is overwritten.
fn keep(unit: &Unit<'_>, sealer: &Sealer, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error> {
    let kept = load(unit.tx, sealer, account, app_id)?;
    if kept.is_some_and(|kept| kept.generation > token.generation) {
        return Ok(false);
    }
    let sealed = sealer.seal(&token.token, &tokens::row_name(account));
    let sealed = sealed.map_err(|_| unavailable("the token cannot be sealed: check secrets.key"))?;
    unit.tx
        .prepare_cached(
            "INSERT OR REPLACE INTO tokens
                (account, app_id, sealed, generation, fetched_at, expires_at, forced_at, forced_today)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            account,
            app_id,
            sealed,
            token.generation,
            token.fetched_at,
            token.expires_at,
            token.forced_at,
            token.forced_today,
        ])?;
    Ok(true)
}
