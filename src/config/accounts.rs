//! `[accounts.<name>]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read::Section;
use super::wechat::{WechatConfig, read_base_url};
use crate::domain::account::{Account, CallbackKeys, CallbackMode, Replies, TokenApi};
use crate::domain::quiet::{DEFAULT_ZONE, QuietHours};
use crate::domain::secret::Secret;
use crate::domain::state::OnUnknown;

/// A text reply may be about this long (receiving messages, "passive replies").
const REPLY_LIMIT_BYTES: usize = 2048;
const MODES: [(&str, CallbackMode); 3] =
    [("plain", CallbackMode::Plain), ("compatible", CallbackMode::Compatible), ("safe", CallbackMode::Safe)];
const TOKEN_APIS: [(&str, TokenApi); 2] = [("stable", TokenApi::Stable), ("legacy", TokenApi::Legacy)];
const ON_UNKNOWN: [(&str, OnUnknown); 2] = [("retry", OnUnknown::Retry), ("hold", OnUnknown::Hold)];

pub(super) fn read(root: &mut Section<'_>, wechat: &WechatConfig) -> Vec<Arc<Account>> {
    let mut by_app_id: BTreeMap<String, String> = BTreeMap::new();
    let mut accounts = Vec::new();
    for (name, mut section) in root.sections("accounts") {
        if !is_name(&name) {
            section.wrong("", NAME_RULE);
        }
        let account = read_account(&name, &mut section, wechat);
        match by_app_id.get(&account.app_id) {
            Some(other) => {
                section.wrong("app_id", format!("is the app_id of accounts.{other} too; an app has one account"))
            }
            None if account.app_id.is_empty() => {}
            None => {
                by_app_id.insert(account.app_id.clone(), name);
            }
        }
        section.close();
        accounts.push(Arc::new(account));
    }
    accounts
}

pub(crate) const NAME_RULE: &str = "a name is 1 to 64 of a-z 0-9 - _ and begins with a letter or digit";

pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 64
        && name.bytes().next().is_some_and(is_plain)
        && name.bytes().all(|b| is_plain(b) || b == b'-' || b == b'_')
}

fn read_account(name: &str, section: &mut Section<'_>, wechat: &WechatConfig) -> Account {
    let app_id = section.needed("app_id", Section::text).unwrap_or_default();
    if app_id.contains(char::is_whitespace) {
        section.wrong("app_id", "holds a blank; copy it from the console: \"wx\" and 16 hex digits");
    }
    let app_secret = section.needed("app_secret", Section::secret).unwrap_or_default();
    let callback = read_callback(section);
    let token_api = section.choice("token_api", &TOKEN_APIS, TokenApi::Stable);
    let base_url = read_base_url(section).unwrap_or_else(|| wechat.base_url.clone());
    let on_unknown = section.choice("on_unknown", &ON_UNKNOWN, OnUnknown::Retry);
    let daily_quota = section.count_if_given("daily_quota", 1..=1_000_000_000);
    Account {
        name: Arc::from(name),
        app_id,
        app_secret,
        callback,
        token_api,
        base_url,
        on_unknown,
        daily_quota,
        templates: read_templates(section),
        replies: read_replies(section),
        quiet: read_quiet(section),
    }
}

fn read_callback(section: &mut Section<'_>) -> Option<CallbackKeys> {
    let tokens = read_pair(section, "token", is_token, "has to be 3 to 32 letters and digits");
    let aes_keys = read_pair(
        section,
        "encoding_aes_key",
        is_aes_key,
        "has to be 43 letters and digits, as WeChat's console shows it",
    );
    let mode = section.choice("mode", &MODES, CallbackMode::Safe);
    if tokens.is_empty() {
        if !aes_keys.is_empty() {
            section.wrong("token", "is missing, but encoding_aes_key is given; callbacks need both");
        }
        return None;
    }
    if aes_keys.is_empty() && mode != CallbackMode::Plain {
        section.wrong("encoding_aes_key", "is missing; callbacks need it unless mode = \"plain\"");
    }
    Some(CallbackKeys { mode, tokens, aes_keys })
}

/// The current secret, then the previous one. A previous one alone is a mistake.
fn read_pair(section: &mut Section<'_>, key: &str, is_right: fn(&str) -> bool, rule: &str) -> Vec<Secret> {
    let previous_key = format!("previous_{key}");
    let (current, previous) = (section.secret(key), section.secret(&previous_key));
    for (key, secret) in [(key, &current), (&previous_key, &previous)] {
        if secret.as_ref().is_some_and(|secret| !is_right(secret.expose())) {
            section.wrong(key, rule);
        }
    }
    if current.is_none() && previous.is_some() {
        section.wrong(&previous_key, format!("is given without {key}"));
    }
    current.into_iter().chain(previous).collect()
}

fn is_token(text: &str) -> bool {
    (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_aes_key(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn read_templates(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let templates = section.texts("templates");
    let fits = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    for (alias, id) in &templates {
        if !fits(alias) {
            section.wrong("templates", format!("{alias:?} is no short name: 1 to 64 letters, digits, - and _"));
        }
        if id.contains(char::is_whitespace) {
            section.wrong("templates", format!("the template id of {alias:?} holds a blank"));
        }
    }
    templates
}

fn read_quiet(section: &mut Section<'_>) -> Option<QuietHours> {
    let hours = section.text("quiet_hours");
    let zone = section.parsed("quiet_hours_zone", |name| {
        QuietHours::zone(name).ok_or_else(|| "is no zone such as \"Asia/Shanghai\" or \"UTC\"".to_owned())
    });
    let hours = hours?;
    match QuietHours::new(&hours, zone.unwrap_or(DEFAULT_ZONE)) {
        Ok(quiet) => Some(quiet),
        Err(problem) => {
            section.wrong("quiet_hours", format!("{hours:?} {problem}"));
            None
        }
    }
}

fn read_replies(section: &mut Section<'_>) -> Replies {
    let mut section = section.section("replies");
    let subscribe = section.text("subscribe");
    let default = section.text("default");
    let keywords: BTreeMap<String, String> =
        section.texts("keywords").into_iter().map(|(word, reply)| (word.trim().to_owned(), reply)).collect();
    for (key, reply) in [("subscribe", &subscribe), ("default", &default)] {
        if reply.as_ref().is_some_and(|reply| reply.len() > REPLY_LIMIT_BYTES) {
            section.wrong(key, format!("is longer than {REPLY_LIMIT_BYTES} bytes"));
        }
    }
    for (word, _) in keywords.iter().filter(|(_, reply)| reply.len() > REPLY_LIMIT_BYTES) {
        section.wrong("keywords", format!("the reply to {word:?} is longer than {REPLY_LIMIT_BYTES} bytes"));
    }
    section.close();
    Replies { subscribe, keywords, default }
}
