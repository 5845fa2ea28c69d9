//! Read-only connections: opened when first needed, a few at most, each used by one query at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::unavailable;
use super::open::BUSY_TIMEOUT;
use crate::store::Error;

/// Queries under way at once.
const CONNECTIONS: usize = 4;

#[derive(Clone)]
pub(super) struct Readers {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
}

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        let pool = Pool { path, idle: Mutex::default() };
        Self { pool: Arc::new(pool), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// Runs a query on a thread that may block. It sees every commit that was answered before.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| unavailable("the store is closed"))?;
        let pool = self.pool.clone();
        let task = tokio::task::spawn_blocking(move || {
            let conn = pool.take()?;
            let borrowed = Borrowed { conn: Some(conn), pool, _permit: permit };
            borrowed.conn.as_ref().map_or_else(|| Err(unavailable("no connection")), query)
        });
        task.await.unwrap_or_else(|_| Err(unavailable("a query was given up: it panicked, or the gateway is stopping")))
    }

    /// Later queries are refused.
    pub(super) fn close(&self) {
        self.permits.close();
        self.pool.idle().clear();
    }
}

impl Pool {
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

/// Goes back to the pool whatever happens: when the query panics, and when its caller has left.
struct Borrowed {
    conn: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.pool.idle().extend(self.conn.take());
    }
}
