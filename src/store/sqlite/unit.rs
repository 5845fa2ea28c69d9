//! The transaction a command runs in, and what it adds up to: figures, and what subscribers are told.

use rusqlite::{Connection, Row};

use super::events;
use crate::domain::attempt::HistoryEntry;
use crate::domain::callback::NewCallback;
use crate::domain::clock::Timestamp;
use crate::domain::event::NewEvent;
use crate::domain::ids::BatchId;
use crate::domain::state::{Lane, State};
use crate::store::Error;
use crate::store::figures::Deltas;
use crate::store::suppressed::Suppressed;
use crate::store::told::{Tidings, Told};

/// Whoever changes a message's state says so here: there is no other way to the figures, and so none past the events.
pub(super) struct Unit<'c> {
    pub(super) tx: &'c Connection,
    /// The refusal for what would add rows of callers: the volume has too little room.
    pub(super) shortage: Option<&'c Error>,
    pub(super) suppressed: &'c Suppressed,
    deltas: Deltas,
    tidings: Tidings,
}

impl<'c> Unit<'c> {
    pub(super) fn new(tx: &'c Connection, shortage: Option<&'c Error>, suppressed: &'c Suppressed) -> Self {
        Self { tx, shortage, suppressed, deltas: Deltas::default(), tidings: Tidings::default() }
    }

    pub(super) fn accepted(&mut self, account: &str, lane: Lane, state: State) {
        self.deltas.accepted(account, lane, state);
    }

    pub(super) fn lent(&mut self, account: &str, lane: Lane, from: State) {
        self.deltas.moved(account, lane, from, State::Sending);
    }

    /// A message took these steps, at least one; `told` is its row afterwards.
    pub(super) fn moved(
        &mut self,
        told: &Told,
        account: &str,
        lane: Lane,
        from: State,
        steps: &[HistoryEntry],
    ) -> Result<(), Error> {
        if let Some(last) = steps.last() {
            self.deltas.moved(account, lane, from, last.state);
        }
        self.tidings.moved(told, from, steps)
    }

    /// None of its messages may be under way.
    pub(super) fn look_at_batch(&mut self, id: BatchId, at: Timestamp) {
        self.tidings.look_at(&id.to_string(), at);
    }

    pub(super) fn called_back(&mut self, callback: &NewCallback) {
        self.tidings.called_back(callback);
    }

    /// The user has followed, or left.
    pub(super) fn user(
        &mut self,
        callback: &NewCallback,
        openid: &str,
        user_id: Option<&str>,
        subscribed: bool,
    ) -> Result<(), Error> {
        self.tidings.user(callback, openid, user_id, subscribed)
    }

    pub(super) fn raise(&mut self, event: NewEvent) {
        self.tidings.push(event);
    }

    /// It does what only the serving process may.
    pub(super) fn is_serving_only(&self) -> bool {
        !self.deltas.is_empty() || !self.tidings.is_empty()
    }

    /// Writes what is told → the figures' changes, and whether something was told.
    pub(super) fn close(mut self) -> Result<(Deltas, bool), Error> {
        events::write(self.tx, &mut self.tidings)?;
        Ok((self.deltas, !self.tidings.is_empty()))
    }
}

/// Reads [`crate::store::told::COLUMNS`].
pub(super) fn told(row: &Row<'_>) -> Told {
    let text = |column: &str| row.get::<_, Option<String>>(column).ok().flatten();
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
        created_at: row.get("created_at").ok(),
    }
}
