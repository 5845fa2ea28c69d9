//! `wxgate config`: is it right, what is in force, what can be set.

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::out::{complain, say};
use super::stored_accounts;
use crate::config::auth::{JwtConfig, KeySource};
use crate::config::{Config, DEFAULT};

/// Check the configuration, or show what is in force
#[derive(Args)]
#[command(after_help = "Examples:\n  wxgate config check --config my.toml\n  wxgate config show | grep -v '^$'\n  \
    wxgate config default > all-settings.toml")]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what is wrong, all of it at once; exit code 2 when something is. Looks into the store, if it is there, for accounts
    /// made at run time
    Check,
    /// Print what is in force and where it comes from; secrets are hidden
    Show,
    /// Print every setting with its default and what it does
    Default,
}

impl ConfigCommand {
    pub(super) async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        match self.what {
            What::Check => check(&super::load(file)?).await?,
            What::Show => say(super::load(file)?.render().trim_end())?,
            What::Default => say(DEFAULT.trim_end())?,
        }
        Ok(())
    }
}

async fn check(config: &Config) -> std::io::Result<()> {
    for warning in &config.notes.warnings {
        complain(format!("warning: {warning}"));
    }
    let stored = stored_accounts::peek(config).await;
    let in_store = match &stored {
        Ok(stored) if stored.is_empty() => String::new(),
        Ok(stored) => format!("; in the store: {}", count(stored.len(), "account")),
        Err(problem) => {
            complain(format!("warning: whether accounts were made at run time is not known: {problem}"));
            String::new()
        }
    };
    for (name, problem) in stored.iter().flatten().filter_map(|stored| Some((&stored.name, stored.problem.as_ref()?))) {
        complain(format!("warning: account {name} of the store is out of use: {problem}"));
    }
    say(format!("ok: {}{in_store}", summary(config)))
}

/// "2 accounts, 1 client, tokens by RS256; listen on …, store in …"
pub(super) fn summary(config: &Config) -> String {
    let mut clients: Vec<&str> = config.clients.iter().map(|key| key.id.as_str()).collect();
    clients.dedup();
    let (accounts, clients) = (count(config.accounts.len(), "account"), count(clients.len(), "client"));
    let tokens = config.auth.jwt.as_ref().map(|jwt| format!(", tokens by {}", tokens(jwt))).unwrap_or_default();
    format!("{accounts}, {clients}{tokens}; listen on {}, store in {}", config.server.listen, config.store.place())
}

/// "RS256", "RS256 (2 keys in jwks.json)"
fn tokens(jwt: &JwtConfig) -> String {
    let algorithm = jwt.rules.algorithm.as_str();
    match &jwt.source {
        KeySource::Given => algorithm.to_owned(),
        KeySource::JwksFile { path, .. } => {
            format!("{algorithm} ({} in {})", count(jwt.keys.count(), "key"), path.display())
        }
    }
}

fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_a_client_with_two_keys_once() {
        let hash = "a".repeat(64);
        let text = format!("[clients.crm]\nscopes = ['send']\nkey_sha256 = ['{hash}', '{hash}']\n");
        let config = Config::parse(&text).unwrap();
        assert_eq!(summary(&config), "0 accounts, 1 client; listen on 127.0.0.1:8080, store in data/wxgate.db");
        let text = format!("[auth.jwt]\nalgorithm = 'HS256'\nsecret = '{hash}'\naudience = 'wxgate'\n");
        let config = Config::parse(&text).unwrap();
        assert!(summary(&config).starts_with("0 accounts, 0 clients, tokens by HS256; listen"), "{}", summary(&config));
    }
}
