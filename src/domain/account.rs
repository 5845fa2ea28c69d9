//! A WeChat app under a short name: as the gateway uses it ([`Account`]), and as it is written down ([`AccountSettings`]).

mod change;
mod settings;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use change::{AccountChange, Patch, RepliesChange, TextsChange};
pub use settings::{AccountOptions, AccountSecrets, AccountSettings, SecretField, StoredAccount};

use super::secret::Secret;

/// How WeChat writes to us (console: message encryption).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallbackMode {
    Plain,
    Compatible,
    #[default]
    Safe,
}

impl CallbackMode {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Compatible, Self::Safe];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Compatible => "compatible",
            Self::Safe => "safe",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Which token API is used (access_token and stable_token pages).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenApi {
    #[default]
    Stable,
    Legacy,
}

impl TokenApi {
    pub const ALL: [Self; 2] = [Self::Stable, Self::Legacy];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Legacy => "legacy",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.as_str() == text)
    }
}

/// An answer of ours to a user's message, from `accounts.<name>.replies`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Replies {
    pub subscribe: Option<String>,
    /// Exact text of the user's message (trimmed) → answer.
    pub keywords: BTreeMap<String, String>,
    pub default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: Arc<str>,
    pub app_id: String,
    pub app_secret: Secret,
    /// Token of the callback URL; `None`: the account takes no callbacks.
    pub callback: Option<CallbackKeys>,
    pub token_api: TokenApi,
    /// Base URL of the WeChat API, without a slash at its end.
    pub base_url: String,
    pub on_unknown: super::state::OnUnknown,
    /// Messages a day at most; `None`: what WeChat allows.
    pub daily_quota: Option<u64>,
    /// Alias → WeChat's template id.
    pub templates: BTreeMap<String, String>,
    pub replies: Replies,
    /// Back ends that get its callbacks.
    pub relay: Option<super::relay::RelayOptions>,
    /// When only urgent messages go out.
    pub quiet: Option<super::quiet::QuietHours>,
}

/// What checks and opens a callback: the current pair first, then the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackKeys {
    pub mode: CallbackMode,
    /// Current token, then the previous one.
    pub tokens: Vec<Secret>,
    /// Current EncodingAESKey (43 characters), then the previous one. Empty only in plain mode.
    pub aes_keys: Vec<Secret>,
}
