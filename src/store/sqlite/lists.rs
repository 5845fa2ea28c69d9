//! Pages of messages, newest first, without sorting more than is under way.

use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use ulid::Ulid;

use super::row;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::store::Error;

/// An id may have been made this much before or after the date in its row.
const ID_SLACK: Duration = Duration::from_secs(60);

pub(super) fn list(conn: &Connection, filter: &MessageFilter, page: &PageRequest) -> Result<Page<Message>, Error> {
    let wanted = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let query = Query::new(filter, page);
    let mut select = conn.prepare_cached(&query.sql)?;
    let mut rows = select.query(params_from_iter(&query.values))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        if items.len() == wanted {
            let next = items.last().map(|message: &Message| message.id.to_string());
            return Ok(Page { items, next });
        }
        items.push(row::message(row)?);
    }
    Ok(Page { items, next: None })
}

struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(filter: &MessageFilter, page: &PageRequest) -> Self {
        let mut query = Self { sql: String::new(), values: Vec::new() };
        query.sql = format!("SELECT {} FROM messages {} WHERE TRUE", row::MESSAGE_COLUMNS, index_hint(filter));
        if let Some(state) = filter.state {
            // As a literal: SQLite proves from it that a partial index holds every such row.
            query.sql += &format!(" AND state = '{}'", state.as_str());
            if matches!(state, State::Scheduled | State::Queued) {
                query.sql += " AND state IN ('scheduled', 'queued')";
            }
        }
        query.equals("account", filter.account.clone());
        query.equals("touser", filter.touser.clone());
        query.equals("template_id", filter.template_id.clone());
        query.equals("batch_id", filter.batch_id.map(|id| id.to_string()));
        query.equals("client", filter.client.clone());
        query.visible(filter.visible_accounts.as_deref());
        if let Some(from) = filter.created_after {
            query.and("created_at >= ?", from.as_millis());
            query.and("id >= ?", lowest_id(from.minus(ID_SLACK)));
        }
        if let Some(until) = filter.created_before {
            query.and("created_at < ?", until.as_millis());
            query.and("id < ?", lowest_id(until.plus(ID_SLACK)));
        }
        if let Some(after) = &page.after {
            query.and("id < ?", after.clone());
        }
        query.sql += " ORDER BY id DESC LIMIT ?";
        query.values.push(Value::Integer(i64::from(page.limit.max(1)) + 1));
        query
    }

    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.sql += " AND ";
        self.sql += condition;
        self.values.push(value.into());
    }

    fn equals(&mut self, column: &str, text: Option<String>) {
        if let Some(text) = text {
            self.and(&format!("{column} = ?"), text);
        }
    }

    fn visible(&mut self, accounts: Option<&[String]>) {
        if let Some(accounts) = accounts {
            let marks = vec!["?"; accounts.len()].join(", ");
            self.sql += &format!(" AND account IN ({marks})");
            self.values.extend(accounts.iter().cloned().map(Value::Text));
        }
    }
}

/// What is under way is little compared with what is done: its own index finds it, and the few rows are sorted.
const fn index_hint(filter: &MessageFilter) -> &'static str {
    if filter.touser.is_some() || filter.batch_id.is_some() {
        return "";
    }
    match filter.state {
        Some(State::Scheduled | State::Queued) => "INDEXED BY messages_due",
        Some(State::Sending) => "INDEXED BY messages_lease",
        _ => "",
    }
}

/// The lowest id that can be made at this time.
fn lowest_id(at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    format!("{}{}", MessageId::PREFIX, Ulid::from_parts(millis, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::BatchId;

    fn plan(filter: MessageFilter) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        let page = PageRequest { limit: 50, after: Some(lowest_id(Timestamp::from_millis(9))) };
        let query = Query::new(&filter, &page);
        let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
        let lines = select.query_map(params_from_iter(&query.values), |row| row.get::<_, String>("detail")).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    fn of_state(state: State) -> MessageFilter {
        MessageFilter { state: Some(state), ..MessageFilter::default() }
    }

    #[test]
    fn no_page_of_what_is_done_is_sorted() {
        let touser = MessageFilter { touser: Some("o1".to_owned()), ..MessageFilter::default() };
        let batch = BatchId::generate(Timestamp::from_millis(1));
        let account = MessageFilter { account: Some("shop".to_owned()), ..MessageFilter::default() };
        let since = MessageFilter { created_after: Some(Timestamp::from_millis(1)), ..MessageFilter::default() };
        for (filter, index) in [
            (MessageFilter::default(), "sqlite_autoindex_messages_1"),
            (account, "sqlite_autoindex_messages_1"),
            (since, "sqlite_autoindex_messages_1"),
            (touser, "messages_touser"),
            (MessageFilter { batch_id: Some(batch), ..MessageFilter::default() }, "messages_batch"),
            (of_state(State::Failed), "messages_trouble"),
            (of_state(State::Unknown), "messages_trouble"),
        ] {
            let plan = plan(filter);
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{index}: {plan}");
        }
    }

    #[test]
    fn what_is_under_way_is_found_by_its_own_index() {
        assert!(plan(of_state(State::Queued)).contains("messages_due"));
        assert!(plan(of_state(State::Sending)).contains("messages_lease"));
    }
}
