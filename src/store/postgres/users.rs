//! `Users`: who we have seen, and who they are in the business.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::{Sql, Values};
use super::{Postgres, audit};
use crate::domain::audit::Act;
use crate::domain::callback::{NewCallback, UserSeen};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::domain::user::User;
use crate::store::{Error, Users};

const BY_OPENID: &str = "SELECT account, openid, user_id, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = $1 AND openid = $2";
const BY_USER_ID: &str = "SELECT account, openid, user_id, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = $1 AND user_id = $2";

#[async_trait]
impl Users for Postgres {
    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, Error> {
        find(&self.readers.quick().await?, BY_OPENID, &[&account, openid]).await
    }

    async fn by_user_id(&self, account: &str, user_id: &str) -> Result<Option<User>, Error> {
        find(&self.readers.quick().await?, BY_USER_ID, &[&account, &user_id]).await
    }

    async fn bind(
        &self,
        account: &str,
        openid: &Openid,
        user_id: Option<&str>,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error> {
        // Whose row will be touched besides: who has the user id now. Should that change meanwhile, the row is touched
        // without its key, which costs an orderly wait and nothing else.
        let holder = match user_id {
            Some(user_id) => self.by_user_id(account, user_id).await?.map(|user| user.openid),
            None => None,
        };
        let (account, openid, user_id) = (account.to_owned(), openid.clone(), user_id.map(str::to_owned));
        self.writer.run(Bind { account, openid, user_id, holder, now, act }).await
    }
}

/// A sign of life: makes the user, or moves `last_seen_at` (never back). The caller holds `LockKey::user`.
pub(super) async fn see(unit: &Unit<'_>, callback: &NewCallback, seen: &UserSeen) -> Result<(), Error> {
    // The query looks at what was there before.
    let insert = "WITH before AS (SELECT subscribed FROM users WHERE account = $1 AND openid = $2)
         INSERT INTO users (account, openid, subscribed, first_seen_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (account, openid) DO UPDATE SET subscribed = coalesce(excluded.subscribed, users.subscribed),
            last_seen_at = greatest(users.last_seen_at, excluded.last_seen_at)
         RETURNING account, user_id, (SELECT subscribed FROM before) AS was";
    let row = unit.row(insert, &[&callback.account, &seen.openid, &seen.subscribed, &callback.received_at]).await?;
    let (Some(row), Some(subscribed)) = (row, seen.subscribed) else { return Ok(()) };
    let fields = Fields::new(&row, "users", "account");
    if fields.get::<Option<bool>>("was")? != Some(subscribed) {
        let user_id: Option<String> = fields.get("user_id")?;
        unit.user(callback, seen.openid.as_str(), user_id.as_deref(), subscribed)?;
    }
    Ok(())
}

struct Bind {
    account: String,
    openid: Openid,
    user_id: Option<String>,
    /// Who loses the user id.
    holder: Option<Openid>,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Bind {
    type Answer = User;

    fn keys(&self) -> Vec<LockKey> {
        let users = [Some(&self.openid), self.holder.as_ref()].into_iter().flatten();
        let users = users.map(|openid| LockKey::user(&self.account, openid.as_str()));
        users.chain([LockKey::user_ids(&self.account)]).collect()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<User, Error> {
        let Self { account, openid, user_id, now, act, .. } = self;
        audit::write(unit, act).await?;
        let free = "UPDATE users SET user_id = NULL WHERE account = $1 AND user_id = $3 AND openid <> $2";
        unit.execute(free, &[account, openid, user_id]).await?;
        let bind = "INSERT INTO users (account, openid, user_id, first_seen_at, last_seen_at)
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT (account, openid) DO UPDATE SET user_id = excluded.user_id";
        unit.execute(bind, &[account, openid, user_id, now]).await?;
        find(unit, BY_OPENID, &[account, openid]).await?.ok_or_else(|| unavailable("the user was not kept"))
    }
}

async fn find(sql: &impl Sql, select: &str, values: Values<'_>) -> Result<Option<User>, Error> {
    let Some(row) = sql.row(select, values).await? else { return Ok(None) };
    // The account names the row in errors: openids are not shown.
    let fields = Fields::new(&row, "users", "account");
    Ok(Some(User {
        account: fields.get("account")?,
        openid: fields.parsed("openid", Openid::parse)?,
        user_id: fields.get("user_id")?,
        subscribed: fields.get("subscribed")?,
        first_seen_at: fields.get("first_seen_at")?,
        last_seen_at: fields.get("last_seen_at")?,
    }))
}
