//! The one writer: a thread that owns the write connection and commits whatever waits in one transaction.
//!
//! In: commands (closures over a [`Unit`]). Out: each command's result, after its commit. It never waits for company: a
//! lone command is committed at once. When anything fails, the whole batch is rolled back and its commands run again, one
//! transaction each, so that a bad one hurts only its caller: a command must do the same when it runs twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::unavailable;
use super::figures::{Deltas, Figures};
use super::lock::ServingLock;
use crate::failpoint::{Point, reach};
use crate::store::Error;

/// Commands that may wait before `accept` is refused.
const QUEUE: usize = 4096;
/// Commands in one transaction at most.
const BATCH: usize = 256;

/// The transaction a command runs in.
pub(super) struct Unit<'c> {
    pub(super) tx: &'c Connection,
    pub(super) deltas: Deltas,
}

/// The way to the thread.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    ended: watch::Receiver<()>,
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
    pub(super) fn start(conn: Connection, figures: Arc<Figures>, lock: Option<ServingLock>) -> Result<Self, Error> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let (alive, ended) = watch::channel(());
        let thread = Thread { conn, figures, serving: lock.is_some(), trouble: None };
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                thread.serve(inbox);
                drop(lock);
                drop(alive);
            })
            .map_err(|error| unavailable(format!("the writer thread cannot start: {error}")))?;
        Ok(Self { jobs, ended })
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

/// Why a batch came to nothing.
enum Failure {
    /// The transaction could not begin: running its commands again would only wait again.
    Begin(Error),
    Work(Error),
}

struct Thread {
    conn: Connection,
    figures: Arc<Figures>,
    serving: bool,
    /// Why the last batch was refused: said once, not for every batch that meets it.
    trouble: Option<String>,
}

