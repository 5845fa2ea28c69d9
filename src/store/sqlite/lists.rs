//! Pages of messages, newest first, without sorting more than is under way.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::row;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::store::Error;
use crate::store::bounds::{self, ID_SLACK};

/// So many waiting messages are still sorted for a page of them; of more, the newest of all are looked through.
const SORTABLE: u64 = 20_000;

/// `waiting`: how many messages are `scheduled` or `queued`.
pub(super) fn list(
    conn: &Connection,
    filter: &MessageFilter,
    page: &PageRequest,
    waiting: u64,
) -> Result<Page<Message>, Error> {
    let wanted = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
    let query = Query::new(filter, waiting > SORTABLE);
    let mut found = Found::default();
    let mut after = page.after.clone();
    // What cannot be read leaves a gap in the page: it is filled from behind.
    loop {
        let read = query.run(conn, after.as_deref(), wanted + 1 - found.items.len(), &mut found)?;
        if found.items.len() > wanted || !read.is_full {
            break;
        }
        after = read.last;
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

/// What one run has read.
struct Read {
    /// The id of its last row, as it stands there.
    last: Option<String>,
    /// There may be more.
    is_full: bool,
}

struct Query {
    sql: String,
    values: Vec<Value>,
    /// The index begins with a span of time: one is read after the other.
    by_span: bool,
    /// Between these two ids.
    oldest: Option<String>,
    newest: Option<String>,
}

impl Query {
    fn new(filter: &MessageFilter, crowded: bool) -> Self {
        let visible = filter.visible_accounts.as_deref();
        let account = match (&filter.account, visible) {
            (None, Some([only])) => Some(only.clone()),
            (account, _) => account.clone(),
        };
        let mut query = Self {
            sql: String::new(),
            values: Vec::new(),
            by_span: filter.touser.is_some(),
            oldest: filter.created_after.map(|from| bounds::lowest_id(MessageId::PREFIX, from.minus(ID_SLACK))),
            newest: filter.created_before.map(|until| bounds::lowest_id(MessageId::PREFIX, until.plus(ID_SLACK))),
        };
        let index = index_for(filter, account.is_some(), crowded);
        query.sql = format!("SELECT {} FROM messages {index} WHERE TRUE", row::MESSAGE_COLUMNS);
        if let Some(state) = filter.state {
            // As a literal: SQLite proves from it that a partial index holds every such row.
            query.sql += &format!(" AND state = '{}'", state.as_str());
            if index == DUE {
                query.sql += " AND state IN ('scheduled', 'queued') AND lane IN ('urgent', 'normal', 'bulk')";
            }
        }
        query.equals("account", account);
        query.equals("touser", filter.touser.clone());
        query.equals("template_id", filter.template_id.clone());
        query.equals("batch_id", filter.batch_id.map(|id| id.to_string()));
        query.equals("client", filter.client.clone());
        query.visible(visible);
        if let Some(from) = filter.created_after {
            query.and("created_at >= ?", from.as_millis());
        }
        if let Some(until) = filter.created_before {
            query.and("created_at < ?", until.as_millis());
        }
        if let Some(oldest) = query.oldest.clone() {
            query.and("id >= ?", oldest);
        }
        if let Some(newest) = query.newest.clone() {
            query.and("id < ?", newest);
        }
        query
    }

    fn part(&self, span: Option<&str>, after: Option<&str>, limit: usize) -> (String, Vec<Value>) {
        let (mut sql, mut values) = (self.sql.clone(), self.values.clone());
        if let Some(span) = span {
            sql += " AND substr(id, 1, 9) = ?";
            values.push(Value::Text(span.to_owned()));
        }
        if let Some(after) = after {
            sql += " AND id < ?";
            values.push(Value::Text(after.to_owned()));
        }
        sql += " ORDER BY id DESC LIMIT ?";
        values.push(Value::Integer(bounds::limit(limit)));
        (sql, values)
    }

    fn run(&self, conn: &Connection, after: Option<&str>, limit: usize, found: &mut Found) -> Result<Read, Error> {
        if !self.by_span {
            return self.run_in(conn, None, after, limit, found);
        }
        let (mut left, mut last) = (limit, None);
        let from = [after, self.newest.as_deref()].into_iter().flatten().min().unwrap_or("~");
        let oldest = self.oldest.as_deref().and_then(|id| id.get(..SPAN)).unwrap_or_default();
        let mut span = latest_span(conn, "<=", from)?;
        while let Some(at) = span.filter(|at| at.as_str() >= oldest) {
            let before = found.items.len() + found.unreadable;
            let read = self.run_in(conn, Some(&at), after, left, found)?;
            left -= found.items.len() + found.unreadable - before;
            last = read.last.or(last);
            if left == 0 {
                break;
            }
            span = latest_span(conn, "<", &at)?;
        }
        Ok(Read { is_full: left == 0 && last.is_some(), last })
    }

    fn run_in(
        &self,
        conn: &Connection,
        span: Option<&str>,
        after: Option<&str>,
        limit: usize,
        found: &mut Found,
    ) -> Result<Read, Error> {
        let (sql, values) = self.part(span, after, limit);
        let mut select = conn.prepare_cached(&sql)?;
        let mut rows = select.query(params_from_iter(&values))?;
        let (mut count, mut last) = (0, None);
        while let Some(row) = rows.next()? {
            count += 1;
            // One whose id is no text ends the list: there is nothing to go on after.
            last = row.get("id").ok();
            found.take(row::message(row));
        }
        Ok(Read { is_full: count == limit && last.is_some(), last })
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
            // The plus keeps it from being an index's business: pages of several accounts would have to be sorted.
            self.sql += &format!(" AND +account IN ({marks})");
            self.values.extend(accounts.iter().cloned().map(Value::Text));
        }
    }
}

/// Characters of an id that change every nine hours.
const SPAN: usize = 9;

/// The newest span with messages, up to this id or span (`<=`), or before it (`<`).
fn latest_span(conn: &Connection, how: &str, id: &str) -> Result<Option<String>, Error> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT substr(id, 1, 9) FROM messages INDEXED BY messages_touser
         WHERE substr(id, 1, 9) {how} ?1 ORDER BY substr(id, 1, 9) DESC LIMIT 1"
    ))?;
    Ok(select.query_row([id], |row| row.get(0)).optional()?)
}

