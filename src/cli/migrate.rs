//! `wxgate migrate`: bring the store's tables up to this version.

use clap::Args;

use super::exit::Failure;
use super::out::say;
use crate::config::Config;
use crate::store;

/// Bring the store up to this version
///
/// `serve` does the same when it starts; this is for those who want it as a step of its own. Running it twice is safe.
/// Make a backup first: of the SQLite file and of the `.key` beside it, or of the PostgreSQL database.
#[derive(Args)]
#[command(after_help = "Example:\n  wxgate migrate --config /etc/wxgate.toml")]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn run(self, config: Config) -> Result<(), Failure> {
        say(format!("opening {} …", config.store.place()))?;
        let (before, after) = store::open::migrate(&config.store).await?;
        Ok(say(match after == before {
            true => format!("the store is up to date (schema {after})"),
            false => format!("the store was brought from schema {before} to {after}"),
        })?)
    }
}
