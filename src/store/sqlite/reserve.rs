//! Room that is kept for a full volume: a file beside the database that holds nothing, really allocated.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) const RESERVE_BYTES: u64 = 16 << 20;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// `<database>.reserve`.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(database: &Path) -> Self {
        let mut path = OsString::from(database);
        path.push(".reserve");
        Self { path: path.into() }
    }

    /// Makes it, unless it is there and whole: `true` when something was made. Half a reserve is not left behind.
    pub(super) fn make(&mut self) -> io::Result<bool> {
        if self.is_whole() {
            return Ok(false);
        }
        let made = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&self.path)
            .and_then(|file| allocate(&file));
        if made.is_err() {
            self.let_go();
        }
        made.map(|()| true)
    }

    /// Gives its room back. `false`: there was none.
    pub(super) fn let_go(&mut self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    fn is_whole(&self) -> bool {
        let found = std::fs::metadata(&self.path);
        found.is_ok_and(|file| file.len() == RESERVE_BYTES && file.blocks() * BLOCK_BYTES >= RESERVE_BYTES)
    }
}

/// A length alone would promise room that nobody keeps.
fn allocate(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let length = nix::libc::off_t::try_from(RESERVE_BYTES).unwrap_or(nix::libc::off_t::MAX);
        match nix::fcntl::posix_fallocate(file, 0, length) {
            Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) => {}
            done => return Ok(done?),
        }
    }
    write_out(file)
}

/// Where the system cannot allocate. No zeros: some volumes keep no room for those.
fn write_out(mut file: &File) -> io::Result<()> {
    let chunk: Vec<u8> = (0..1 << 16).map(|_| rand::random()).collect();
    for _ in 0..RESERVE_BYTES / chunk.len() as u64 {
        file.write_all(&chunk)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_real_room_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::beside(&folder.path().join("t.db"));
        assert!(reserve.make().unwrap() && !reserve.make().unwrap());
        let file = std::fs::metadata(folder.path().join("t.db.reserve")).unwrap();
        assert_eq!((file.len(), file.mode() & 0o777), (RESERVE_BYTES, 0o600));
        assert!(file.blocks() * BLOCK_BYTES >= RESERVE_BYTES, "sparse: {} blocks", file.blocks());
        assert!(reserve.let_go() && !reserve.let_go());
    }

    #[test]
    fn a_hollow_file_is_filled() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::beside(&folder.path().join("t.db"));
        File::create(&reserve.path).unwrap().set_len(RESERVE_BYTES).unwrap();
        assert!(reserve.make().unwrap());
        assert!(std::fs::metadata(&reserve.path).unwrap().blocks() > 0);
    }

    #[test]
    fn where_nothing_can_be_allocated_it_is_written_out() {
        let file = tempfile::tempfile().unwrap();
        write_out(&file).unwrap();
        assert_eq!(file.metadata().unwrap().len(), RESERVE_BYTES);
        assert!(file.metadata().unwrap().blocks() * BLOCK_BYTES >= RESERVE_BYTES);
    }
}
