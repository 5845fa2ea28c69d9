//! The one writer: a thread that owns the write connection and commits whatever waits in one transaction.
//!
//! In: commands (closures over a [`Unit`]). Out: each command's result, after its commit. It never waits for company: a
//! lone command is committed at once. When anything fails, the whole batch is rolled back and its commands run again, one
//! transaction each, so that a bad one hurts only its caller: a command must do the same when it runs twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::unavailable;
use super::figures;
use super::lock::ServingLock;
use super::space::{Seen, Watch};
pub(super) use super::unit::Unit;
use crate::failpoint::{Point, reach};
use crate::store::events::Bell;
use crate::store::figures::Figures;
use crate::store::suppressed::Suppressed;
use crate::store::{Error, Space};

/// Commands that may wait before `accept` is refused.
const QUEUE: usize = 4096;
/// How often the writer lets others go first, where it shares its processor with them.
const YIELDS: usize = 4;
/// Commands in one transaction at most.
const BATCH: usize = 256;

/// The way to the thread.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    ended: watch::Receiver<()>,
    seen: Seen,
}

enum Job {
    Run(Box<dyn Command>),
    Stop,
}

trait Command: Send {
    fn run(&mut self, unit: &mut Unit<'_>) -> Result<(), Error>;
    fn answer(self: Box<Self>, outcome: Result<(), Error>);
}

struct Call<T, F> {
    work: F,
    done: Option<T>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Command for Call<T, F>
where
    T: Send,
    F: Fn(&mut Unit<'_>) -> Result<T, Error> + Send,
{
    fn run(&mut self, unit: &mut Unit<'_>) -> Result<(), Error> {
        self.done = None;
        self.done = Some((self.work)(unit)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { done, reply, .. } = *self;
        // The caller may have left; what is committed stays.
        drop(reply.send(outcome.and_then(|()| done.ok_or_else(gone))));
    }
}

impl Writer {
    /// Starts the thread. `lock` marks the serving process and is given back when the thread ends; without it, commands
    /// that would change messages are refused.
    pub(super) fn start(
        conn: Connection,
        figures: Arc<Figures>,
        bell: Arc<Bell>,
        suppressed: Arc<Suppressed>,
        space: Watch,
        lock: Option<ServingLock>,
    ) -> Result<Self, Error> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let seen = space.seen();
        let thread = Thread { conn, figures, bell, suppressed, space, serving: lock.is_some(), trouble: None };
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                thread.serve(inbox);
                drop(lock);
                drop(alive);
            })
            .map_err(|error| unavailable(format!("the writer thread cannot start: {error}")))?;
        Ok(Self { jobs, ended, seen })
    }

