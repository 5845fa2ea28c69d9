//! Tickets: leave to watch some events for some time, in a form that may stand in a URL, because a browser's `EventSource` and
//! `WebSocket` cannot set headers.
//!
//! A ticket holds all that it allows, sealed under `secrets.key`: nothing is kept, and every node takes it. It opens nothing
//! but a stream, shows no more than its maker may see, and falls with the maker's key.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Access, AccessError, Form};
use crate::domain::audit::Origin;
use crate::domain::caller::{Caller, Scope};
use crate::domain::clock::Timestamp;
use crate::domain::event::{EventFilter, KindPattern};
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::secret::Secret;
use crate::store;

const PREFIX: &str = "wxt_";
/// What the seal is bound to, so that nothing else that is sealed passes for a ticket.
const ROW: &str = "ticket";
/// Longer than any that was made: nobody has to open it.
const MAX_LEN: usize = 8 * 1024;

/// What a new ticket shall open.
#[derive(Clone, Debug)]
pub struct TicketRequest {
    /// Without times; who may see what is added here.
    pub filter: EventFilter,
    /// The one web origin (`https://console.example.com`) whose pages may use it from elsewhere; `None`: pages of the
    /// gateway's own origin, and programs.
    pub web_origin: Option<String>,
    pub ttl: Duration,
}

/// A new ticket: `wxt_…`, fit for a URL.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub text: Secret,
    pub expires_at: Timestamp,
}

/// What an opened ticket allows.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub caller: Caller,
    pub filter: EventFilter,
    pub web_origin: Option<String>,
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    client: String,
    key_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// ms since 1970.
    expires_at: i64,
}

impl Access {
    /// `Unavailable` when it cannot be sealed.
    pub fn issue_ticket(&self, caller: &Caller, request: TicketRequest) -> Result<Ticket, AccessError> {
        let expires_at = self.inner.clock.now().plus(request.ttl);
        let filter = request.filter;
        let content = Content {
            client: caller.client.clone(),
            key_id: caller.key_id.clone(),
            accounts: caller.accounts.clone(),
            types: filter.kinds.iter().map(ToString::to_string).collect(),
            account: filter.account,
            message_id: filter.message_id.map(|id| id.to_string()),
            batch_id: filter.batch_id.map(|id| id.to_string()),
            origin: request.web_origin,
            expires_at: expires_at.as_millis(),
        };
        let failed = |_| store::Error::Unavailable { reason: "a ticket cannot be sealed".to_owned() };
        let text = serde_json::to_string(&content).map_err(|_| failed(()))?;
        let sealed = self.inner.sealer.seal(&Secret::new(text), ROW).map_err(|_| failed(()))?;
        let bytes = STANDARD.decode(sealed).map_err(|_| failed(()))?;
        Ok(Ticket { text: Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))), expires_at })
    }

    /// The ticket in a URL → what it allows.
    pub async fn admit_ticket(&self, text: &str, from: Option<IpAddr>) -> Result<Admitted, AccessError> {
        let refuse = |reason: &'static str| Err(self.refuse(Form::Ticket, &reason, from));
        let now = self.inner.clock.now();
        let Some(content) = self.unseal(text) else {
            return refuse("it is no ticket, or was sealed under another secrets.key");
        };
        if content.expires_at <= now.as_millis() {
            return refuse("the ticket has expired");
        }
        let Some((caller, filter, web_origin)) = content.open() else {
            return refuse("the ticket is of another version");
        };
        if !self.still_admits(&caller).await? {
            return refuse("the key that the ticket was made with works no more");
        }
        Ok(Admitted { caller, filter, web_origin })
    }

    fn unseal(&self, text: &str) -> Option<Content> {
        let sealed = text.strip_prefix(PREFIX).filter(|sealed| sealed.len() <= MAX_LEN)?;
        let sealed = STANDARD.encode(URL_SAFE_NO_PAD.decode(sealed).ok()?);
        serde_json::from_str(self.inner.sealer.open(&sealed, ROW).ok()?.expose()).ok()
    }
}

impl Content {
    fn open(self) -> Option<(Caller, EventFilter, Option<String>)> {
        let kinds = self.types.iter().map(|text| KindPattern::parse(text)).collect::<Option<Vec<_>>>()?;
        let message_id = self.message_id.map(|id| MessageId::parse(&id).ok_or(()));
        let batch_id = self.batch_id.map(|id| BatchId::parse(&id).ok_or(()));
        let filter = EventFilter {
            account: self.account,
            message_id: message_id.transpose().ok()?,
            batch_id: batch_id.transpose().ok()?,
            kinds,
            ..EventFilter::default()
        };
        let caller = Caller {
            client: self.client,
            key_id: self.key_id,
            scopes: vec![Scope::Read],
            accounts: self.accounts,
            templates: None,
            valid_until: Some(Timestamp::from_millis(self.expires_at)),
            origin: Origin::default(),
            waited: Duration::ZERO,
        };
        Some((caller, filter, self.origin))
    }
}
