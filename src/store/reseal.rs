//! A new `secrets.key`: what is sealed under the old one is sealed under the new one. For a store that no gateway serves.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Error, accounts, keys, tokens, webhooks};
use crate::domain::account::SecretField;
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;

#[async_trait]
pub trait Reseal: Send + Sync {
    /// Seals everything under `to`, in one transaction: all of it or nothing. What is under `to` already stays. What opens under
    /// neither key is named in `unreadable`; then nothing is changed, unless `leave_unreadable`. Of tokens it is no matter: they
    /// are fetched anew. `act` is written into `audit` in the same transaction, with the counts.
    async fn reseal(&self, to: Sealer, leave_unreadable: bool, progress: Progress, act: Act)
    -> Result<Resealed, Error>;
}

/// Told now and then how many are done.
pub type Progress = Arc<dyn Fn(usize) + Send + Sync>;

/// What `reseal` did, or found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Whether it was kept.
    pub applied: bool,
    /// Table → how many were sealed anew.
    pub counts: Vec<(&'static str, usize)>,
    /// How many were under the new key already.
    pub were_new: usize,
    /// "accounts shop.token": sealed under neither.
    pub unreadable: Vec<String>,
}

impl Resealed {
    /// What is written down of it.
    pub(super) fn told(&self, act: &Act) -> Act {
        self.counts.iter().fold(act.clone(), |act, (table, count)| act.with(table, *count))
    }
}

/// A column that holds sealed text. Every one of the schema stands in [`columns`].
pub(super) struct Column {
    pub(super) table: &'static str,
    /// The column that names the row.
    pub(super) id: &'static str,
    pub(super) column: &'static str,
    /// The name that the text is bound to.
    row_name: RowName,
    /// What is lost of it comes again by itself.
    is_passing: bool,
}

enum RowName {
    Of(fn(&str) -> String),
    Account(SecretField),
}

pub(super) fn columns() -> Vec<Column> {
    let of = |table, id, column, row_name, is_passing| Column {
        table,
        id,
        column,
        row_name: RowName::Of(row_name),
        is_passing,
    };
    let mut columns = vec![
        of("tokens", "account", "sealed", tokens::row_name, true),
        of("keys", "id", "sealed_secret", keys::row_name, false),
        of("webhooks", "id", webhooks::SECRET, |id| webhooks::row_name(id, webhooks::SECRET), false),
        of("webhooks", "id", webhooks::PREVIOUS_SECRET, |id| webhooks::row_name(id, webhooks::PREVIOUS_SECRET), false),
    ];
    columns.extend(SecretField::ALL.map(|field| Column {
        table: "accounts",
        id: "name",
        column: field.as_str(),
        row_name: RowName::Account(field),
        is_passing: false,
    }));
    columns
}

const PROGRESS: usize = 500;

/// The work of one transaction, text by text.
pub(super) struct Work<'a> {
    from: &'a Sealer,
    to: &'a Sealer,
    progress: &'a Progress,
    done: usize,
    pub(super) result: Resealed,
}

impl<'a> Work<'a> {
    pub(super) fn new(from: &'a Sealer, to: &'a Sealer, progress: &'a Progress) -> Self {
        Self { from, to, progress, done: 0, result: Resealed::default() }
    }

    /// The text to be kept in place of this one; `None`: it stays.
    pub(super) fn text(&mut self, column: &Column, id: &str, sealed: &str) -> Result<Option<String>, Error> {
        let row = match column.row_name {
            RowName::Of(name) => name(id),
            RowName::Account(field) => accounts::row_name(id, field),
        };
        let Ok(secret) = self.from.open(sealed, &row) else {
            match self.to.open(sealed, &row) {
                Ok(_) => self.result.were_new += 1,
                Err(_) if column.is_passing => {}
                Err(_) => self.result.unreadable.push(format!("{} {id}.{}", column.table, column.column)),
            }
            return Ok(None);
        };
        let reason = || "a secret cannot be sealed under the new key".to_owned();
        let text = self.to.seal(&secret, &row).map_err(|_| Error::Unavailable { reason: reason() })?;
        match self.result.counts.iter_mut().find(|(table, _)| *table == column.table) {
            Some((_, count)) => *count += 1,
            None => self.result.counts.push((column.table, 1)),
        }
        self.done += 1;
        if self.done.is_multiple_of(PROGRESS) {
            (self.progress)(self.done);
        }
        Ok(Some(text))
    }

    /// May what was written stay?
    pub(super) fn may_stay(&self, leave_unreadable: bool) -> bool {
        leave_unreadable || self.result.unreadable.is_empty()
    }
}
