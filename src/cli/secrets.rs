//! `wxgate secrets`: another key for what is sealed in the store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};

use super::actor;
use super::exit::Failure;
use super::out::{complain, say};
use crate::config::Config;
use crate::config::store::{SealKey, SecretsConfig, StoreConfig};
use crate::domain::audit::{Act, Action};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::store::{self, Stores};

/// Change the key under which tokens, signing secrets and account secrets are sealed
#[derive(Args)]
#[command(after_help = "Example:\n  openssl rand -base64 32 > new.key && wxgate secrets rekey --new-key-file new.key")]
pub(super) struct SecretsCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Rekey(Rekey),
}

/// Seal everything anew, under the key of a file
///
/// The present key is the configuration's. Every gateway has to be stopped; it is one transaction, so when it is interrupted
/// everything is still under the old key. Afterwards put the new key in the place of the old one, and start. Keep the old
/// key as long as you keep backups from before.
#[derive(Args)]
#[command(after_help = "Example:\n  systemctl stop wxgate\n  \
    (umask 077; openssl rand -base64 32 > /etc/wxgate/new.key)\n  \
    wxgate secrets rekey --config /etc/wxgate.toml --new-key-file /etc/wxgate/new.key\n  \
    mv /etc/wxgate/new.key /etc/wxgate/secrets.key      as secrets.key_file names it\n  \
    systemctl start wxgate")]
struct Rekey {
    /// 32 bytes in base64, as `openssl rand -base64 32` writes them
    #[arg(long, value_name = "FILE")]
    new_key_file: PathBuf,
    /// Go on when something was sealed under a third key; it stays as it is, of no use
    #[arg(long)]
    leave_unreadable: bool,
}

impl SecretsCommand {
    pub(super) async fn run(self, config: Config) -> Result<(), Failure> {
        match self.what {
            What::Rekey(rekey) => rekey.run(config).await,
        }
    }
}

impl Rekey {
    async fn run(self, config: Config) -> Result<(), Failure> {
        let shown = config.store.place();
        let to = SealKey::read(&self.new_key_file).map_err(|error| {
            Failure::Usage(format!(
                "--new-key-file {}: {error}; make one with: openssl rand -base64 32",
                self.new_key_file.display()
            ))
        })?;
        let from = config.secrets.existing().context("the present key cannot be read")?;
        let is_there = match &config.store {
            StoreConfig::Sqlite(sqlite) => sqlite.path.exists(),
            StoreConfig::Postgres(_) => true,
        };
        let (Some(from), true) = (from, is_there) else {
            return Err(Failure::Usage(format!("nothing is sealed yet: there is no {shown}, or no key beside it")));
        };
        if from == to {
            return Err(Failure::Usage("the new key is the present one".to_owned()));
        }
        say(format!("looking at {shown} …"))?;
        let boot = BootId::generate(SystemClock.now());
        let stores = store::open::open(&config.store, boot, Sealer::new(from.0)).await?;
        let outcome = match stores.restore.others().await? {
            0 => self.reseal(&stores, Sealer::new(to.0)).await,
            others => Err(anyhow!("{shown} is served by {others} wxgate process(es): stop them first").into()),
        };
        stores.close().await;
        outcome?;
        Ok(say(self.what_next(&config.secrets))?)
    }

    async fn reseal(&self, stores: &Stores, to: Sealer) -> Result<(), Failure> {
        let progress = Arc::new(|done: usize| drop(say(format!("  {done} …"))));
        let act = Act::new(SystemClock.now(), actor::of_command(), Action::SecretsRekeyed, "secrets.key");
        let done = stores.reseal.reseal(to, self.leave_unreadable, progress, act).await?;
        for unreadable in &done.unreadable {
            complain(format!("sealed under another key than the present and the new one: {unreadable}"));
        }
        if !done.applied {
            return Err(anyhow!(
                "nothing was changed: is secrets.key the right one? With --leave-unreadable the rest is sealed anew"
            )
            .into());
        }
        for (table, count) in &done.counts {
            say(format!("  {table}: {count} sealed anew"))?;
        }
        if done.were_new > 0 {
            say(format!("  {} were under the new key already", done.were_new))?;
        }
        let total: usize = done.counts.iter().map(|(_, count)| count).sum();
        Ok(say(format!("{total} secrets are sealed under the new key now."))?)
    }

    fn what_next(&self, secrets: &SecretsConfig) -> String {
        let new = self.new_key_file.display();
        let place = match secrets {
            SecretsConfig::GeneratedAt(path) => format!("mv {new} {}", path.display()),
            SecretsConfig::Key(_) => format!("what is in {new} is secrets.key from now on, on every node"),
        };
        format!(
            "Before the next start, put the new key in place:\n  {place}\nWith the old one nothing that is sealed could be \
             opened. Keep the old key for backups from before."
        )
    }
}
