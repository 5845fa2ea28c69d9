//! What the writer runs: verbs over a [`Unit`], one transaction's view of the database.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;

use super::fault::Fault;
use super::lock_key::LockKey;
use super::nodes::{News, Nodes};
use super::sql::{Sql, Values};
use crate::domain::attempt::HistoryEntry;
use crate::domain::callback::NewCallback;
use crate::domain::clock::Timestamp;
use crate::domain::event::NewEvent;
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::message::{IdempotencyKey, Lease, NewMessage};
use crate::domain::state::{Lane, State};
use crate::store::Error;
use crate::store::figures::Deltas;
use crate::store::suppressed::Suppressed;
use crate::store::told::{Finished, Tidings, Told};

/// One verb. It may be run twice, when the first transaction came to nothing, and must do the same then.
#[async_trait]
pub(super) trait Command: Send + Sync + 'static {
    type Answer: Send + Sync + 'static;

    /// What it takes turns at, on every node. Commands without keys run one after the other, those with keys beside each
    /// other: what they look at before they write has to be guarded by their keys, or by `FOR UPDATE`.
    fn keys(&self) -> Vec<LockKey> {
        Vec::new()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Self::Answer, Error>;
}

/// The transaction a command runs in, and what it has to tell when it is committed.
pub(super) struct Unit<'c> {
    client: &'c ClientWrapper,
    suppressed: Option<&'c Suppressed>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
pub(super) struct Notes {
    pub(super) deltas: Deltas,
    /// New messages and their keys: to be taken back when nobody can be told that they were accepted.
    pub(super) accepted: Vec<(MessageId, Option<IdempotencyKey>)>,
    /// Messages that were lent: to be given back when nobody can be told.
    pub(super) lent: Vec<MessageId>,
    /// New batches, likewise.
    pub(super) batches: Vec<(BatchId, Option<IdempotencyKey>)>,
    /// There is work for whoever has a free slot.
    pub(super) due: bool,
    /// Messages that somebody on another node may be waiting for.
    pub(super) ended: Vec<MessageId>,
    /// What subscribers are told.
    tidings: Tidings,
    /// They are told something.
    pub(super) has_told: bool,
    /// The worst that befell a statement.
    pub(super) fault: Option<Fault>,
}

impl<'c> Unit<'c> {
    pub(super) fn new(client: &'c ClientWrapper) -> Self {
        Self { client, suppressed: None, notes: Mutex::default() }
    }

    /// For commands that may learn whom not to write to, and whom again.
    pub(super) fn with_suppressed(self, suppressed: &'c Suppressed) -> Self {
        Self { suppressed: Some(suppressed), ..self }
    }

    /// Who is suppressed, as this process knows it.
    pub(super) fn suppressed(&self) -> Option<&'c Suppressed> {
        self.suppressed
    }

    pub(super) fn accepted(&self, message: &NewMessage, state: State) {
        let mut notes = self.notes();
        notes.deltas.accepted(&message.account, message.lane, state);
        notes.accepted.push((message.id, message.idempotency.clone()));
    }

    pub(super) fn lent(&self, lease: &Lease, from: State) {
        let mut notes = self.notes();
        notes.deltas.moved(&lease.account, lease.lane, from, State::Sending);
        notes.lent.push(lease.message_id);
    }

    pub(super) fn kept_batch(&self, id: BatchId, key: Option<IdempotencyKey>) {
        self.notes().batches.push((id, key));
    }

    /// A message took these steps, at least one; `told` is its row afterwards. There is no other way to the figures, and so
    /// none past the events.
    pub(super) fn moved(
        &self,
        told: &Told,
        account: &str,
        lane: Lane,
        from: State,
        steps: &[HistoryEntry],
    ) -> Result<(), Error> {
        let mut notes = self.notes();
        if let Some(last) = steps.last() {
            notes.deltas.moved(account, lane, from, last.state);
        }
        notes.tidings.moved(told, from, steps)
    }

    /// None of its messages may be under way.
    pub(super) fn look_at_batch(&self, id: BatchId, at: Timestamp) {
        self.notes().tidings.look_at(&id.to_string(), at);
    }

    pub(super) fn take_batches(&self) -> Vec<(String, Timestamp)> {
        self.notes().tidings.take_batches()
    }

    pub(super) fn finished(&self, batch: &Finished, at: Timestamp) -> Result<(), Error> {
        self.notes().tidings.finished(batch, at)
    }

    pub(super) fn called_back(&self, callback: &NewCallback) {
        self.notes().tidings.called_back(callback);
    }

    /// The user has followed, or left.
    pub(super) fn user(
        &self,
        callback: &NewCallback,
        openid: &str,
        user_id: Option<&str>,
        subscribed: bool,
    ) -> Result<(), Error> {
        self.notes().tidings.user(callback, openid, user_id, subscribed)
    }

    pub(super) fn raise(&self, event: NewEvent) {
        self.notes().tidings.push(event);
    }

    /// What is to be told, once every batch was looked at.
    pub(super) fn take_tidings(&self) -> Tidings {
        let mut notes = self.notes();
        notes.has_told = !notes.tidings.is_empty();
        std::mem::take(&mut notes.tidings)
    }

    /// Work was made that is due: other nodes are told.
    pub(super) fn is_due(&self) {
        self.notes().due = true;
    }

    /// The message went on here, and its caller may be waiting on another node: that is told.
    pub(super) fn ended(&self, id: MessageId) {
        self.notes().ended.push(id);
    }

    /// What it adds up to so far: the figures, and the news for other nodes.
    pub(super) fn sums(&self, nodes: Option<&Nodes>) -> (Deltas, News) {
        let notes = self.notes();
        let news = nodes.map(|nodes| nodes.news(notes.due, &notes.ended, notes.has_told)).unwrap_or_default();
        (notes.deltas.clone(), news)
    }

    /// Without values, and without waiting for a statement to be prepared.
    pub(super) async fn simple(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await.map_err(|error| self.note(error))
    }

    pub(super) fn into_notes(self) -> Notes {
        self.notes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what kind of fault it was.
    fn note(&self, error: tokio_postgres::Error) -> Error {
        let fault = if self.client.is_closed() { Fault::Lost } else { Fault::of(&error) };
        let mut notes = self.notes();
        notes.fault = notes.fault.max(Some(fault));
        error.into()
    }
}

#[async_trait]
impl Sql for Unit<'_> {
    async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let answer = async { self.client.query(&self.client.prepare_cached(sql).await?, values).await };
        answer.await.map_err(|error| self.note(error))
    }

    async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Error> {
        let answer = async { self.client.execute(&self.client.prepare_cached(sql).await?, values).await };
        answer.await.map_err(|error| self.note(error))
    }
}
