//! `Users`: openids that we have seen.

use async_trait::async_trait;
use rusqlite::types::Value as Column;
use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};

use super::fault::unavailable;
use super::readers::PATIENCE;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::callback::{NewCallback, UserSeen};
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::user::{Tags, User, UserChange, UserFilter, UserKey};
use crate::store::users::{Listing, Value};
use crate::store::{Error, Users, bounds};

const BY_OPENID: &str = "SELECT account, openid, user_id, tags, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = ?1 AND openid = ?2";
const BY_USER_ID: &str = "SELECT account, openid, user_id, tags, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = ?1 AND user_id = ?2";

/// It would rather walk the table, which is in this order too, and look at everybody.
const BY_SUBSCRIBED: &str = " INDEXED BY users_subscribed";

#[async_trait]
impl Users for Sqlite {
    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, Error> {
        let (account, openid) = (account.to_owned(), openid.clone());
        self.readers.read(move |conn| find(conn, BY_OPENID, params![account, openid])).await
    }

    async fn by_user_id(&self, account: &str, user_id: &str) -> Result<Option<User>, Error> {
        let (account, user_id) = (account.to_owned(), user_id.to_owned());
        self.readers.read(move |conn| find(conn, BY_USER_ID, params![account, user_id])).await
    }

    async fn list(&self, account: &str, filter: UserFilter, page: PageRequest) -> Result<Page<User>, Error> {
        let account = account.to_owned();
        self.readers.read_within(PATIENCE, move |conn| list(conn, &account, &filter, &page)).await
    }

    async fn change(
        &self,
        account: &str,
        openid: &Openid,
        change: UserChange,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error> {
        let (account, openid) = (account.to_owned(), openid.clone());
        self.writer
            .run(move |unit| {
                audit::write(unit, &act)?;
                self::change(unit, &account, &openid, &change, now)
            })
            .await
    }

    async fn forget(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error> {
        let (account, openid) = (account.to_owned(), openid.clone());
        self.writer.run(move |unit| forget(unit, &account, &openid, &act)).await
    }
}

/// A sign of life: makes the user, or moves `last_seen_at` (never back).
pub(super) fn see(unit: &mut Unit<'_>, callback: &NewCallback, seen: &UserSeen) -> Result<(), Error> {
    let account = callback.account.as_str();
    if let Some(subscribed) = seen.subscribed {
        let mut select =
            unit.tx.prepare_cached("SELECT subscribed, user_id FROM users WHERE account = ?1 AND openid = ?2")?;
        let before = |row: &Row<'_>| Ok((row.get::<_, Option<bool>>(0)?, row.get::<_, Option<String>>(1)?));
        let (was, user_id) = select.query_row(params![account, seen.openid], before).optional()?.unwrap_or_default();
        if was != Some(subscribed) {
            unit.user(callback, seen.openid.as_str(), user_id.as_deref(), subscribed)?;
        }
    }
    unit.tx
        .prepare_cached(
            "INSERT INTO users (account, openid, subscribed, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT DO UPDATE SET subscribed = coalesce(excluded.subscribed, subscribed),
                last_seen_at = max(last_seen_at, excluded.last_seen_at)",
        )?
        .execute(params![account, seen.openid, seen.subscribed, callback.received_at])?;
    Ok(())
}

fn change(unit: &Unit<'_>, account: &str, openid: &Openid, change: &UserChange, now: Timestamp) -> Result<User, Error> {
    unit.tx
        .prepare_cached(
            "INSERT INTO users (account, openid, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (account, openid) DO NOTHING",
        )?
        .execute(params![account, openid, now])?;
    if let Some(user_id) = &change.user_id {
        unit.tx
            .prepare_cached("UPDATE users SET user_id = NULL WHERE account = ?1 AND user_id = ?3 AND openid <> ?2")?
            .execute(params![account, openid, user_id])?;
        unit.tx
            .prepare_cached("UPDATE users SET user_id = ?3 WHERE account = ?1 AND openid = ?2")?
            .execute(params![account, openid, user_id])?;
    }
    let changed = || -> Result<User, Error> {
        find(unit.tx, BY_OPENID, params![account, openid])?.ok_or_else(|| unavailable("the user was not kept"))
    };
    if let Some(tags) = &change.tags {
        untag(unit, account, openid, &changed()?.tags)?;
        unit.tx.prepare_cached("UPDATE users SET tags = ?3 WHERE account = ?1 AND openid = ?2")?.execute(params![
            account,
            openid,
            tags.render()
        ])?;
        let mut insert = unit.tx.prepare_cached("INSERT INTO user_tags (account, tag, openid) VALUES (?1, ?2, ?3)")?;
        for tag in tags.as_slice() {
            insert.execute(params![account, tag, openid])?;
        }
    }
    changed()
}

fn untag(unit: &Unit<'_>, account: &str, openid: &Openid, tags: &Tags) -> Result<(), Error> {
    let mut delete = unit.tx.prepare_cached("DELETE FROM user_tags WHERE account = ?1 AND tag = ?2 AND openid = ?3")?;
    for tag in tags.as_slice() {
        delete.execute(params![account, tag, openid])?;
    }
    Ok(())
}

fn forget(unit: &Unit<'_>, account: &str, openid: &Openid, act: &Act) -> Result<bool, Error> {
    let Some(user) = find(unit.tx, BY_OPENID, params![account, openid])? else { return Ok(false) };
    untag(unit, account, openid, &user.tags)?;
    for delete in [
        "DELETE FROM users WHERE account = ?1 AND openid = ?2",
        "DELETE FROM suppressions WHERE account = ?1 AND openid = ?2",
    ] {
        unit.tx.prepare_cached(delete)?.execute(params![account, openid])?;
    }
    audit::write(unit, act)?;
    Ok(true)
}

fn list(conn: &Connection, account: &str, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>, Error> {
    let Listing { sql, values } = Listing::new(account, filter, page, BY_SUBSCRIBED);
    let mut values: Vec<Column> = values
        .into_iter()
        .map(|value| match value {
            Value::Text(text) => Column::Text(text),
            Value::Flag(flag) => Column::Integer(flag.into()),
            Value::Time(at) => Column::Integer(at.as_millis()),
        })
        .collect();
    let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    values.push(Column::Integer(bounds::limit(limit + 1)));
    let sql = format!(
        "SELECT u.account, u.openid, u.user_id, u.tags, u.subscribed, u.first_seen_at, u.last_seen_at {sql} LIMIT ?"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        users.push(read(row)?);
    }
    Ok(Page::cut(users, page.limit, |last| UserKey::of(last, filter).render()))
}

fn find(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<User>, Error> {
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    rows.next()?.map(read).transpose()
}

fn read(row: &Row<'_>) -> Result<User, Error> {
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
