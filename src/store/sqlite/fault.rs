//! What SQLite complains about → a door's error, with what to do about it.

use rusqlite::ErrorCode;

use crate::store::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        if code == Some(ErrorCode::DiskFull) {
            return Self::NoRoom { advice: "the disk is full: make room on the database's volume".to_owned() };
        }
        let advice = code.map_or("a statement failed", advice_on);
        Self::Unavailable { reason: format!("{advice} ({error})") }
    }
}

const fn advice_on(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another program holds the database for writing: end it, or wait until it is done"
        }
        ErrorCode::SystemIoFailure => "the disk does not read or write: look at the system's log and at the volume",
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            "the database cannot be opened for writing: check owner and mode of the file and of its folder"
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            "the database file is damaged: stop the gateway and restore the file from a backup"
        }
        ErrorCode::ConstraintViolation => "the row contradicts one that is kept already",
        _ => "a statement failed",
    }
}

/// Short for the error that a plain sentence makes.
pub(super) fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn what_the_operator_can_mend_says_how() {
        for (code, word) in [
            (ffi::SQLITE_BUSY, "another program"),
            (ffi::SQLITE_IOERR, "volume"),
            (ffi::SQLITE_READONLY, "mode"),
            (ffi::SQLITE_NOTADB, "backup"),
        ] {
            let error = Error::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert!(matches!(&error, Error::Unavailable { reason } if reason.contains(word)), "{error}");
        }
        let full = Error::from(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None));
        assert!(matches!(&full, Error::NoRoom { advice } if advice.contains("make room")), "{full}");
    }
}
