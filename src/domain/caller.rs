//! Who calls, and what they may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::Origin;
use super::clock::Timestamp;
use super::secret::Secret;

/// What a key allows. `admin` includes the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Send,
    Read,
    Token,
    Proxy,
    Admin,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Send, Self::Read, Self::Token, Self::Proxy, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Token => "token",
            Self::Proxy => "proxy",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A key as it is kept: the secret itself is known to nobody but its holder, unless it is to sign requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `key_…` of a created key; the client's name of a file-configured one.
    pub id: String,
    pub client: String,
    /// SHA-256 of the secret's text, in lower-case hex.
    pub secret_sha256: String,
    pub scopes: Vec<Scope>,
    /// `None`: every account.
    pub accounts: Option<Vec<String>>,
    /// WeChat template ids or aliases; `None`: every template.
    pub templates: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub signing: Signing,
    /// A minute behind at most; `None`: never, or a file-configured one, of which it is not kept.
    pub last_used_at: Option<Timestamp>,
}

/// What a key can sign requests with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// Nothing: only the hash of its secret is kept.
    #[default]
    Not,
    /// Its secret's text.
    With(Secret),
    /// Its secret is sealed under another `secrets.key`; as a bearer it works.
    Lost,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub client: String,
    pub key_id: String,
    pub scopes: Vec<Scope>,
    pub accounts: Option<Vec<String>>,
    pub templates: Option<Vec<String>>,
    /// From then on it is nobody any more; `None`: as long as the key works.
    pub valid_until: Option<Timestamp>,
    /// The request that it came with.
    pub origin: Origin,
    /// How long this request has waited for what nodes share.
    pub waited: Duration,
}

impl Caller {
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    pub fn may_use_account(&self, account: &str) -> bool {
        self.accounts.as_ref().is_none_or(|names| names.iter().any(|name| name == account))
    }

    pub fn may_use_template(&self, template: &str) -> bool {
        self.templates.as_ref().is_none_or(|names| names.iter().any(|name| name == template))
    }
}
