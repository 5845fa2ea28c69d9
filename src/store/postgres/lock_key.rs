//! What transactions of several nodes take turns at. SQLite has one writer; here, whoever decides by rows of one person (or one
//! idempotency key, or one callback) holds the advisory lock of its name until the commit.

use std::error::Error as StdError;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::domain::ids::MessageId;
use crate::domain::message::IdempotencyKey;

/// 64 bits of a name. Two names that share them only wait for each other needlessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LockKey(i64);

impl LockKey {
    /// Everything that weighs receipts and doubts of one person.
    pub(super) fn user(account: &str, openid: &str) -> Self {
        Self::of(&["user", account, openid])
    }

    pub(super) fn idempotency(key: &IdempotencyKey) -> Self {
        Self::of(&["idempotency", &key.client, key.endpoint, &key.key])
    }

    /// A new message: nobody else knows its id.
    pub(super) fn message(id: MessageId) -> Self {
        Self::of(&["message", &id.to_string()])
    }

    pub(super) fn callback(account: &str, dedupe_key: &str) -> Self {
        Self::of(&["callback", account, dedupe_key])
    }

    /// Whether one batch is finished.
    pub(super) fn batch(id: &str) -> Self {
        Self::of(&["batch", id])
    }

    /// The business user ids of one account.
    pub(super) fn user_ids(account: &str) -> Self {
        Self::of(&["user_ids", account])
    }

    /// The token of one account.
    pub(super) fn token(account: &str) -> Self {
        Self::of(&["token", account])
    }

    /// One process of the gateway, as long as it lives.
    pub(super) fn node(boot: &str) -> Self {
        Self::of(&["node", boot])
    }

    /// The accounts made at run time.
    pub(super) fn accounts() -> Self {
        Self::of(&["accounts"])
    }

    /// The deliveries of one webhook.
    pub(super) fn webhook(key: &str) -> Self {
        Self::of(&["webhook", key])
    }

    /// When keys were used last.
    pub(super) fn key_uses() -> Self {
        Self::of(&["key_uses"])
    }

    pub(super) fn migration() -> Self {
        Self::of(&["migration"])
    }

    /// As PostgreSQL has it.
    pub(super) fn value(self) -> i64 {
        self.0
    }

    fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update("wxgate");
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self(i64::from_be_bytes(first))
    }
}

impl ToSql for LockKey {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}
