//! `wxgate key`: keys that are kept in the store, made and revoked beside a running gateway.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use super::actor;
use super::exit::Failure;
use super::out::{columns, complain, say};
use crate::config::Config;
use crate::config::units::parse_span;
use crate::domain::caller::{Key, Scope, Signing};
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::domain::seal::Sealer;
use crate::services::access::{Access, AccessDoors, KeyRequest};
use crate::store;
use crate::telemetry::metrics::Metrics;

/// Make, list and revoke the keys that callers need
///
/// Works beside a running gateway, which sees the change within seconds. It needs the same configuration, for the place
/// of the store. Keys in the configuration ([clients.<name>]) are changed there.
#[derive(Args)]
#[command(after_help = "Examples:\n  wxgate key create --client order-service --scopes send,read --accounts shop\n  \
    wxgate key list\n  wxgate key revoke key_01J8XN3Y5C9M1B1K0QZ5T7W2RE")]
pub(super) struct KeyCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Make a key; its text is printed once
#[derive(Args)]
#[command(
    after_help = "Example:\n  wxgate key create --client order-service --scopes send,read --accounts shop --expires 90d\n  \
    wxgate key create --client order-service --scopes send --signing\n\n\
    To rotate: create a second key for the same client, change the caller, revoke the first."
)]
struct Create {
    /// The program that will use it: a-z 0-9 - _
    #[arg(long, value_name = "NAME", value_parser = client_name)]
    client: String,
    /// What it may do: send, read, token, proxy, admin (which includes the others)
    #[arg(long, required = true, value_delimiter = ',', value_parser = scope)]
    scopes: Vec<Scope>,
    /// Only these accounts
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    accounts: Option<Vec<String>>,
    /// Only these templates, by short name or WeChat's id
    #[arg(long, value_delimiter = ',', value_name = "TEMPLATES")]
    templates: Option<Vec<String>>,
    /// When it ends: a span from now (90d, 12h) or a time (2030-01-01T00:00:00Z)
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Expiry>,
    /// It can sign requests: then the caller never sends its secret, and the store keeps it, sealed under secrets.key
    #[arg(long)]
    signing: bool,
}

/// List the keys of the store and of the configuration, never their secrets
#[derive(Args)]
#[command(after_help = "Example:\n  wxgate key list --json | jq -r '.[] | select(.revoked_at == null) | .id'")]
struct List {
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Revoke a key; a running gateway refuses it within seconds
#[derive(Args)]
#[command(after_help = "Example:\n  wxgate key revoke key_01J8XN3Y5C9M1B1K0QZ5T7W2RE")]
struct Revoke {
    /// Its id, as `wxgate key list` shows it
    id: String,
}

impl KeyCommand {
    pub(super) async fn run(self, config: Config) -> Result<(), Failure> {
        let (stores, sealer) = open_stores(&config).await?;
        if let What::Create(Create { accounts: Some(names), .. }) = &self.what
            && let Err(failure) = check_accounts(names, &config, &stores).await
        {
            stores.close().await;
            return Err(failure);
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (keys, metrics) = (stores.keys.clone(), Metrics::new());
        let doors = AccessDoors { keys, nonces: None, sealer, clock: clock.clone(), metrics };
        let access = Access::open(doors, config.clients.clone(), &config.auth, &config.limits);
        let result = match self.what {
            What::Create(create) => create.run(&access, clock.now()).await,
            What::List(list) => list.run(&access, &config, clock.now()).await,
            What::Revoke(revoke) => revoke.run(&access, &config).await,
        };
        stores.close().await;
        result
    }
}

/// The doors of the store, opened beside a gateway that may be running, and what it seals with.
async fn open_stores(config: &Config) -> Result<(store::Stores, Sealer), Failure> {
    let key = config.secrets.open().context("the key that seals secrets cannot be read")?;
    let sealer = Sealer::new(key.0);
    Ok((store::open::open_for_tools(&config.store, sealer.clone()).await?, sealer))
}

async fn check_accounts(names: &[String], config: &Config, stores: &store::Stores) -> Result<(), Failure> {
    let stored = stores.accounts.list().await?;
    let is_known = |name: &String| {
        config.accounts.iter().any(|account| *account.name == **name)
            || stored.iter().any(|stored| stored.name == *name)
    };
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => {
            Err(Failure::Usage(format!("--accounts: neither the configuration nor the store has an account {name:?}")))
        }
        None => Ok(()),
    }
}

impl Create {
    async fn run(self, access: &Access, now: Timestamp) -> Result<(), Failure> {
        let expires_at = self.expires.map(|expiry| expiry.from(now));
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Failure::Usage("--expires lies in the past".to_owned()));
        }
        let Self { client, scopes, accounts, templates, signing, .. } = self;
        let request = KeyRequest { client, scopes, accounts, templates, expires_at, signing };
        let (key, text) = access.create(request, actor::of_command()).await?;
        complain(format!("{} for {}: it is shown only now, keep it safe.", key.id, key.client));
        Ok(say(text.expose())?)
    }
}

