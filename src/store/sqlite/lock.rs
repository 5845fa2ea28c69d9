//! One serving process a file: an advisory lock on `<path>.lock`, which the system lets go when the process dies.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::fault::unavailable;
use crate::store::Error;

/// Held as long as the process serves the file.
pub(super) struct ServingLock {
    _file: File,
}

impl ServingLock {
    /// `None` when another process (or another store of this one) holds it.
    pub(super) fn take(database: &Path) -> Result<Option<Self>, Error> {
        let path = lock_path(database);
        let failed =
            |error: std::io::Error| unavailable(format!("the lock file {} cannot be used: {error}", path.display()));
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

pub(super) fn lock_path(database: &Path) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(".lock");
    path.into()
}