impl Thread {
    fn serve(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::with_capacity(BATCH);
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.blocking_recv_many(&mut waiting, BATCH) > 0 {
            for job in waiting.drain(..) {
                match job {
                    Job::Run(command) => batch.push(command),
                    Job::Stop => jobs.close(),
                }
            }
            self.work_off(&mut batch);
        }
        if let Err(error) = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the last checkpoint of the store failed; the next start makes up for it");
        }
    }

    fn work_off(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        if batch.is_empty() {
            return;
        }
        match self.commit(batch) {
            Ok(()) => {
                self.recovered();
                batch.drain(..).for_each(|command| command.answer(Ok(())));
            }
            Err(Failure::Begin(error)) => self.refuse(batch.drain(..), &error),
            Err(Failure::Work(error)) if batch.len() == 1 => self.refuse(batch.drain(..), &error),
            Err(Failure::Work(error)) => {
                tracing::warn!(%error, commands = batch.len(), "a batch was rolled back; its commands run one by one");
                self.one_by_one(batch);
            }
        }
    }

    fn one_by_one(&mut self, batch: &mut Vec<Box<dyn Command>>) {
        let mut rest = batch.drain(..);
        while let Some(mut command) = rest.next() {
            match self.commit(std::slice::from_mut(&mut command)) {
                Ok(()) => command.answer(Ok(())),
                Err(Failure::Work(error)) => command.answer(Err(error)),
                Err(Failure::Begin(error)) => {
                    command.answer(Err(error.clone()));
                    return self.refuse(rest, &error);
                }
            }
        }
    }

    /// All of them in one transaction, or none. A panic counts as a failure: it must not end the thread.
    fn commit(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(|| self.commit_unguarded(batch))).unwrap_or_else(|_| {
            tracing::error!("a command of the store panicked; it was rolled back");
            Err(Failure::Work(unavailable("a defect of the gateway stopped this write; the log tells where")))
        })
    }

    fn commit_unguarded(&mut self, batch: &mut [Box<dyn Command>]) -> Result<(), Failure> {
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = begun.map_err(|error| Failure::Begin(error.into()))?;
        let mut unit = Unit { tx: &tx, deltas: Deltas::default() };
        for command in batch {
            command.run(&mut unit).map_err(Failure::Work)?;
        }
        let deltas = unit.deltas;
        if !self.serving && !deltas.is_empty() {
            let reason = "only the process that serves this database may change messages";
            return Err(Failure::Work(unavailable(reason)));
        }
        deltas.write(&tx).map_err(Failure::Work)?;
        reach(Point::CommitBefore);
        tx.commit().map_err(|error| Failure::Work(error.into()))?;
        reach(Point::CommitAfter);
        self.figures.add(&deltas);
        Ok(())
    }

    fn refuse(&mut self, batch: impl Iterator<Item = Box<dyn Command>>, error: &Error) {
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!(%error, "the store did not write");
            self.trouble = Some(trouble);
        }
        batch.for_each(|command| command.answer(Err(error.clone())));
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the store writes again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Writer {
        started_with("")
    }

    fn started_with(settings: &str) -> Writer {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (n INTEGER UNIQUE, filling BLOB)").unwrap();
        conn.execute_batch(settings).unwrap();
        Writer::start(conn, Arc::default(), None).unwrap()
    }

    fn insert(unit: &mut Unit<'_>, n: i64) -> Result<i64, Error> {
        unit.tx.execute("INSERT INTO t (n) VALUES (?1)", [n])?;
        Ok(unit.tx.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn a_poisonous_command_hurts_only_its_caller() {
        let writer = started();
        let (first, twice, panicking, last) = tokio::join!(
            writer.run(|unit| insert(unit, 1)),
            writer.run(|unit| insert(unit, 1)),
            writer.run(|unit| {
                insert(unit, 7)?;
                if unit.tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
            }),
            writer.run(|unit| insert(unit, 2)),
        );
        assert_eq!(first.unwrap(), 1);
        assert!(matches!(twice, Err(Error::Unavailable { .. })));
        assert!(matches!(panicking, Err(Error::Unavailable { .. })));
        assert_eq!(last.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_with_its_cure_and_spares_what_still_fits() {
        let writer = started_with("PRAGMA max_page_count = 8");
        let fill = |unit: &mut Unit<'_>| -> Result<(), Error> {
            unit.tx.execute("INSERT INTO t (filling) VALUES (zeroblob(100000))", [])?;
            Ok(())
        };
        let (small, large) = tokio::join!(writer.run(|unit| insert(unit, 1)), writer.run(fill));
        assert_eq!(small.unwrap(), 1);
        assert!(matches!(large, Err(Error::Unavailable { reason }) if reason.contains("make room")));
        assert_eq!(writer.run(|unit| insert(unit, 2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn closing_commits_what_waits_and_refuses_the_rest() {
        let writer = started();
        let (kept, ()) = tokio::join!(writer.run(|unit| insert(unit, 1)), writer.close());
        assert_eq!(kept.unwrap(), 1);
        let late = writer.run(|unit| insert(unit, 2)).await;
        assert!(matches!(late, Err(Error::Unavailable { reason }) if reason.contains("closed")));
        writer.close().await;
    }

    #[tokio::test]
    async fn a_writer_that_is_far_behind_refuses_what_need_not_wait() {
        let writer = started();
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let (begin, begun) = std::sync::mpsc::channel();
        let mut running = Box::pin(writer.run(move |_| {
            begin.send(()).unwrap();
            // Ends when the test lets go of the other end.
            Ok(held.lock().unwrap().recv().is_err())
        }));
        assert!(futures_util::poll!(&mut running).is_pending());
        // From here on the thread is busy with a batch of one and takes nothing more.
        begun.recv().unwrap();
        let mut waiting = Vec::new();
        for n in 0..i64::try_from(QUEUE).unwrap() {
            let mut call = Box::pin(writer.try_run(move |unit| insert(unit, n)));
            assert!(futures_util::poll!(&mut call).is_pending());
            waiting.push(call);
        }
        let refused = writer.try_run(|unit| insert(unit, -1)).await;
        assert!(matches!(refused, Err(Error::Overloaded)));
        drop(hold);
        assert!(running.await.unwrap());
        for call in waiting {
            call.await.unwrap();
        }
    }
}