impl List {
    async fn run(self, access: &Access, config: &Config, now: Timestamp) -> Result<(), Failure> {
        let stored = access.list().await?;
        let keys =
            config.clients.iter().map(|key| (key, "configuration")).chain(stored.iter().map(|key| (key, "store")));
        if self.json {
            let keys: Vec<_> = keys.map(|(key, source)| as_json(key, source)).collect();
            return Ok(say(format!("{:#}", serde_json::Value::Array(keys)))?);
        }
        let head = ["ID", "CLIENT", "SCOPES", "ACCOUNTS", "TEMPLATES", "SIGNS", "CREATED", "LAST USED", "STATE"];
        let head = head.map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(head).chain(keys.map(|(key, source)| as_row(key, source, now))).collect();
        if rows.len() == 1 {
            return Ok(say("no keys; make one: wxgate key create --client NAME --scopes send,read")?);
        }
        Ok(say(columns(&rows))?)
    }
}

impl Revoke {
    async fn run(self, access: &Access, config: &Config) -> Result<(), Failure> {
        if config.clients.iter().any(|key| key.id == self.id) {
            let place = format!("[clients.{}]", self.id);
            return Err(Failure::Usage(format!("{} stands in the configuration: take {place} out there", self.id)));
        }
        if access.revoke(&self.id, actor::of_command()).await? {
            return Ok(say(format!("{} is revoked", self.id))?);
        }
        Err(Failure::Runtime(anyhow::anyhow!("there is no such key, or it was revoked before: {}", self.id)))
    }
}

fn as_json(key: &Key, source: &str) -> serde_json::Value {
    let is_stored = source == "store";
    json!({
        "id": key.id,
        "client": key.client,
        "scopes": key.scopes,
        "accounts": key.accounts,
        "templates": key.templates,
        "created_at": is_stored.then_some(key.created_at),
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "signing": signs(key),
        "last_used_at": key.last_used_at,
        "source": source,
    })
}

fn as_row(key: &Key, source: &str, now: Timestamp) -> Vec<String> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let names = |names: &Option<Vec<String>>| names.as_ref().map_or_else(|| "all".to_owned(), |names| names.join(","));
    // Of a configured key nothing is kept.
    let nothing_known = if source == "store" { "never" } else { "-" };
    let used = key.last_used_at.map_or_else(|| nothing_known.to_owned(), |at| at.to_string());
    let created = if source == "store" { key.created_at.to_string() } else { source.to_owned() };
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, Some(at)) => format!("works until {at}"),
        (None, None) => "works".to_owned(),
    };
    vec![
        key.id.clone(),
        key.client.clone(),
        scopes.join(","),
        names(&key.accounts),
        names(&key.templates),
        signs(key).to_owned(),
        created,
        used,
        state,
    ]
}

/// `lost`: its secret was sealed under another `secrets.key`; only as a bearer it works.
fn signs(key: &Key) -> &'static str {
    match key.signing {
        Signing::Not => "no",
        Signing::With(_) => "yes",
        Signing::Lost => "lost",
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expiry {
    After(std::time::Duration),
    At(Timestamp),
}

impl Expiry {
    fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(span) => now.plus(span),
            Self::At(at) => at,
        }
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    let span = parse_span(text).map(Expiry::After);
    span.or_else(|| Timestamp::parse(text).map(Expiry::At))
        .ok_or_else(|| "write a span such as 90d, or a time such as 2030-01-01T00:00:00Z".to_owned())
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "one of send, read, token, proxy, admin".to_owned())
}

fn client_name(text: &str) -> Result<String, String> {
    match crate::config::accounts::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(crate::config::accounts::NAME_RULE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::secret::Secret;

    #[test]
    fn an_expiry_is_a_span_or_a_time() {
        assert_eq!(expiry("90d"), Ok(Expiry::After(Duration::from_secs(90 * 86_400))));
        assert!(matches!(expiry("2030-01-01T00:00:00Z"), Ok(Expiry::At(_))));
        assert!(expiry("soon").is_err());
    }

    #[test]
    fn a_row_says_how_the_key_stands_and_json_never_its_hash() {
        let now = Timestamp::from_seconds(1_000);
        let hash = "ab".repeat(32);
        let mut key = Key {
            id: "key_1".to_owned(),
            client: "crm".to_owned(),
            secret_sha256: hash.clone(),
            scopes: vec![Scope::Send, Scope::Read],
            accounts: None,
            templates: Some(vec!["order_paid".to_owned()]),
            created_at: now,
            expires_at: Some(Timestamp::from_seconds(1_000)),
            revoked_at: None,
            signing: Signing::With(Secret::new("5ec4e7")),
            last_used_at: None,
        };
        let row = as_row(&key, "store", now);
        assert_eq!(row[2..5], ["send,read", "all", "order_paid"]);
        assert_eq!((row[5].as_str(), row[7].as_str()), ("yes", "never"));
        assert!(row[8].starts_with("expired 1970"), "{row:?}");
        (key.revoked_at, key.last_used_at) = (Some(now), Some(now));
        let row = as_row(&key, "store", now);
        assert!(row[8].starts_with("revoked") && row[7].starts_with("1970"), "{row:?}");
        let json = as_json(&key, "store").to_string();
        assert!(!json.contains(&hash) && !json.contains("5ec4e7"), "{json}");
        assert!(json.contains(r#""signing":"yes""#) && json.contains(r#""last_used_at":"1970"#), "{json}");
    }
}
