//! `wxgate doctor`: does it work, from this machine, with these settings? A line for each check, and a cure where one fails.

mod checks;
mod finding;
mod network;
mod tokens;

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde_json::json;

use self::finding::{Finding, Status};
use super::exit::Failure;
use super::out::say;
use super::stored_accounts;
use crate::config::{Config, ConfigErrors};

/// Check the whole setting: configuration, store, clock, WeChat, tokens, callback URL, Redis
///
/// Fetches a token for each account that uses stable tokens (this disturbs nobody) and changes nothing else. Run it on
/// the machine, and as the user, that will run the gateway. Exit code 1 when something fails, 2 when the configuration
/// is wrong.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  wxgate doctor --config my.toml\n  wxgate doctor --json | jq '.checks[] | select(.status == \"failed\")'"
)]
pub(super) struct Doctor {
    /// JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// Tells each finding as soon as it is there.
struct Report {
    is_json: bool,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(super) async fn run(self, config: Result<Config, ConfigErrors>) -> Result<(), Failure> {
        let mut report = Report { is_json: self.json, findings: Vec::new() };
        let config = match config {
            Ok(config) => config,
            Err(errors) => {
                report.add(finding::of_errors(&errors))?;
                report.end()?;
                return Err(Failure::Usage(
                    "the configuration has to be right before anything else can be checked".to_owned(),
                ));
            }
        };
        let stored = stored_accounts::peek(&config).await;
        report.add_all(checks::of_config(&config))?;
        report.begin(checks::storage_name(&config.store))?;
        report.add(checks::storage(&config.store).await)?;
        let mut accounts = config.accounts.clone();
        match stored {
            Ok(stored) => {
                accounts.extend(stored.iter().filter(|one| one.problem.is_none()).map(|one| one.account.clone()));
                report.add_all(checks::of_stored(&stored))?;
            }
            // Why, the check of the store tells.
            Err(problem) => tracing::debug!(problem, "the stored accounts cannot be looked at"),
        }
        report.add_all(checks::of_accounts(&accounts))?;
        network::check(&config, &accounts, &mut report).await?;
        report.end()?;
        match report.findings.iter().any(|finding| finding.status == Status::Failed) {
            true => Err(Failure::Told),
            false => Ok(()),
        }
    }
}

impl Report {
    /// Says what is being looked at, where somebody watches.
    fn begin(&self, name: &str) -> io::Result<()> {
        if self.is_json || !io::stdout().is_terminal() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[K… {name}")?;
        out.flush()
    }

    fn add(&mut self, finding: Finding) -> io::Result<()> {
        if !self.is_json {
            let clear = if io::stdout().is_terminal() { "\r\x1b[K" } else { "" };
            say(format!("{clear}{finding}"))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    fn add_all(&mut self, findings: Vec<Finding>) -> io::Result<()> {
        findings.into_iter().try_for_each(|finding| self.add(finding))
    }

    fn end(&self) -> io::Result<()> {
        let count = |status| self.findings.iter().filter(|finding| finding.status == status).count();
        let (failed, warnings) = (count(Status::Failed), count(Status::Warning));
        if self.is_json {
            return say(format!("{:#}", json!({ "ok": failed == 0, "checks": self.findings })));
        }
        say(match (failed, warnings) {
            (0, 0) => "all is well".to_owned(),
            _ => format!("{failed} failed, {warnings} to look at"),
        })
    }
}
