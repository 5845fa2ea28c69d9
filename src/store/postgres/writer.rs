//! The one writer of this node: a task that owns the write connection and commits whatever waits in one transaction.
//!
//! In: [`Command`]s. Out: each command's answer, after its commit. It never waits for company: a lone command is committed at
//! once. When anything fails, the whole batch is rolled back and its commands run again, one transaction each, so that a bad
//! one hurts only its caller.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::link::{Dialer, Link};
use super::lock_key::LockKey;
use super::work::Work;
use crate::store::Error;
use crate::store::figures::Figures;

/// Commands that may wait before `accept` is refused.
const QUEUE: usize = 4096;

/// The way to the task.
pub(super) struct Writer {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<()>,
}

pub(super) enum Order {
    Run(Box<dyn Job>),
    Stop,
}

/// A command and whoever waits for it.
#[async_trait]
pub(super) trait Job: Send + Sync {
    fn keys(&self) -> &[LockKey];
    async fn run(&mut self, unit: &Unit<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

pub(super) type Jobs = Vec<Box<dyn Job>>;

/// The same to all of them.
pub(super) fn answer_all(jobs: Jobs, outcome: &Result<(), Error>) {
    jobs.into_iter().for_each(|job| job.answer(outcome.clone()));
}

struct Call<C: Command> {
    command: C,
    keys: Vec<LockKey>,
    done: Option<C::Answer>,
    reply: oneshot::Sender<Result<C::Answer, Error>>,
}

#[async_trait]
impl<C: Command> Job for Call<C> {
    fn keys(&self) -> &[LockKey] {
        &self.keys
    }

    async fn run(&mut self, unit: &Unit<'_>) -> Result<(), Error> {
        self.done = None;
        self.done = Some(self.command.run(unit).await?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { done, reply, .. } = *self;
        // The caller may have left; what is committed stays.
        drop(reply.send(outcome.and_then(|()| done.ok_or_else(gone))));
    }
}

impl Writer {
    /// Starts the task on a connection that is there.
    pub(super) fn start(dialer: Dialer, link: Link, figures: Arc<Figures>) -> Self {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        tokio::spawn(async move {
            Work::new(dialer, link, figures).serve(inbox).await;
            drop(alive);
        });
        Self { orders, ended }
    }

    /// Waits for room, then for the commit.
    pub(super) async fn run<C: Command>(&self, command: C) -> Result<C::Answer, Error> {
        let (order, answer) = order(command);
        self.orders.send(order).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The same, but refused at once when there is no room.
    pub(super) async fn try_run<C: Command>(&self, command: C) -> Result<C::Answer, Error> {
        let (order, answer) = order(command);
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answer.await.map_err(|_| gone())?
    }

    /// Everything sent so far is committed, later commands are refused; returns when the task has ended.
    pub(super) async fn close(&self) {
        // Refused when the task has ended already.
        drop(self.orders.send(Order::Stop).await);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn order<C: Command>(command: C) -> (Order, oneshot::Receiver<Result<C::Answer, Error>>) {
    let (reply, answer) = oneshot::channel();
    let keys = command.keys();
    (Order::Run(Box::new(Call { command, keys, done: None, reply })), answer)
}

fn gone() -> Error {
    unavailable(
        "the store is closed: the gateway is stopping, or its writer died (see the log) and it must be restarted",
    )
}
