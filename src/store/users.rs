//! Users that we have seen.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::user::{User, UserChange, UserFilter, UserKey};

#[async_trait]
pub trait Users: Send + Sync {
    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, Error>;

    async fn by_user_id(&self, account: &str, user_id: &str) -> Result<Option<User>, Error>;

    /// Those of one account by openid, or, with `seen_after`, by when they were seen last. The key of a page is a
    /// [`UserKey`]; one of the other order is as if there were none.
    async fn list(&self, account: &str, filter: UserFilter, page: PageRequest) -> Result<Page<User>, Error>;

    /// Binds, unbinds, tags; makes the user if need be. A `user_id` that is bound to another openid moves here. `act` is
    /// written into `audit` in the same transaction.
    async fn change(
        &self,
        account: &str,
        openid: &Openid,
        change: UserChange,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error>;

    /// Deletes what is known of them here, their suppression too; → whether there was such a user. Then `act` is written
    /// into `audit` in the same transaction. Messages, callbacks and events stay as long as their retention says.
    async fn forget(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error>;
}

/// What a page of users is selected by, for both backends: SQL with a `?` for each value.
pub(super) struct Listing {
    /// Behind `SELECT … `: from `FROM` to `ORDER BY …`. The user's row is `u`.
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

pub(super) enum Value {
    Text(String),
    Flag(bool),
    Time(Timestamp),
}

impl Listing {
    /// `by_subscribed`: what stands behind `users u` when the index of that column is to be used.
    pub(super) fn new(account: &str, filter: &UserFilter, page: &PageRequest, by_subscribed: &str) -> Self {
        let after = page.after.as_deref().and_then(UserKey::parse);
        match filter.seen_after {
            Some(from) => Self::by_time(account, filter, from, after),
            None => Self::by_openid(account, filter, after, by_subscribed),
        }
    }

    /// The index of tags, of `subscribed`, of user ids or of openids: each has the rows in order.
    fn by_openid(account: &str, filter: &UserFilter, after: Option<UserKey>, by_subscribed: &str) -> Self {
        let after = after.filter(|key| key.seen_at.is_none());
        let mut this = match &filter.tag {
            // In this order: SQLite does not turn it round.
            Some(tag) => Self {
                sql: "FROM user_tags t CROSS JOIN users u WHERE t.account = ? AND t.tag = ? AND u.account = t.account \
                      AND u.openid = t.openid"
                    .to_owned(),
                values: vec![Value::Text(account.to_owned()), Value::Text(tag.clone())],
            },
            None => {
                let hint = if filter.subscribed.is_some() && filter.user_id.is_none() { by_subscribed } else { "" };
                let sql = format!("FROM users u{hint} WHERE u.account = ?");
                Self { sql, values: vec![Value::Text(account.to_owned())] }
            }
        };
        let openid = if filter.tag.is_some() { "t.openid" } else { "u.openid" };
        if let Some(key) = after {
            this.and(&format!("{openid} > ?"), Value::Text(key.openid.as_str().to_owned()));
        }
        this.narrow(filter);
        this.sql += &format!(" ORDER BY {openid}");
        this
    }

    fn by_time(account: &str, filter: &UserFilter, from: Timestamp, after: Option<UserKey>) -> Self {
        let values = vec![Value::Text(account.to_owned())];
        let mut this = Self { sql: "FROM users u WHERE u.account = ?".to_owned(), values };
        match after {
            // One bound only: of two, SQLite would begin at the first.
            Some(UserKey { seen_at: Some(at), openid }) if at >= from => {
                this.and("(u.last_seen_at, u.openid) > (?, ?)", Value::Time(at));
                this.values.push(Value::Text(openid.as_str().to_owned()));
            }
            _ => this.and("u.last_seen_at >= ?", Value::Time(from)),
        }
        if let Some(tag) = &filter.tag {
            let is_tagged =
                "EXISTS (SELECT 1 FROM user_tags t WHERE t.account = u.account AND t.openid = u.openid AND t.tag = ?)";
            this.and(is_tagged, Value::Text(tag.clone()));
        }
        this.narrow(filter);
        this.sql += " ORDER BY u.last_seen_at, u.openid";
        this
    }

    fn narrow(&mut self, filter: &UserFilter) {
        if let Some(user_id) = &filter.user_id {
            self.and("u.user_id = ?", Value::Text(user_id.clone()));
        }
        if let Some(subscribed) = filter.subscribed {
            self.and("u.subscribed = ?", Value::Flag(subscribed));
        }
    }

    fn and(&mut self, condition: &str, value: Value) {
        self.sql += " AND ";
        self.sql += condition;
        self.values.push(value);
    }
}
