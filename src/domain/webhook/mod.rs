//! Webhooks: who is told what happened, and how the telling goes, as Standard Webhooks 1.0 asks
//! (<https://www.standardwebhooks.com>).

pub mod address;
mod backlog;
mod delivery;
pub mod signing;
mod standing;
pub mod url;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use backlog::{Backlog, Replayed};
pub use delivery::{Delivery, DeliveryFilter, DeliveryStatus, Due, Outcome, Tried};
pub use standing::{Disabled, DisabledReason, Standing};

use self::signing::WebhookSecret;
use self::url::WebhookUrl;
use super::clock::Timestamp;
use super::event::{Event, EventFilter, KindPattern};
use super::ids::WebhookId;

/// One as the engine uses it, wherever it was configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name in the file, or the text of its id: what rows of its lane and its deliveries are kept under.
    pub key: Arc<str>,
    pub origin: WebhookOrigin,
    pub url: WebhookUrl,
    pub secrets: WebhookSecrets,
    pub interest: Interest,
    /// Private addresses may be called: only of those in the file.
    pub allow_private: bool,
}

/// Where a webhook was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookOrigin {
    /// In the configuration: changed there.
    File,
    /// By the API.
    Stored,
}

/// Which events a webhook gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Any of them; empty: all.
    pub kinds: Vec<KindPattern>,
    /// Only events of these accounts; `None`: all events, also those of no account.
    pub accounts: Option<Vec<String>>,
}

impl Interest {
    pub fn fits(&self, kind: &str, account: Option<&str>) -> bool {
        let accounts = self.accounts.as_ref();
        accounts.is_none_or(|own| account.is_some_and(|account| own.iter().any(|own| own == account)))
            && (self.kinds.is_empty() || self.kinds.iter().any(|pattern| pattern.fits(kind)))
    }

    pub fn fits_event(&self, event: &Event) -> bool {
        self.fits(&event.kind, event.account.as_deref())
    }

    /// The same as the store asks for it.
    pub fn filter(&self) -> EventFilter {
        EventFilter { kinds: self.kinds.clone(), visible_accounts: self.accounts.clone(), ..EventFilter::default() }
    }
}

/// What tries are signed with. While one takes the other's place, both sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecrets {
    pub current: WebhookSecret,
    pub previous: Option<WebhookSecret>,
}

/// What of a stored one may be shown, kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookOptions {
    pub description: Option<String>,
    /// Patterns of types; empty: all.
    pub events: Vec<String>,
    pub accounts: Option<Vec<String>>,
}

impl WebhookOptions {
    /// A pattern that this version cannot read fits nothing.
    pub fn interest(&self) -> Interest {
        let kinds = self.events.iter().map(|text| KindPattern::parse(text).unwrap_or(KindPattern::Is(text.clone())));
        Interest { kinds: kinds.collect(), accounts: self.accounts.clone() }
    }
}

/// A webhook made by the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWebhook {
    pub id: WebhookId,
    pub url: WebhookUrl,
    /// `None`: they are kept and cannot be opened, because they were sealed under another `secrets.key`. It cannot be used so.
    pub secrets: Option<WebhookSecrets>,
    pub options: WebhookOptions,
    /// Grows with every change, from 1.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl StoredWebhook {
    /// As the engine uses it; `None` while its secret cannot be opened.
    pub fn webhook(&self) -> Option<Webhook> {
        self.secrets.clone().map(|secrets| Webhook {
            key: Arc::from(self.id.to_string()),
            origin: WebhookOrigin::Stored,
            url: self.url.clone(),
            secrets,
            interest: self.options.interest(),
            allow_private: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interest_is_any_of_its_types_in_one_of_its_accounts() {
        let kinds = ["message.*", "quota.low"].map(|text| KindPattern::parse(text).unwrap());
        let all = Interest { kinds: kinds.to_vec(), accounts: None };
        assert!(all.fits("message.sent", Some("shop")) && all.fits("quota.low", None));
        assert!(!all.fits("batch.finished", Some("shop")));
        let own = Interest { accounts: Some(vec!["shop".to_owned()]), ..Interest::default() };
        assert!(own.fits("batch.finished", Some("shop")));
        assert!(!own.fits("batch.finished", Some("club")), "another's");
        assert!(!own.fits("batch.finished", None), "of more than one, or of none");
    }
}
