//! An account as it is written down: in the configuration, in the store, in a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Account, CallbackKeys, CallbackMode, Replies, TokenApi};
use crate::domain::clock::Timestamp;
use crate::domain::quiet::QuietHours;
use crate::domain::relay::RelayOptions;
use crate::domain::secret::Secret;
use crate::domain::state::OnUnknown;

/// Everything that can be said about an account but its name. Not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSettings {
    pub app_id: String,
    pub secrets: AccountSecrets,
    pub options: AccountOptions,
}

/// What may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountOptions {
    pub mode: CallbackMode,
    pub token_api: TokenApi,
    /// `None`: `wechat.base_url`.
    pub base_url: Option<String>,
    pub on_unknown: OnUnknown,
    pub daily_quota: Option<u64>,
    /// `"22:00-08:00"`
    pub quiet_hours: Option<String>,
    /// `"Asia/Shanghai"`
    pub quiet_hours_zone: Option<String>,
    /// Alias → WeChat's template id.
    pub templates: BTreeMap<String, String>,
    pub replies: Replies,
    pub relay: Option<RelayOptions>,
}

/// What may not; by its name, which is also the column's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretField {
    AppSecret,
    Token,
    EncodingAesKey,
    PreviousToken,
    PreviousEncodingAesKey,
}

impl SecretField {
    pub const ALL: [Self; 5] =
        [Self::AppSecret, Self::Token, Self::EncodingAesKey, Self::PreviousToken, Self::PreviousEncodingAesKey];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppSecret => "app_secret",
            Self::Token => "token",
            Self::EncodingAesKey => "encoding_aes_key",
            Self::PreviousToken => "previous_token",
            Self::PreviousEncodingAesKey => "previous_encoding_aes_key",
        }
    }

    /// Where the old value goes when a new one comes.
    pub const fn previous(self) -> Option<Self> {
        match self {
            Self::Token => Some(Self::PreviousToken),
            Self::EncodingAesKey => Some(Self::PreviousEncodingAesKey),
            Self::AppSecret | Self::PreviousToken | Self::PreviousEncodingAesKey => None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSecrets(BTreeMap<SecretField, Secret>);

impl AccountSecrets {
    pub fn get(&self, field: SecretField) -> Option<&Secret> {
        self.0.get(&field)
    }

    pub fn set(&mut self, field: SecretField, secret: Option<Secret>) {
        match secret {
            Some(secret) => self.0.insert(field, secret),
            None => self.0.remove(&field),
        };
    }

    /// The current one, then the previous one.
    fn pair(&self, current: SecretField, previous: SecretField) -> Vec<Secret> {
        [current, previous].into_iter().filter_map(|field| self.get(field).cloned()).collect()
    }
}

impl AccountSettings {
    /// As the gateway uses it.
    pub fn account(&self, name: &str, default_base_url: &str) -> Account {
        let tokens = self.secrets.pair(SecretField::Token, SecretField::PreviousToken);
        let aes_keys = self.secrets.pair(SecretField::EncodingAesKey, SecretField::PreviousEncodingAesKey);
        let options = &self.options;
        Account {
            name: Arc::from(name),
            app_id: self.app_id.clone(),
            app_secret: self.secrets.get(SecretField::AppSecret).cloned().unwrap_or_default(),
            callback: (!tokens.is_empty()).then_some(CallbackKeys { mode: options.mode, tokens, aes_keys }),
            token_api: options.token_api,
            base_url: options.base_url.clone().unwrap_or_else(|| default_base_url.to_owned()),
            on_unknown: options.on_unknown,
            daily_quota: options.daily_quota,
            quiet: options.quiet(),
            templates: options.templates.clone(),
            replies: options.replies.clone(),
            relay: options.relay.clone(),
        }
    }
}

impl AccountOptions {
    fn quiet(&self) -> Option<QuietHours> {
        QuietHours::read(self.quiet_hours.as_deref()?, self.quiet_hours_zone.as_deref()).ok()
    }
}

/// An account that was made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    pub name: String,
    pub settings: AccountSettings,
    /// What is kept and cannot be opened: it was sealed under another `secrets.key`. The account cannot be used so.
    pub lost: Vec<SecretField>,
    /// Grows with every change, from 1.
    pub revision: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
