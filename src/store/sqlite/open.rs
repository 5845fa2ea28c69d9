//! From a path to an open store: folder, file, lock, settings, migrations, threads.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::unavailable;
use super::lock::{ServingLock, lock_path};
use super::readers::Readers;
use super::seen::Seen;
use super::space::Watch;
use super::writer::Writer;
use super::{Sqlite, accounts, figures, schema, suppressions};
use crate::config::store::SqliteConfig;
use crate::domain::account::StoredAccount;
use crate::domain::clock::Timestamp;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::failpoint::{Point, reach};
use crate::store::events::Bell;
use crate::store::figures::Figures;
use crate::store::suppressed::Suppressed;
use crate::store::{Error, Stores};

/// How long a writer waits for another program's transaction.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that a connection keeps in memory, at most, in KiB. SQLite's own 2 MiB are those of a few hundred messages; with much
/// more, the end of each transaction costs more than the pages that are read again.
const CACHE_KIB: i64 = 8 * 1024;
/// Statements that the writer keeps prepared: all of ours.
const STATEMENTS: usize = 112;

/// Opens (or makes) the file as the one serving process, and brings it to this program's schema version.
pub async fn open(config: &SqliteConfig, boot: BootId, sealer: Sealer) -> Result<Stores, Error> {
    let config = config.clone();
    blocking(move || {
        make_file(&config.path)?;
        let path = real(&config.path)?;
        let lock = ServingLock::take(&path)?.ok_or_else(|| served(&path))?;
        let mut space = Watch::start(&config, &path);
        let conn = match ready(&path) {
            // A gateway that stopped on a full volume starts there too: what was under way can end.
            Err(error) if space.make_room(&error) => ready(&path)?,
            outcome => outcome?,
        };
        reach(Point::StartMigrated);
        start(&path, conn, boot, sealer, space, Some(lock))
    })
    .await
}

/// Opens (or makes) the file beside a process that may be serving it: for the command line. Messages cannot be changed
/// through it, its [`crate::store::Counts`] stand still, and a schema that is behind is upgraded only when nobody serves the file.
pub async fn open_for_tools(config: &SqliteConfig, sealer: Sealer) -> Result<Stores, Error> {
    let path = config.path.clone();
    blocking(move || {
        make_file(&path)?;
        let mut conn = connect(&path)?;
        upgrade_unserved(&path, &mut conn)?;
        start(&path, conn, BootId::generate(Timestamp::default()), sealer, Watch::off(), None)
    })
    .await
}

/// Runs missing migrations → the schema versions before and after. Refused when something is missing and the file is served.
pub async fn migrate(config: &SqliteConfig) -> Result<(usize, usize), Error> {
    let path = config.path.clone();
    blocking(move || {
        make_file(&path)?;
        let mut conn = connect(&path)?;
        let before = upgrade_unserved(&path, &mut conn)?;
        Ok((before, schema::version(&conn)?))
    })
    .await
}

/// The accounts of the file, without changing anything; `None` when it is not there or too old to have any.
pub async fn peek_accounts(config: &SqliteConfig, sealer: Sealer) -> Result<Option<Vec<StoredAccount>>, Error> {
    let path = config.path.clone();
    blocking(move || {
        if !path.exists() {
            return Ok(None);
        }
        let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        if schema::version(&conn)? < schema::ACCOUNTS {
            return Ok(None);
        }
        accounts::list(&conn, &sealer).map(Some)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|_| Err(unavailable("opening the database was given up: the log tells why")))
}

fn start(
    path: &Path,
    conn: Connection,
    boot: BootId,
    sealer: Sealer,
    space: Watch,
    lock: Option<ServingLock>,
) -> Result<Stores, Error> {
    let sums = figures::load(&conn)?;
    let figures = Arc::new(Figures::default());
    figures.replace(sums);
    let serves = lock.is_some();
    let bell = Arc::new(Bell::default());
    let suppressed = Arc::new(Suppressed::default());
    if serves {
        suppressions::load(&conn, &suppressed)?;
    }
    let writer = Writer::start(conn, figures.clone(), bell.clone(), suppressed.clone(), space, lock)?;
    let readers = Readers::new(path.to_owned());
    let seen = Arc::new(Seen::default());
    // A tool accepts nothing.
    if serves {
        seen.fill_from(path.to_owned())?;
    }
    let (turns, boot) = (Arc::default(), boot.to_string());
    Ok(Sqlite { writer, readers, figures, bell, suppressed, turns, seen, boot, sealer }.into_stores())
}

/// The connection of the serving process.
fn ready(path: &Path) -> Result<Connection, Error> {
    let mut conn = connect(path)?;
    bring_up(&mut conn)?;
    Ok(conn)
}

/// The file itself, whatever links lead to it: the lock is the file's, not the name's.
fn real(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|error| unavailable(format!("{} cannot be resolved: {error}", path.display())))
}

/// The version before.
fn bring_up(conn: &mut Connection) -> Result<usize, Error> {
    let before = schema::version(conn)?;
    if before < schema::LATEST {
        schema::upgrade(conn)?;
    }
    Ok(before)
}

fn upgrade_unserved(path: &Path, conn: &mut Connection) -> Result<usize, Error> {
    let before = schema::version(conn)?;
    if before == schema::LATEST {
        return Ok(before);
    }
    let path = &real(path)?;
    let _lock = ServingLock::take(path)?.ok_or_else(|| served(path))?;
    bring_up(conn)
}

fn served(path: &Path) -> Error {
    unavailable(format!(
        "{} is served by another wxgate process, which holds {}: stop that process, or give this one another storage.url",
        path.display(),
        lock_path(path).display()
    ))
}

/// Folder and file, the file readable by its owner only. SQLite gives its side files the same mode.
fn make_file(path: &Path) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        unavailable(format!("{} cannot be made: {error}; check storage.url and the folder's owner", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(unavailable(format!(
            "{} cannot keep a write-ahead log: put it on a local disk, not on a network share",
            path.display()
        )));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What a statement may have to take back: a file for each batch costs more than its few pages of memory.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}