    /// The room on the volume, as it was seen last.
    pub(super) fn space(&self) -> Option<Space> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then for the commit.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Unit<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let call = Box::new(Call { work, done: None, reply });
        self.jobs.send(Job::Run(call)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    /// The same, but refused at once when there is no room.
    pub(super) async fn try_run<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut Unit<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let call = Box::new(Call { work, done: None, reply });
        self.jobs.try_send(Job::Run(call)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        result.await.map_err(|_| gone())?
    }

    /// Everything sent so far is committed, later commands are refused; returns when the thread has ended.
    pub(super) async fn close(&self) {
        // Refused when the thread has ended already.
        drop(self.jobs.send(Job::Stop).await);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn gone() -> Error {
    unavailable(
        "the store is closed: the gateway is stopping, or its writer died (see the log) and it must be restarted",
    )
}

/// Lets those run who are about to bring more, as long as more comes: a commit costs as much as many messages. Nobody is waited
/// for: a processor without other work comes back at once. Where there are more processors they bring it beside the commit.
fn gather(jobs: &mut mpsc::Receiver<Job>, waiting: &mut Vec<Job>, yields: usize) {
    for _ in 0..yields {
        let before = waiting.len();
        std::thread::yield_now();
        while waiting.len() < BATCH
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        if waiting.len() == before || waiting.len() == BATCH {
            return;
        }
    }
}

/// Why a batch came to nothing.
enum Failure {
    /// The transaction could not begin: running its commands again would only wait again.
    Begin(Error),
    Work(Error),
}

struct Thread {
    conn: Connection,
    figures: Arc<Figures>,
    bell: Arc<Bell>,
    suppressed: Arc<Suppressed>,
    space: Watch,
    serving: bool,
    trouble: Option<Trouble>,
}

/// Why the last batch was refused.
struct Trouble {
    text: String,
    since: Instant,
}

impl Thread {
    fn serve(mut self, mut jobs: mpsc::Receiver<Job>) {
        let yields = if std::thread::available_parallelism().is_ok_and(|count| count.get() == 1) { YIELDS } else { 0 };
        let mut waiting = Vec::with_capacity(BATCH);
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.blocking_recv_many(&mut waiting, BATCH) > 0 {
            gather(&mut jobs, &mut waiting, yields);
            for job in waiting.drain(..) {
                match job {
                    Job::Run(command) => batch.push(command),
                    Job::Stop => jobs.close(),
                }
            }
            if let Err(error) = self.work_off(&mut batch) {
                self.turn_away(&mut jobs, &error);
            }
        }
        if let Err(error) = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the last checkpoint of the store failed; the next start makes up for it");
        }
    }

    /// Everybody of the batch is answered. `Err`: no transaction could begin.
    fn work_off(&mut self, batch: &mut Vec<Box<dyn Command>>) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.space.keep();
        match self.commit(batch) {
            Ok(()) => {
                self.recovered();
                batch.drain(..).for_each(|command| command.answer(Ok(())));
            }
            Err(Failure::Begin(error)) => {
                self.refuse(batch.drain(..), &error);
                return Err(error);
            }
            Err(Failure::Work(error)) if batch.len() == 1 => self.refuse(batch.drain(..), &error),
            Err(Failure::Work(error)) => {
                tracing::debug!(%error, commands = batch.len(), "a batch was rolled back; its commands run one by one");
                return self.one_by_one(batch);
            }
        }
        Ok(())
    }

    /// Whoever came while a transaction could not begin has waited for as long as anybody should: a queue of batches that
    /// wait one after the other would make it minutes.
    fn turn_away(&mut self, jobs: &mut mpsc::Receiver<Job>, error: &Error) {
        for _ in 0..jobs.len() {
            match jobs.try_recv() {
                Ok(Job::Run(command)) => command.answer(Err(error.clone())),
                Ok(Job::Stop) => jobs.close(),
                Err(_) => return,
            }
        }
    }

    fn one_by_one(&mut self, batch: &mut Vec<Box<dyn Command>>) -> Result<(), Error> {
        let mut rest = batch.drain(..);
        while let Some(mut command) = rest.next() {
            match self.commit(std::slice::from_mut(&mut command)) {
                Ok(()) => command.answer(Ok(())),
                Err(Failure::Work(error)) => self.refuse(std::iter::once(command), &error),
                Err(Failure::Begin(error)) => {
                    command.answer(Err(error.clone()));
                    self.refuse(rest, &error);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// All of them in one transaction, or none. On a full volume the reserve is let go first.
    fn commit(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        match self.try_commit(batch) {
            Err(Failure::Begin(error) | Failure::Work(error)) if self.space.make_room(&error) => self.try_commit(batch),
            outcome => outcome,
        }
    }

    /// A panic counts as a failure: it must not end the thread.
    fn try_commit(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(|| self.commit_unguarded(batch))).unwrap_or_else(|_| {
            tracing::error!("a command of the store panicked; it was rolled back");
            Err(Failure::Work(unavailable("a defect of the gateway stopped this write; the log tells where")))
        })
    }

    fn commit_unguarded(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = begun.map_err(|error| Failure::Begin(error.into()))?;
        let (shortage, suppressed) = (self.space.shortage(), &*self.suppressed);
        let mut unit = Unit::new(&tx, shortage, suppressed);
        for command in batch {
            command.run(&mut unit).map_err(Failure::Work)?;
        }
        if !self.serving && unit.is_serving_only() {
            let reason = "only the process that serves this database may change messages";
            return Err(Failure::Work(unavailable(reason)));
        }
        let (deltas, has_told) = unit.close().map_err(Failure::Work)?;
        figures::write(&deltas, &tx).map_err(Failure::Work)?;
        reach(Point::CommitBefore);
        tx.commit().map_err(|error| Failure::Work(error.into()))?;
        reach(Point::CommitAfter);
        self.figures.add(&deltas);
        if has_told {
            self.bell.ring();
        }
        Ok(())
    }

    /// A trouble is said when it begins, not for every batch that meets it.
    fn refuse(&mut self, batch: impl Iterator<Item = Box<dyn Command>>, error: &Error) {
        let text = error.to_string();
        if self.trouble.as_ref().is_none_or(|trouble| trouble.text != text) {
            tracing::error!(%error, "the store did not write");
            self.trouble = Some(Trouble { text, since: Instant::now() });
        }
        batch.for_each(|command| command.answer(Err(error.clone())));
    }

    fn recovered(&mut self) {
        if let Some(trouble) = self.trouble.take() {
            tracing::info!(lasted_s = trouble.since.elapsed().as_secs(), "the store writes again");
        }
    }
}

#[cfg(test)]
mod tests;
