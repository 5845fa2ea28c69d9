//! Pages of messages, newest first, without sorting more than is under way.
//!
//! Unlike SQLite, the server knows how many rows each state, account and person has, and chooses the index by it.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::row;
use super::sql::Sql;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::store::Error;
use crate::store::bounds::{ID_SLACK, limit as count, lowest_id};

pub(super) async fn list(sql: &impl Sql, filter: &MessageFilter, page: &PageRequest) -> Result<Page<Message>, Error> {
    let wanted = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let query = Query::new(filter);
    let mut found = Found::default();
    let mut after = page.after.clone();
    // What cannot be read leaves a gap in the page: it is filled from behind.
    loop {
        let limit = wanted + 1 - found.items.len();
        let rows = query.run(sql, after.as_deref(), limit).await?;
        rows.iter().for_each(|row| found.take(row::message(row)));
        if found.items.len() > wanted || rows.len() < limit {
            break;
        }
        after = rows.last().and_then(|row| row.try_get("id").ok());
    }
    found.tell_unreadable();
    let mut items = found.items;
    let next = (items.len() > wanted).then(|| items[wanted - 1].id.to_string());
    items.truncate(wanted);
    Ok(Page { items, next })
}

#[derive(Default)]
struct Found {
    items: Vec<Message>,
    unreadable: usize,
    first_error: Option<Error>,
}

impl Found {
    fn take(&mut self, row: Result<Message, Error>) {
        match row {
            Ok(message) => self.items.push(message),
            Err(error) => {
                self.unreadable += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Once a page, not once a row.
    fn tell_unreadable(&self) {
        if let Some(error) = &self.first_error {
            tracing::error!(%error, rows = self.unreadable, "messages that cannot be read were left out of a list");
        }
    }
}

type Value = Box<dyn ToSql + Send + Sync>;

struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(filter: &MessageFilter) -> Self {
        let visible = filter.visible_accounts.as_deref();
        let account = match (&filter.account, visible) {
            (None, Some([only])) => Some(only.clone()),
            (account, _) => account.clone(),
        };
        let sql = format!("SELECT {} FROM messages WHERE TRUE", row::MESSAGE_COLUMNS);
        let mut query = Self { sql, values: Vec::new() };
        if let Some(state) = filter.state {
            // As a literal: from it follows, also in a prepared plan, that a partial index holds every such row.
            query.sql += &format!(" AND state = '{}'", state.as_str());
        }
        query.equals("account", account);
        query.equals("touser", filter.touser.clone());
        query.equals("template_id", filter.template_id.clone());
        query.equals("batch_id", filter.batch_id.map(|id| id.to_string()));
        query.equals("client", filter.client.clone());
        if let Some(accounts) = visible {
            query.and("account = ANY", accounts.to_vec());
        }
        if let Some(from) = filter.created_after {
            query.and("created_at >=", from);
            query.and("id >=", lowest_id(MessageId::PREFIX, from.minus(ID_SLACK)));
        }
        if let Some(until) = filter.created_before {
            query.and("created_at <", until);
            query.and("id <", lowest_id(MessageId::PREFIX, until.plus(ID_SLACK)));
        }
        query
    }

    async fn run(&self, sql: &impl Sql, after: Option<&str>, limit: usize) -> Result<Vec<Row>, Error> {
        let mut statement = self.sql.clone();
        let limit = count(limit);
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(self.values.len() + 2);
        values.extend(self.values.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }));
        if let Some(after) = &after {
            values.push(after);
            statement += &format!(" AND id < ${}", values.len());
        }
        values.push(&limit);
        statement += &format!(" ORDER BY id DESC LIMIT ${}", values.len());
        sql.rows(&statement, &values).await
    }

    /// `condition` ends where its value follows.
    fn and(&mut self, condition: &str, value: impl ToSql + Send + Sync + 'static) {
        self.values.push(Box::new(value));
        self.sql += &format!(" AND {condition} (${})", self.values.len());
    }

    fn equals(&mut self, column: &str, text: Option<String>) {
        if let Some(text) = text {
            self.and(&format!("{column} ="), text);
        }
    }
}
