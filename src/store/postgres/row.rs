//! Values ⇄ columns, and whole rows of `messages`. What cannot be read is `Corrupt`, with its place.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, CallbackId, DeliveryId, EventId, MessageId, WebhookId};
use crate::domain::message::Message;
use crate::domain::secret::Openid;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::store::told::Told;
use crate::store::{Error, history};

type Encoded = Result<IsNull, Box<dyn StdError + Sync + Send>>;

impl ToSql for Timestamp {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
        self.as_millis().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        i64::from_sql(ty, raw).map(Self::from_millis)
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as FromSql<'_>>::accepts(ty)
    }
}

macro_rules! as_text {
    ($($name:ident: $text:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Encoded {
                self.$text().to_sql(ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                <&str as ToSql>::accepts(ty)
            }

            to_sql_checked!();
        }
    )*};
}

as_text!(State: as_str, Lane: as_str, OnUnknown: as_str, Openid: as_str);
as_text!(MessageId: to_string, BatchId: to_string, CallbackId: to_string, EventId: to_string);
as_text!(WebhookId: to_string, DeliveryId: to_string);

/// Reads [`crate::store::told::COLUMNS`].
pub(super) fn told(row: &Row) -> Told {
    let text = |column: &str| row.try_get::<_, Option<String>>(column).ok().flatten();
    Told {
        id: text("id"),
        account: text("account"),
        client: text("client"),
        touser: text("touser"),
        template_id: text("template_id"),
        msgid: text("msgid"),
        attempts: text("attempts"),
        metadata: text("metadata"),
        retry_of: text("retry_of"),
        batch_id: text("batch_id"),
        created_at: row.try_get("created_at").ok(),
    }
}

/// A row while it is read: every failure names table, column and row.
pub(super) struct Fields<'a> {
    row: &'a Row,
    table: &'static str,
    key: String,
}

impl<'a> Fields<'a> {
    /// `key` is the column that names the row.
    pub(super) fn new(row: &'a Row, table: &'static str, key: &'static str) -> Self {
        let text = row.try_get::<_, String>(key);
        let number = |_| row.try_get::<_, i64>(key).map(|number| number.to_string());
        Self { row, table, key: text.or_else(number).unwrap_or_else(|_| "?".to_owned()) }
    }

    pub(super) fn get<T: FromSql<'a>>(&self, column: &'static str) -> Result<T, Error> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    pub(super) fn parsed<T>(&self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.maybe(column, parse)?.ok_or_else(|| self.corrupt(column))
    }

    /// `None` when the column is null.
    pub(super) fn maybe<T>(&self, column: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| parse(text).ok_or_else(|| self.corrupt(column))).transpose()
    }

    /// A count that is kept as BIGINT.
    pub(super) fn count(&self, column: &'static str) -> Result<u32, Error> {
        u32::try_from(self.get::<i64>(column)?).map_err(|_| self.corrupt(column))
    }

    pub(super) fn corrupt(&self, column: &'static str) -> Error {
        Error::Corrupt { table: self.table, column, row: self.key.clone() }
    }
}

/// The columns that [`message`] reads.
pub(super) const MESSAGE_COLUMNS: &str = "id, account, client, touser, template_id, body, client_msg_id, lane, \
     on_unknown, state, state_reason, msgid, created_at, updated_at, send_at, expires_at, due_at, metadata, retry_of, \
     batch_id, attempts, history";

pub(super) fn message(row: &Row) -> Result<Message, Error> {
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
