//! `Tokens`: the last good token of each account, sealed.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use crate::domain::seal::Sealer;
use crate::domain::token::AccessToken;
use crate::store::{Error, Tokens, tokens};

#[async_trait]
impl Tokens for Postgres {
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
        load(&self.readers.quick().await?, &self.sealer, account, app_id).await
    }

    async fn keep(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error> {
        let (account, app_id, token) = (account.to_owned(), app_id.to_owned(), token.clone());
        self.writer.run(Keep { account, app_id, token, sealer: self.sealer.clone() }).await
    }
}

async fn load(sql: &impl Sql, sealer: &Sealer, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
    let select = "SELECT account, sealed, generation, fetched_at, expires_at, forced_at, forced_today FROM tokens
         WHERE account = $1 AND app_id = $2";
    let Some(row) = sql.row(select, &[&account, &app_id]).await? else { return Ok(None) };
    let fields = Fields::new(&row, "tokens", "account");
    let Ok(token) = sealer.open(fields.get("sealed")?, &tokens::row_name(account)) else { return Ok(None) };
    Ok(Some(AccessToken {
        token,
        generation: fields.get("generation")?,
        fetched_at: fields.get("fetched_at")?,
        expires_at: fields.get("expires_at")?,
        forced_at: fields.get("forced_at")?,
        forced_today: fields.count("forced_today")?,
    }))
}

struct Keep {
    account: String,
    app_id: String,
    token: AccessToken,
    sealer: Sealer,
}

#[async_trait]
impl Command for Keep {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::token(&self.account)]
    }

    /// A row that [`load`] would not give (another app, another key) is no newer generation: it is overwritten.
    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let Self { account, app_id, token, sealer } = self;
        let kept = load(unit, sealer, account, app_id).await?;
        if kept.is_some_and(|kept| kept.generation > token.generation) {
            return Ok(false);
        }
        let sealed = sealer.seal(&token.token, &tokens::row_name(account));
        let sealed = sealed.map_err(|_| unavailable("the token cannot be sealed: check secrets.key"))?;
        let insert = "INSERT INTO tokens
                (account, app_id, sealed, generation, fetched_at, expires_at, forced_at, forced_today)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (account) DO UPDATE SET app_id = excluded.app_id, sealed = excluded.sealed,
                generation = excluded.generation, fetched_at = excluded.fetched_at, expires_at = excluded.expires_at,
                forced_at = excluded.forced_at, forced_today = excluded.forced_today";
        unit.execute(
            insert,
            &[
                account,
                app_id,
                &sealed,
                &token.generation,
                &token.fetched_at,
                &token.expires_at,
                &token.forced_at,
                &i64::from(token.forced_today),
            ],
        )
        .await?;
        Ok(true)
    }
}