const DUE: &str = "INDEXED BY messages_due";

/// The index that leaves the fewest rows; SQLite, which has no statistics, would often choose another. What is under way is
/// little compared with what is done: its own index finds it, and the few rows are sorted, unless it is `crowded`.
const fn index_for(filter: &MessageFilter, has_account: bool, crowded: bool) -> &'static str {
    if filter.touser.is_some() {
        return "INDEXED BY messages_touser";
    }
    if filter.batch_id.is_some() {
        return "INDEXED BY messages_batch";
    }
    match filter.state {
        Some(State::Scheduled | State::Queued) if !crowded => DUE,
        Some(State::Sending) => "INDEXED BY messages_lease",
        Some(State::Undelivered | State::Rejected | State::Unknown | State::Failed | State::Expired) => {
            "INDEXED BY messages_trouble"
        }
        _ if has_account => "INDEXED BY messages_account",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::ids::BatchId;

    fn plan(filter: &MessageFilter, crowded: bool) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        super::super::schema::upgrade(&mut conn).unwrap();
        let query = Query::new(filter, crowded);
        let (sql, values) = query.part(query.by_span.then_some("msg_01KAB"), Some("msg_01"), 50);
        let mut select = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = select.query_map(params_from_iter(&values), |row| row.get::<_, String>("detail")).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    fn of_state(state: State) -> MessageFilter {
        MessageFilter { state: Some(state), ..MessageFilter::default() }
    }

    #[test]
    fn no_page_of_what_is_done_is_sorted() {
        let text = |text: &str| Some(text.to_owned());
        let all = MessageFilter::default;
        let visible = |accounts: &[&str]| Some(accounts.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let batch_id = Some(BatchId::generate(Timestamp::from_millis(1)));
        for (filter, way) in [
            (all(), "sqlite_autoindex_messages_1 (id<?)"),
            (MessageFilter { client: text("crm"), ..all() }, "sqlite_autoindex_messages_1 (id<?)"),
            (MessageFilter { template_id: text("T"), ..all() }, "sqlite_autoindex_messages_1 (id<?)"),
            (
                MessageFilter { created_after: Some(Timestamp::from_millis(1)), ..all() },
                "sqlite_autoindex_messages_1 (id>? AND id<?)",
            ),
            (MessageFilter { visible_accounts: visible(&["a", "b"]), ..all() }, "sqlite_autoindex_messages_1 (id<?)"),
            (MessageFilter { visible_accounts: visible(&["a"]), ..all() }, "messages_account (account=? AND id<?)"),
            (MessageFilter { account: text("a"), ..all() }, "messages_account (account=? AND id<?)"),
            (
                MessageFilter { account: text("a"), client: text("crm"), ..of_state(State::Delivered) },
                "messages_account (account=? AND id<?)",
            ),
            (MessageFilter { touser: text("o1"), ..all() }, "messages_touser (<expr>=? AND touser=? AND id<?)"),
            (
                MessageFilter { touser: text("o1"), account: text("a"), ..of_state(State::Failed) },
                "messages_touser (<expr>=? AND touser=? AND id<?)",
            ),
            (MessageFilter { batch_id, account: text("a"), ..all() }, "messages_batch (batch_id=? AND id<?)"),
            (of_state(State::Failed), "messages_trouble (state=? AND id<?)"),
            (MessageFilter { account: text("a"), ..of_state(State::Unknown) }, "messages_trouble (state=? AND id<?)"),
        ] {
            let plan = plan(&filter, false);
            assert!(plan.contains(way) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
    }

    #[test]
    fn what_is_under_way_is_found_by_its_own_index_unless_there_is_much_of_it() {
        let queued = of_state(State::Queued);
        assert!(plan(&queued, false).contains("messages_due"));
        let of_account = MessageFilter { account: Some("a".to_owned()), ..queued.clone() };
        assert!(plan(&of_account, false).contains("messages_due (lane=? AND account=?)"));
        assert!(plan(&of_state(State::Sending), false).contains("messages_lease"));
        for (filter, way) in [(queued, "sqlite_autoindex_messages_1"), (of_account, "messages_account")] {
            let plan = plan(&filter, true);
            assert!(plan.contains(way) && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
