//! `Users`: openids that we have seen.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::fault::unavailable;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::callback::{NewCallback, UserSeen};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::domain::user::User;
use crate::store::{Error, Users};

const BY_OPENID: &str = "SELECT account, openid, user_id, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = ?1 AND openid = ?2";
const BY_USER_ID: &str = "SELECT account, openid, user_id, subscribed, first_seen_at, last_seen_at FROM users
     WHERE account = ?1 AND user_id = ?2";

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

    async fn bind(
        &self,
        account: &str,
        openid: &Openid,
        user_id: Option<&str>,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error> {
        let (account, openid, user_id) = (account.to_owned(), openid.clone(), user_id.map(str::to_owned));
        self.writer
            .run(move |unit| {
                audit::write(unit, &act)?;
                bind(unit, &account, &openid, user_id.as_deref(), now)
            })
            .await
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

fn bind(unit: &Unit<'_>, account: &str, openid: &Openid, user_id: Option<&str>, now: Timestamp) -> Result<User, Error> {
    unit.tx
        .prepare_cached("UPDATE users SET user_id = NULL WHERE account = ?1 AND user_id = ?3 AND openid <> ?2")?
        .execute(params![account, openid, user_id])?;
    unit.tx
        .prepare_cached(
            "INSERT INTO users (account, openid, user_id, first_seen_at, last_seen_at) VALUES (?1, ?2, ?3, ?4, ?4)
             ON CONFLICT (account, openid) DO UPDATE SET user_id = excluded.user_id",
        )?
        .execute(params![account, openid, user_id, now])?;
    find(unit.tx, BY_OPENID, params![account, openid])?.ok_or_else(|| unavailable("the user was not kept"))
}

fn find(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<User>, Error> {
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    // The account names the row in errors: openids are not shown.
    let fields = Fields::new(row, "users", "account");
    Ok(Some(User {
        account: fields.get("account")?,
        openid: fields.parsed("openid", Openid::parse)?,
        user_id: fields.get("user_id")?,
        subscribed: fields.get("subscribed")?,
        first_seen_at: fields.get("first_seen_at")?,
        last_seen_at: fields.get("last_seen_at")?,
    }))
}
