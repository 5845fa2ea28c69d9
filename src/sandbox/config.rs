//! How a sandbox is set up: its accounts, where their callbacks go, and the switches that a test may turn later.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::account::CallbackMode;
use crate::domain::secret::Secret;
use crate::wechat::tree::Format;

/// The demo account's appid.
pub const DEMO_APP_ID: &str = "wx0000000000000demo";
/// The demo account's secret.
pub const DEMO_APP_SECRET: &str = "demo-secret";
/// The demo account's original id.
pub const DEMO_ORIGINAL_ID: &str = "gh_de0000000001";

/// What the sandbox starts with.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// At least one; the first is the default of the control API.
    pub accounts: Vec<SandboxAccount>,
    pub settings: Settings,
    /// The same seed gives the same tokens, rids and msgids. `None`: random.
    pub seed: Option<u64>,
    /// How many taken messages are kept for reading.
    pub keep_messages: usize,
    /// Heading of the page at `/sandbox`.
    pub title: String,
}

impl SandboxConfig {
    /// One account, the demo one, with receipts 300 ms after each send.
    pub fn demo(callback: Option<CallbackTarget>) -> Self {
        Self::of(vec![SandboxAccount::new(DEMO_APP_ID, DEMO_APP_SECRET, DEMO_ORIGINAL_ID, callback)])
    }

    /// These accounts, everything else as in the demo.
    pub fn of(accounts: Vec<SandboxAccount>) -> Self {
        Self {
            accounts,
            settings: Settings::default(),
            seed: None,
            keep_messages: 100_000,
            title: "wxgate sandbox".to_owned(),
        }
    }

    /// Deterministic: fixed seed, receipts only when pumped, no pause between callback attempts.
    pub fn for_tests(callback: Option<CallbackTarget>) -> Self {
        let mut config = Self::demo(callback);
        config.seed = Some(1);
        config.settings.receipts = Receipts::Manual;
        config.settings.attempt_spacing_ms = 0;
        config
    }
}

/// One modelled official account.
#[derive(Clone, Debug)]
pub struct SandboxAccount {
    pub app_id: String,
    pub app_secret: Secret,
    /// `gh_…`, the `ToUserName` of its callbacks.
    pub original_id: String,
    pub callback: Option<CallbackTarget>,
    /// Template sends a day (UTC+8) before 45009.
    pub daily_quota: u64,
    /// Callers that may fetch a token (others: 40164). Empty: everybody.
    pub ip_list: Vec<IpAddr>,
}

impl SandboxAccount {
    pub fn new(app_id: &str, app_secret: &str, original_id: &str, callback: Option<CallbackTarget>) -> Self {
        Self {
            app_id: app_id.to_owned(),
            app_secret: Secret::new(app_secret),
            original_id: original_id.to_owned(),
            callback,
            daily_quota: 100_000_000,
            ip_list: Vec::new(),
        }
    }
}

/// Where callbacks of an account go and how they are sealed (console: message push).
#[derive(Clone, Debug)]
pub struct CallbackTarget {
    pub url: String,
    pub token: Secret,
    /// 43 characters; needed in compatible and safe mode.
    pub encoding_aes_key: Option<Secret>,
    /// What `broken: old_key` seals with.
    pub previous_encoding_aes_key: Option<Secret>,
    pub mode: CallbackMode,
    pub format: Format,
    /// The tail of the sealed text when it is not the account's own appid.
    pub app_id: Option<String>,
}

impl CallbackTarget {
    pub fn plain(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: Secret::new(token),
            encoding_aes_key: None,
            previous_encoding_aes_key: None,
            mode: CallbackMode::Plain,
            format: Format::Xml,
            app_id: None,
        }
    }

    pub fn safe(url: &str, token: &str, encoding_aes_key: &str) -> Self {
        let plain = Self::plain(url, token);
        Self { encoding_aes_key: Some(Secret::new(encoding_aes_key)), mode: CallbackMode::Safe, ..plain }
    }
}

/// When receipts are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// `receipt_delay_ms` after the send, in real time.
    #[default]
    Automatic,
    /// When `deliver_receipts` is called.
    Manual,
}

/// The answer to a `client_msg_id` that was taken within the last ten minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateAnswer {
    /// errcode 0 with the msgid of the first send.
    #[default]
    SameMsgid,
    /// errcode 0 with a msgid that no receipt will ever name.
    NewMsgid,
    /// errcode 40241.
    Refuse,
}

/// What may be switched while the sandbox runs (`/sandbox/settings`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub receipts: Receipts,
    pub receipt_delay_ms: u64,
    /// Pause between the three attempts of a callback.
    pub attempt_spacing_ms: u64,
    /// How long a callback may take.
    pub callback_timeout_ms: u64,
    /// Check keyword types and the keys of the demo templates (47003). Off, as on a test account.
    pub strict_templates: bool,
    pub duplicate_answer: DuplicateAnswer,
    /// 40033 or 47002: the answer to a body with `\u` escapes of non-ASCII text.
    pub escape_errcode: i64,
    /// HTTP status of `sim-garbage`.
    pub garbage_status: u16,
    /// Life of a new token in seconds.
    pub token_lifetime_s: u32,
    /// That many failed callbacks in a row silence WeChat for a minute. `None`: never.
    pub silence_after: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receipts: Receipts::Automatic,
            receipt_delay_ms: 300,
            attempt_spacing_ms: 5_000,
            callback_timeout_ms: 5_000,
            strict_templates: false,
            duplicate_answer: DuplicateAnswer::SameMsgid,
            escape_errcode: 40033,
            garbage_status: 502,
            token_lifetime_s: 7_200,
            silence_after: None,
        }
    }
}
