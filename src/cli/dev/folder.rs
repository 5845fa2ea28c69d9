//! Where `wxgate dev` stores: a folder of the user's, which stays, or one of its own, which goes.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    pub(super) fn open(wish: Option<PathBuf>) -> io::Result<Self> {
        let is_kept = wish.is_some();
        let own = || std::env::temp_dir().join(format!("wxgate-dev-{}", hex::encode(rand::random::<[u8; 8]>())));
        let path = wish.unwrap_or_else(own);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self { path, is_kept })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_folder_goes_and_a_given_one_stays() {
        let own = Folder::open(None).unwrap();
        let path = own.path().to_owned();
        std::fs::write(path.join("wxgate.db"), "x").unwrap();
        drop(own);
        assert!(!path.exists());

        let outer = tempfile::tempdir().unwrap();
        let given = Folder::open(Some(outer.path().join("data"))).unwrap();
        assert!(given.is_kept());
        drop(given);
        assert!(outer.path().join("data").exists());
    }
}
