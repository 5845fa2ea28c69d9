//! `[webhooks]` and `[webhooks.<name>]`: where events are delivered to.

use std::sync::Arc;

use super::accounts::{NAME_RULE, is_name};
use super::clients::read_accounts;
use super::read::Section;
use crate::domain::account::Account;
use crate::domain::event::KindPattern;
use crate::domain::webhook::address::{Reach, parse_network};
use crate::domain::webhook::signing::{SECRET_RULE, WebhookSecret};
use crate::domain::webhook::url::WebhookUrl;
use crate::domain::webhook::{Interest, Webhook, WebhookOrigin, WebhookSecrets};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// What those may reach that are not let everywhere.
    pub reach: Reach,
    pub webhooks: Vec<WebhookConfig>,
}

/// One that is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    pub name: String,
    pub url: WebhookUrl,
    pub secret: WebhookSecret,
    /// Signs too.
    pub previous_secret: Option<WebhookSecret>,
    /// Any of them; empty: all.
    pub events: Vec<KindPattern>,
    /// `None`: of all, and of none.
    pub accounts: Option<Vec<String>>,
    /// Let everywhere.
    pub allow_private: bool,
}

impl WebhookConfig {
    pub fn interest(&self) -> Interest {
        Interest { kinds: self.events.clone(), accounts: self.accounts.clone() }
    }

    /// As it is used.
    pub fn webhook(&self) -> Webhook {
        Webhook {
            key: Arc::from(self.name.as_str()),
            origin: WebhookOrigin::File,
            url: self.url.clone(),
            secrets: WebhookSecrets { current: self.secret.clone(), previous: self.previous_secret.clone() },
            interest: self.interest(),
            allow_private: self.allow_private,
        }
    }
}

impl WebhooksConfig {
    pub(super) fn read(section: &mut Section<'_>, accounts: &[Arc<Account>]) -> Self {
        let reach = read_reach(section);
        let mut webhooks = Vec::new();
        for (name, mut section) in section.tables() {
            if !is_name(&name) {
                section.wrong("", NAME_RULE);
            }
            webhooks.extend(read_webhook(name, &mut section, &reach, accounts));
            section.close();
        }
        Self { reach, webhooks }
    }
}

fn read_reach(section: &mut Section<'_>) -> Reach {
    let texts = section.list("allow_cidrs").unwrap_or_default();
    for text in texts.iter().filter(|text| parse_network(text).is_none()) {
        section.wrong("allow_cidrs", format!("{text:?} is no network such as \"10.20.0.0/16\" or \"fd00::/8\""));
    }
    Reach::new(texts.iter().filter_map(|text| parse_network(text)).collect())
}

/// `None`: something that is needed is missing or wrong.
fn read_webhook(
    name: String,
    section: &mut Section<'_>,
    reach: &Reach,
    accounts: &[Arc<Account>],
) -> Option<WebhookConfig> {
    let allow_private = section.switch_or("allow_private", false);
    let url = section.needed("url", |section, key| read_url(section, key, reach, allow_private));
    let secret = section.needed("secret", read_secret);
    let previous_secret = read_secret(section, "previous_secret");
    let events = read_events(section);
    let accounts = read_accounts(section, accounts);
    Some(WebhookConfig { name, url: url?, secret: secret?, previous_secret, events, accounts, allow_private })
}

/// What stands behind the host may be a secret: it is never shown.
fn read_url(section: &mut Section<'_>, key: &str, reach: &Reach, allow_private: bool) -> Option<WebhookUrl> {
    let text = section.text(key)?;
    let parsed = WebhookUrl::parse(&text);
    section.show_as(key, parsed.as_ref().map_or_else(|_| "***".to_owned(), WebhookUrl::masked));
    match parsed {
        Ok(url) if !allow_private && url.is_plainly_forbidden(reach) => {
            let cure = "set allow_private = true, or name its network in webhooks.allow_cidrs";
            section.wrong(key, format!("{url} is not a public address: {cure}"));
            None
        }
        Ok(url) => Some(url),
        Err(fault) => {
            section.wrong(key, fault.to_string());
            None
        }
    }
}

fn read_secret(section: &mut Section<'_>, key: &str) -> Option<WebhookSecret> {
    let secret = section.secret(key)?;
    let parsed = WebhookSecret::parse(secret.expose());
    if parsed.is_none() {
        section.wrong(key, SECRET_RULE);
    }
    parsed
}

fn read_events(section: &mut Section<'_>) -> Vec<KindPattern> {
    let Some(texts) = section.list("events") else {
        return Vec::new();
    };
    if texts.is_empty() {
        section.wrong("events", "names nothing; leave it out for every event");
    }
    let mut patterns = Vec::new();
    for text in &texts {
        match KindPattern::parse(text).filter(KindPattern::can_fit) {
            Some(pattern) => patterns.push(pattern),
            None => section.wrong(
                "events",
                format!("{text:?} is no type of event; write \"message.sent\", \"message.*\" or \"*\""),
            ),
        }
    }
    patterns
}
