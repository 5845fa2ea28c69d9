//! Read-only connections: opened when first needed, a few at most, each used by one query at a time.
//!
//! Two pools: [`Readers::read`] is for queries that an index answers at once, [`Readers::read_within`] for those that may
//! have to look at many rows. They share nothing, so that a slow list never holds up the queue.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::unavailable;
use super::open::BUSY_TIMEOUT;
use crate::domain::trouble::Trouble;
use crate::store::Error;

/// Quick queries under way at once.
const QUICK: usize = 4;
/// Slow ones.
const SLOW: usize = 2;
/// How long a slow one may take, waiting for its turn included.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// A slow query looks up from its work after so many steps of SQLite's machine: well under a millisecond.
const STEPS: i32 = 10_000;

pub(super) struct Readers {
    quick: Pool,
    slow: Pool,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { quick: Pool::new(path.clone(), QUICK), slow: Pool::new(path, SLOW) }
    }

    /// Runs a query on a thread that may block. It sees every commit that was answered before.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        self.quick.read(None, query).await
    }

    /// The same for a query that may be slow: it is given up after `patience`, and when its caller has left.
    pub(super) async fn read_within<T, F>(&self, patience: Duration, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let left = Left(Arc::default());
        let answer = self.slow.read(Some(left.0.clone()), query);
        tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
            Err(Error::TooSlow {
                advice: format!(
                    "the query needs more than {} seconds: narrow the filter (an account, a recipient, a batch, a state such \
                     as failed, or a shorter time)",
                    patience.as_secs()
                ),
            })
        })
    }

    /// Later queries are refused.
    pub(super) fn close(&self) {
        self.quick.close();
        self.slow.close();
    }
}

/// Tells the query, when it is dropped, that nobody waits for it any more.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Pool {
    shelf: Arc<Shelf>,
    permits: Arc<Semaphore>,
}

struct Shelf {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    trouble: Trouble,
}

impl Pool {
    fn new(path: PathBuf, connections: usize) -> Self {
        let shelf = Shelf { path, idle: Mutex::default(), trouble: Trouble::default() };
        Self { shelf: Arc::new(shelf), permits: Arc::new(Semaphore::new(connections)) }
    }

    async fn read<T, F>(&self, left: Option<Arc<AtomicBool>>, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| unavailable("the store is closed"))?;
        let shelf = self.shelf.clone();
        let task = tokio::task::spawn_blocking(move || {
            let has_left = left.clone();
            let answer = shelf.lend(left, permit, query);
            if !has_left.is_some_and(|left| left.load(Ordering::Relaxed)) {
                shelf.note(answer.as_ref().err());
            }
            answer
        });
        task.await.unwrap_or_else(|_| Err(unavailable("a query was given up: it panicked, or the gateway is stopping")))
    }

    fn close(&self) {
        self.permits.close();
        self.shelf.idle().clear();
    }
}

impl Shelf {
    /// Runs the query on a connection of its own.
    fn lend<T>(
        self: &Arc<Self>,
        left: Option<Arc<AtomicBool>>,
        permit: OwnedSemaphorePermit,
        query: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let conn = self.take()?;
        if let Some(left) = left {
            conn.progress_handler(STEPS, Some(move || left.load(Ordering::Relaxed)))?;
        }
        let borrowed = Borrowed { conn: Some(conn), shelf: self.clone(), _permit: permit };
        borrowed.conn.as_ref().map_or_else(|| Err(unavailable("no connection")), query)
    }

    /// Says what keeps queries from being answered, once, and when they are answered again.
    fn note(&self, error: Option<&Error>) {
        match error {
            Some(error) if error.is_said() && self.trouble.begins() => {
                tracing::error!(%error, "the store cannot be read")
            }
            None if self.trouble.ends() => tracing::info!("the store can be read again"),
            _ => {}
        }
    }

    fn take(&self) -> Result<Connection, Error> {
        let idle = self.idle().pop();
        idle.map_or_else(|| self.connect(), Ok)
    }

    fn connect(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes back to the shelf whatever happens: when the query panics, and when its caller has left.
struct Borrowed {
    conn: Option<Connection>,
    shelf: Arc<Shelf>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // One that still listens to a caller of before would give up everybody's queries: it is closed instead.
        if conn.progress_handler(0, None::<fn() -> bool>).is_ok() {
            self.shelf.idle().push(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without an end.
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

    fn readers() -> (tempfile::TempDir, Readers) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        (folder, Readers::new(path))
    }

    fn endless(conn: &Connection) -> Result<i64, Error> {
        Ok(conn.query_row(ENDLESS, [], |row| row.get(0))?)
    }

    fn quick(conn: &Connection) -> Result<i64, Error> {
        Ok(conn.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
    }

    #[tokio::test]
    async fn a_query_that_takes_too_long_is_given_up_with_advice() {
        let (_folder, readers) = readers();
        let error = readers.read_within(Duration::from_millis(30), endless).await.unwrap_err().to_string();
        assert!(error.contains("narrow the filter"), "{error}");
        // Its connection is good again, and both of them are free.
        for _ in 0..3 {
            assert_eq!(readers.read_within(Duration::MAX, quick).await.unwrap(), 0);
        }
        drop(readers.slow.permits.acquire_many(2).await.unwrap());
    }

    #[tokio::test]
    async fn a_query_ends_when_its_caller_leaves() {
        let (_folder, readers) = readers();
        for _ in 0..3 {
            let mut calls: Vec<_> = (0..SLOW).map(|_| Box::pin(readers.read_within(Duration::MAX, endless))).collect();
            for call in &mut calls {
                assert!(futures_util::poll!(call).is_pending());
            }
            drop(calls);
        }
        // Would wait for ever otherwise.
        assert_eq!(readers.read_within(Duration::MAX, quick).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn slow_queries_do_not_hold_up_quick_ones() {
        let (_folder, readers) = readers();
        let mut calls: Vec<_> = (0..SLOW * 2).map(|_| Box::pin(readers.read_within(Duration::MAX, endless))).collect();
        for call in &mut calls {
            assert!(futures_util::poll!(call).is_pending());
        }
        assert_eq!(readers.read(quick).await.unwrap(), 0);
    }
}
