//! Values ⇄ columns, and whole rows of `messages`. What cannot be read is `Corrupt`, with its place.

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, CallbackId, DeliveryId, EventId, MessageId, WebhookId};
use crate::domain::message::Message;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::store::{Error, history};

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::from_millis)
    }
}

macro_rules! as_text {
    ($($name:ident: $text:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.$text().into())
            }
        }
    )*};
}

as_text!(State: as_str, Lane: as_str, OnUnknown: as_str, Openid: as_str);
as_text!(MessageId: to_string, BatchId: to_string, CallbackId: to_string, EventId: to_string);
as_text!(WebhookId: to_string, DeliveryId: to_string);

/// A row while it is read: every failure names table, column and row.
pub(super) struct Fields<'a> {
    row: &'a Row<'a>,
    table: &'static str,
    key: String,
}

impl<'a> Fields<'a> {
    /// `key` is the column that names the row.
    pub(super) fn new(row: &'a Row<'a>, table: &'static str, key: &'static str) -> Self {
        let key = row.get(key).unwrap_or_else(|_| "?".to_owned());
        Self { row, table, key }
    }

    pub(super) fn get<T: FromSql>(&self, column: &'static str) -> Result<T, Error> {
        self.row.get(column).map_err(|_| self.corrupt(column))
    }

    pub(super) fn parsed<T>(&self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.maybe(column, parse)?.ok_or_else(|| self.corrupt(column))
    }

    /// `None` when the column is null.
    pub(super) fn maybe<T>(&self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| parse(&text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    pub(super) fn corrupt(&self, column: &'static str) -> Error {
        Error::Corrupt { table: self.table, column, row: self.key.clone() }
    }
}

/// The columns that [`message`] reads.
pub(super) const MESSAGE_COLUMNS: &str = "id, account, client, touser, template_id, body, client_msg_id, lane, \
     on_unknown, state, state_reason, msgid, created_at, updated_at, send_at, expires_at, due_at, metadata, retry_of, \
     batch_id, attempts, history";

pub(super) fn message(row: &Row<'_>) -> Result<Message, Error> {
    let fields = Fields::new(row, "messages", "id");
    let state = fields.parsed("state", State::parse)?;
    let waits = matches!(state, State::Scheduled | State::Queued);
    Ok(Message {
        id: fields.parsed("id", MessageId::parse)?,
        account: fields.get("account")?,
        client: fields.get("client")?,
        touser: fields.parsed("touser", Openid::parse)?,
        template_id: fields.get("template_id")?,
        body: fields.get("body")?,
        client_msg_id: fields.get("client_msg_id")?,
        lane: fields.parsed("lane", Lane::parse)?,
        on_unknown: fields.parsed("on_unknown", OnUnknown::parse)?,
        state,
        state_reason: fields.get("state_reason")?,
        msgid: fields.get("msgid")?,
        created_at: fields.get("created_at")?,
        updated_at: fields.get("updated_at")?,
        send_at: fields.get("send_at")?,
        expires_at: fields.get("expires_at")?,
        next_attempt_at: if waits { Some(fields.get("due_at")?) } else { None },
        metadata: fields.get("metadata")?,
        retry_of: fields.maybe("retry_of", MessageId::parse)?,
        batch_id: fields.maybe("batch_id", BatchId::parse)?,
        attempts: fields.parsed("attempts", history::read)?,
        history: fields.parsed("history", history::read)?,
    })
}
