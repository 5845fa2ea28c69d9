//! What PostgreSQL complains about → a door's error, with what to do about it. Passwords and rows are never part of it.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::store::Error;

/// What can be done about a failed statement, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The statement itself.
    Refused,
    /// Two transactions were in each other's way: the same again may work.
    Again,
    /// The connection is gone.
    Lost,
}

impl Fault {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            // A value that cannot be sent is no fault of the line; everything else without a code is.
            let is_io = error.source().is_some_and(|cause| cause.is::<std::io::Error>());
            return if error.is_closed() || is_io { Self::Lost } else { Self::Refused };
        };
        match code {
            code if is_end(code) || code.code().starts_with("08") => Self::Lost,
            &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE => Self::Again,
            _ => Self::Refused,
        }
    }
}

/// The server ends the session.
fn is_end(code: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::DATABASE_DROPPED,
    ]
    .contains(code)
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unavailable { reason: text(&error) }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => unavailable(
                "every connection for queries is busy: raise storage.pool_size, or look for slow queries in the server's log",
            ),
            PoolError::Closed => unavailable("the store is closed"),
            error => unavailable(format!("no connection for a query: {error}")),
        }
    }
}

/// What happened and what to do, in one line.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    let Some(fault) = error.as_db_error() else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("{} ({error}{cause})", advice_without_code(error));
    };
    // The server's detail lines may repeat what is in a row.
    format!("{} ({} {})", advice_on(fault.code()), fault.code().code(), fault.message())
}

fn advice_without_code(error: &tokio_postgres::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("TLS") {
        return "PostgreSQL cannot be spoken to over TLS: check sslmode in storage.url, storage.ca_file and the name in the \
                server's certificate";
    }
    let is_read_only = error.source().is_some_and(|cause| cause.to_string().contains("does not allow writes"));
    if is_read_only {
        return "this PostgreSQL server only reads (a standby): name the primary in storage.url";
    }
    if text.contains("authentication") || text.contains("configuration") {
        return "PostgreSQL does not let us in: check user and password in storage.url";
    }
    if text.contains("connecting") {
        return "PostgreSQL does not answer: check host and port in storage.url, and that the server runs";
    }
    "the connection to PostgreSQL was lost"
}

fn advice_on(code: &SqlState) -> &'static str {
    match code {
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "PostgreSQL does not let us in: check user and password in storage.url, and the server's pg_hba.conf"
        }
        &SqlState::INVALID_CATALOG_NAME => "the database of storage.url does not exist: make it with CREATE DATABASE",
        &SqlState::TOO_MANY_CONNECTIONS => {
            "PostgreSQL has no connection left: raise its max_connections, or lower storage.pool_size"
        }
        &SqlState::READ_ONLY_SQL_TRANSACTION => {
            "this PostgreSQL server only reads (a standby): name the primary in storage.url"
        }
        &SqlState::DISK_FULL => "the disk of the PostgreSQL server is full: make room there",
        &SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN | &SqlState::INVALID_SCHEMA_NAME => {
            "the tables are missing: run `wxgate migrate`, and check that no other search_path is set"
        }
        &SqlState::INSUFFICIENT_PRIVILEGE => {
            "the user of storage.url may not do this: let it own the database, or GRANT it CREATE on the schema"
        }
        &SqlState::QUERY_CANCELED => "a statement took too long: look at the server's load and for locks",
        &SqlState::LOCK_NOT_AVAILABLE => "another transaction holds a lock for too long: look into pg_stat_activity",
        &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE => {
            "two transactions were in each other's way"
        }
        &SqlState::UNIQUE_VIOLATION | &SqlState::NOT_NULL_VIOLATION | &SqlState::CHECK_VIOLATION => {
            "the row contradicts one that is kept already"
        }
        code if is_end(code) => "PostgreSQL is stopping or starting: it is tried again by itself",
        _ => "a statement failed",
    }
}

/// The server takes the connection and says nothing.
pub(super) fn silent() -> Error {
    unavailable("PostgreSQL does not answer in time: check that the server is well, and the way to it")
}

/// Short for the error that a plain sentence makes.
pub(super) fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { reason: reason.into() }
}
