//! `Users`: who we have seen, and who they are in the business.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::{Sql, Values, numbered};
use super::{Postgres, audit};
use crate::domain::audit::Act;
use crate::domain::callback::{NewCallback, UserSeen};
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::user::{Tags, User, UserChange, UserFilter, UserKey};
use crate::store::users::{Listing, Value};
use crate::store::{Error, Users, bounds};

const BY_OPENID: &str = "SELECT account, openid, user_id, tags, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = $1 AND openid = $2";
const BY_USER_ID: &str = "SELECT account, openid, user_id, tags, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = $1 AND user_id = $2";

#[async_trait]
impl Users for Postgres {
    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, Error> {
        find(&self.readers.quick().await?, BY_OPENID, &[&account, openid]).await
    }

    async fn by_user_id(&self, account: &str, user_id: &str) -> Result<Option<User>, Error> {
        find(&self.readers.quick().await?, BY_USER_ID, &[&account, &user_id]).await
    }

    async fn list(&self, account: &str, filter: UserFilter, page: PageRequest) -> Result<Page<User>, Error> {
        let Listing { sql, values } = Listing::new(account, &filter, &page, "");
        let most = bounds::limit(usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX) + 1);
        let mut given: Vec<&(dyn ToSql + Sync)> = values
            .iter()
            .map(|value| -> &(dyn ToSql + Sync) {
                match value {
                    Value::Text(text) => text,
                    Value::Flag(flag) => flag,
                    Value::Time(at) => at,
                }
            })
            .collect();
        given.push(&most);
        let sql = numbered(&format!(
            "SELECT u.account, u.openid, u.user_id, u.tags, u.subscribed, u.first_seen_at, u.last_seen_at {sql} LIMIT ?"
        ));
        let rows = self.readers.slow().await?.rows(&sql, &given).await?;
        let users = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Page::cut(users, page.limit, |last| UserKey::of(last, &filter).render()))
    }

    async fn change(
        &self,
        account: &str,
        openid: &Openid,
        change: UserChange,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error> {
        // Whose row will be touched besides: who has the user id now. Should that change meanwhile, the row is touched
        // without its key, which costs an orderly wait and nothing else.
        let holder = match &change.user_id {
            Some(Some(user_id)) => self.by_user_id(account, user_id).await?.map(|user| user.openid),
            _ => None,
        };
        let (account, openid) = (account.to_owned(), openid.clone());
        self.writer.run(Change { account, openid, change, holder, now, act }).await
    }

    async fn forget(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error> {
        self.writer.run(Forget { account: account.to_owned(), openid: openid.clone(), act }).await
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

struct Change {
    account: String,
    openid: Openid,
    change: UserChange,
    /// Who loses the user id.
    holder: Option<Openid>,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Change {
    type Answer = User;

    fn keys(&self) -> Vec<LockKey> {
        let users = [Some(&self.openid), self.holder.as_ref()].into_iter().flatten();
        let users = users.map(|openid| LockKey::user(&self.account, openid.as_str()));
        let user_ids = self.change.user_id.as_ref().map(|_| LockKey::user_ids(&self.account));
        users.chain(user_ids).collect()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<User, Error> {
        let Self { account, openid, change, now, act, .. } = self;
        audit::write(unit, act).await?;
        let make = "INSERT INTO users (account, openid, first_seen_at, last_seen_at) VALUES ($1, $2, $3, $3)
             ON CONFLICT (account, openid) DO NOTHING";
        unit.execute(make, &[account, openid, now]).await?;
        if let Some(user_id) = &change.user_id {
            let free = "UPDATE users SET user_id = NULL WHERE account = $1 AND user_id = $3 AND openid <> $2";
            unit.execute(free, &[account, openid, user_id]).await?;
            let bind = "UPDATE users SET user_id = $3 WHERE account = $1 AND openid = $2";
            unit.execute(bind, &[account, openid, user_id]).await?;
        }
        if let Some(tags) = &change.tags {
            untag(unit, account, openid, &known(unit, account, openid).await?.tags).await?;
            let tag = "UPDATE users SET tags = $3 WHERE account = $1 AND openid = $2";
            unit.execute(tag, &[account, openid, &tags.render()]).await?;
            let insert =
                "INSERT INTO user_tags (account, openid, tag) SELECT $1, $2, tag FROM unnest($3::text[]) AS tag";
            unit.execute(insert, &[account, openid, &tags.as_slice()]).await?;
        }
        known(unit, account, openid).await
    }
}

async fn known(unit: &Unit<'_>, account: &str, openid: &Openid) -> Result<User, Error> {
    find(unit, BY_OPENID, &[&account, openid]).await?.ok_or_else(|| unavailable("the user was not kept"))
}

async fn untag(unit: &Unit<'_>, account: &str, openid: &Openid, tags: &Tags) -> Result<(), Error> {
    let delete = "DELETE FROM user_tags WHERE account = $1 AND openid = $2 AND tag = ANY ($3)";
    unit.execute(delete, &[&account, openid, &tags.as_slice()]).await.map(drop)
}

struct Forget {
    account: String,
    openid: Openid,
    act: Act,
}

#[async_trait]
impl Command for Forget {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::user(&self.account, self.openid.as_str())]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let Self { account, openid, act } = self;
        let Some(user) = find(unit, BY_OPENID, &[account, openid]).await? else { return Ok(false) };
        untag(unit, account, openid, &user.tags).await?;
        for delete in [
            "DELETE FROM users WHERE account = $1 AND openid = $2",
            "DELETE FROM suppressions WHERE account = $1 AND openid = $2",
        ] {
            unit.execute(delete, &[account, openid]).await?;
        }
        audit::write(unit, act).await?;
        Ok(true)
    }
}

async fn find(sql: &impl Sql, select: &str, values: Values<'_>) -> Result<Option<User>, Error> {
    sql.row(select, values).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<User, Error> {
    // The account names the row in errors: openids are not shown.
    let fields = Fields::new(row, "users", "account");
    Ok(User {
        account: fields.get("account")?,
        openid: fields.parsed("openid", Openid::parse)?,
        user_id: fields.get("user_id")?,
        tags: fields.maybe("tags", Tags::parse)?.unwrap_or_default(),
        subscribed: fields.get("subscribed")?,
        first_seen_at: fields.get("first_seen_at")?,
        last_seen_at: fields.get("last_seen_at")?,
    })
}
