//! Administrative acts, read back. They are written by the doors whose changes they tell of, in the same transaction.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::{Act, ActFilter};
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};

#[async_trait]
pub trait Audit: Send + Sync {
    /// Newest first; `page.after` and `next` are ids of acts. `TooSlow`, with advice, when it would take too long.
    async fn list(&self, filter: ActFilter, page: PageRequest) -> Result<Page<Act>, Error>;

    /// Deletes what is older than `before`, at most `limit`, oldest first; returns how many.
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// The conditions of a list, in the words of both databases: `?` stands for a value.
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

pub(super) enum Value {
    Text(String),
    Time(Timestamp),
}

impl Conditions {
    pub(super) fn new(filter: &ActFilter, page: &PageRequest) -> Self {
        let mut this = Self { sql: "TRUE".to_owned(), values: Vec::new() };
        let texts = [
            ("id < ?", page.after.clone()),
            ("account = ?", filter.account.clone()),
            ("actor = ?", filter.actor.clone()),
            ("action = ?", filter.action.map(|action| action.as_str().to_owned())),
        ];
        for (condition, value) in texts {
            this.and(condition, value.map(Value::Text));
        }
        this.and("at >= ?", filter.after.map(Value::Time));
        this.and("at < ?", filter.before.map(Value::Time));
        if let Some(visible) = &filter.visible_accounts {
            let places = vec!["?"; visible.len()].join(", ");
            this.sql +=
                &if visible.is_empty() { " AND FALSE".to_owned() } else { format!(" AND account IN ({places})") };
            this.values.extend(visible.iter().cloned().map(Value::Text));
        }
        this
    }

    fn and(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.sql += " AND ";
            self.sql += condition;
            self.values.push(value);
        }
    }
}

/// The page, of one row more than it holds.
pub(super) fn page(mut acts: Vec<Act>, limit: usize) -> Page<Act> {
    let next = (acts.len() > limit).then(|| acts[limit - 1].id.to_string());
    acts.truncate(limit);
    Page { items: acts, next }
}
