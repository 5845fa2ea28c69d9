//! From `[secrets]` to the 32 bytes themselves.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::store::{SealKey, SecretsConfig};

impl SealKey {
    /// What a file holds: 32 bytes in base64.
    pub fn read(path: &Path) -> io::Result<Self> {
        read(path)
    }
}

impl SecretsConfig {
    /// As [`open`](Self::open), but no key is made: `None` when there is none yet.
    pub fn existing(&self) -> io::Result<Option<SealKey>> {
        match self {
            Self::GeneratedAt(path) if !path.exists() => Ok(None),
            _ => self.open().map(Some),
        }
    }

    /// The key that was given; or the one in the generated file, which is made now (0600) when it is not there.
    ///
    /// Safe to call from two processes at once: both end with the same key.
    pub fn open(&self) -> io::Result<SealKey> {
        match self {
            Self::Key(key) => Ok(key.clone()),
            Self::GeneratedAt(path) => match read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    generate(path)?;
                    read(path)
                }
                other => other,
            },
        }
        .map_err(|error| match self {
            Self::Key(_) => error,
            Self::GeneratedAt(path) => io::Error::new(error.kind(), format!("{}: {error}", path.display())),
        })
    }
}

fn read(path: &Path) -> io::Result<SealKey> {
    let text = String::from_utf8(std::fs::read(path)?).unwrap_or_default();
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(SealKey).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "does not hold 32 bytes in base64; put the right key back; without it tokens are fetched anew, but accounts and keys that sign have to be given anew"))
}

/// Written under another name and then linked: a key file is there whole or not at all, and never replaced.
fn generate(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = folder.join(format!(".wxgate-key-{}", hex::encode(rand::random::<[u8; 8]>())));
    let written = write_draft(&draft).and_then(|()| std::fs::hard_link(&draft, path));
    // Not there when it could not be written: that is the fault to tell.
    let _ = std::fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

fn write_draft(draft: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{}", STANDARD.encode(rand::random::<[u8; 32]>()))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_generated_key_is_private_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/wxgate.db.key");
        let secrets = SecretsConfig::GeneratedAt(path.clone());
        let first = secrets.open().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first == secrets.open().unwrap());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_broken_key_file_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "short").unwrap();
        let error = SecretsConfig::GeneratedAt(path.clone()).open().unwrap_err();
        assert!(error.to_string().contains("key: does not hold 32 bytes"), "{error}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "short");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_the_fault_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        std::fs::write(&file, "").unwrap();
        let error = SecretsConfig::GeneratedAt(file.join("wxgate.db.key")).open().unwrap_err().to_string();
        assert!(error.contains("wxgate.db.key") && !error.contains("No such file"), "{error}");
    }
}
