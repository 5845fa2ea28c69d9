//! Configuration and store.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::finding::Finding;
use crate::cli::config::summary;
use crate::cli::stored_accounts::Peeked;
use crate::config::Config;
use crate::config::store::{SqliteConfig, StoreConfig};
use crate::domain::account::Account;
use crate::store;

const MIB: u64 = 1 << 20;
const LITTLE_MIB: u64 = 1024;
const TOO_LITTLE_MIB: u64 = 100;

pub(super) fn of_config(config: &Config) -> Vec<Finding> {
    let name = "configuration";
    let mut findings = vec![Finding::ok(name, summary(config))];
    let warn = |problem: &String| Finding::warning(name, problem, "see `wxgate config default`");
    findings.extend(config.notes.warnings.iter().map(warn));
    findings
}

/// Those made at run time.
pub(super) fn of_stored(stored: &[Peeked]) -> Vec<Finding> {
    let finding = |one: &Peeked| match &one.problem {
        None => Finding::ok("accounts", format!("{} was made at run time", one.name)),
        Some(problem) => {
            let detail = format!("{} was made at run time, and is out of use: {problem}", one.name);
            Finding::failed("accounts", detail, "see GET /v1/accounts")
        }
    };
    stored.iter().map(finding).collect()
}

/// All that are in use.
pub(super) fn of_accounts(accounts: &[Arc<Account>]) -> Vec<Finding> {
    let name = "accounts";
    if accounts.is_empty() {
        let cure = "add [accounts.<name>] with app_id and app_secret, or make one: POST /v1/accounts";
        return vec![Finding::warning(name, "no account: nothing can be sent", cure)];
    }
    let mut findings = Vec::new();
    for account in accounts.iter().filter(|account| account.callback.is_none()) {
        let detail = format!("account {} takes no callbacks, so its messages never become `delivered`", account.name);
        let cure = format!("give {} the token and encoding_aes_key of WeChat's console", account.name);
        findings.push(Finding::warning(name, detail, cure));
    }
    findings
}

/// The name of what [`storage`] looks at.
pub(super) fn storage_name(store: &StoreConfig) -> &'static str {
    match store {
        StoreConfig::Sqlite(_) => "disk",
        StoreConfig::Postgres(_) => "storage",
    }
}

/// Is there room for the file? Does the database answer? Nothing is changed.
pub(super) async fn storage(store: &StoreConfig) -> Finding {
    match store {
        StoreConfig::Sqlite(file) => disk(file),
        StoreConfig::Postgres(_) => match store::open::inspect(store).await {
            Ok(detail) => Finding::ok("storage", detail),
            Err(error) => {
                Finding::failed("storage", error.to_string(), "the gateway does not start before this is mended")
            }
        },
    }
}

fn disk(store: &SqliteConfig) -> Finding {
    let folder = nearest_folder(&store.path);
    let shown = folder.display();
    if let Err(error) = try_to_write(&folder) {
        let cure = format!("let the user that runs wxgate write to {shown}, or change storage.url");
        return Finding::failed("disk", format!("{shown} is not writable: {error}"), cure);
    }
    if store.path.exists()
        && let Err(error) = OpenOptions::new().append(true).open(&store.path)
    {
        let shown = store.path.display();
        let cure = "let the user that runs wxgate write to it";
        return Finding::failed("disk", format!("{shown} is not writable: {error}"), cure);
    }
    let Some(free_mib) = free_mib(&folder) else {
        return Finding::warning("disk", format!("the free space of {shown} is not known"), "look at it with df");
    };
    let detail = format!("{shown} is writable, {free_mib} MiB free");
    if free_mib < TOO_LITTLE_MIB {
        return Finding::failed("disk", detail, "make room: nothing can be accepted when the disk is full");
    }
    if free_mib < LITTLE_MIB {
        return Finding::warning("disk", detail, "make room soon");
    }
    Finding::ok("disk", detail)
}

/// The folder of the file, or the nearest one above that exists: the gateway makes the rest.
fn nearest_folder(file: &Path) -> PathBuf {
    let existing = file.ancestors().skip(1).find(|folder| folder.is_dir());
    existing.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".wxgate-doctor-{}", hex::encode(rand::random::<[u8; 8]>())));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(probe)
}

fn free_mib(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()) / MIB)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn a_folder_that_will_be_made_is_checked_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/wxgate.db");
        assert_eq!(nearest_folder(&path), folder.path());
        let finding = disk(&SqliteConfig::at(path));
        assert_ne!(finding.status, Status::Failed, "{finding}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        assert_eq!(nearest_folder(Path::new("wxgate.db")), Path::new("."));
    }

    #[test]
    fn an_empty_configuration_is_told_what_it_lacks() {
        let findings = of_accounts(&Config::parse("").unwrap().accounts);
        assert!(findings.iter().any(|finding| finding.detail.starts_with("no account")), "{findings:?}");
    }
}
