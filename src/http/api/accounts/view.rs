//! Accounts as callers see them: no secret, only whether there is one.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::relay::RelayView;
use crate::domain::account::{Account, CallbackMode, Replies, SecretField, TokenApi};
use crate::domain::clock::Timestamp;
use crate::domain::state::OnUnknown;
use crate::services::accounts::Known;

/// Where an account is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountSource {
    /// In the configuration; it is changed there.
    File,
    /// In the store; it is changed by this API.
    Store,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AccountView {
    #[schema(example = "shop")]
    pub name: String,
    pub source: AccountSource,
    #[schema(example = "wx0123456789abcdef")]
    pub app_id: String,
    pub app_secret_set: bool,
    pub token_set: bool,
    pub encoding_aes_key_set: bool,
    pub previous_token_set: bool,
    pub previous_encoding_aes_key_set: bool,
    pub mode: CallbackMode,
    pub token_api: TokenApi,
    pub base_url: String,
    pub on_unknown: OnUnknown,
    pub daily_quota: Option<u64>,
    #[schema(example = "22:00-08:00")]
    pub quiet_hours: Option<String>,
    #[schema(example = "Asia/Shanghai")]
    pub quiet_hours_zone: Option<String>,
    /// Short name → WeChat's template id.
    pub templates: BTreeMap<String, String>,
    pub replies: Replies,
    /// Back ends that get its callbacks.
    pub relay: Option<RelayView>,
    /// Why it cannot be used as it is; null when all is well.
    pub problem: Option<String>,
    /// Null for an account of the configuration.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AccountList {
    pub data: Vec<AccountView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedAccount {
    pub name: String,
    /// Messages that wait for an account of this name now.
    pub waiting_messages: u64,
}

impl From<Known> for AccountView {
    fn from(known: Known) -> Self {
        let (stored, base_url, problem) = match known {
            Known::Configured(account) => return Self::of_file(&account),
            Known::Stored { stored, base_url, problem } => (stored, base_url, problem),
        };
        let settings = stored.settings;
        let has = |field| settings.secrets.get(field).is_some() || stored.lost.contains(&field);
        Self {
            name: stored.name,
            source: AccountSource::Store,
            app_id: settings.app_id,
            app_secret_set: has(SecretField::AppSecret),
            token_set: has(SecretField::Token),
            encoding_aes_key_set: has(SecretField::EncodingAesKey),
            previous_token_set: has(SecretField::PreviousToken),
            previous_encoding_aes_key_set: has(SecretField::PreviousEncodingAesKey),
            mode: settings.options.mode,
            token_api: settings.options.token_api,
            base_url,
            on_unknown: settings.options.on_unknown,
            daily_quota: settings.options.daily_quota,
            quiet_hours: settings.options.quiet_hours,
            quiet_hours_zone: settings.options.quiet_hours_zone,
            templates: settings.options.templates,
            replies: settings.options.replies,
            relay: settings.options.relay.map(RelayView::from),
            problem,
            created_at: Some(stored.created_at),
            updated_at: Some(stored.updated_at),
        }
    }
}

impl AccountView {
    fn of_file(account: &Account) -> Self {
        let (tokens, aes_keys) =
            account.callback.as_ref().map_or((0, 0), |keys| (keys.tokens.len(), keys.aes_keys.len()));
        Self {
            name: account.name.to_string(),
            source: AccountSource::File,
            app_id: account.app_id.clone(),
            app_secret_set: !account.app_secret.is_empty(),
            token_set: tokens > 0,
            encoding_aes_key_set: aes_keys > 0,
            previous_token_set: tokens > 1,
            previous_encoding_aes_key_set: aes_keys > 1,
            mode: account.callback.as_ref().map(|keys| keys.mode).unwrap_or_default(),
            token_api: account.token_api,
            base_url: account.base_url.clone(),
            on_unknown: account.on_unknown,
            daily_quota: account.daily_quota,
            quiet_hours: account.quiet.map(|quiet| quiet.hours()),
            quiet_hours_zone: account.quiet.map(|quiet| quiet.zone_name().to_owned()),
            templates: account.templates.clone(),
            replies: account.replies.clone(),
            relay: account.relay.clone().map(RelayView::from),
            problem: None,
            created_at: None,
            updated_at: None,
        }
    }
}
