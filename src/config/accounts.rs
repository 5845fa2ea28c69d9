//! `[accounts.<name>]`; and the same rules for accounts that are made at run time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::origin::Origin;
use super::read::{Findings, Section};
use super::relay;
use super::tree::{Node, Raw, Table};
use super::wechat::{WechatConfig, read_base_url};
use crate::domain::account::{
    Account, AccountOptions, AccountSecrets, AccountSettings, CallbackMode, Replies, SecretField, TokenApi,
};
use crate::domain::quiet::QuietHours;
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
        let mut settings = read_settings(&mut section);
        if let Some(relay) = &mut settings.options.relay {
            relay.is_operators = true;
            if settings.secrets.get(SecretField::Token).is_none() {
                section.warn("relay", "the account has no token, so it takes no callbacks that could be relayed");
            }
        }
        let account = settings.account(&name, &wechat.base_url);
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

/// What is wrong with an account that is made or changed at run time: each fault with its field, as a JSON pointer.
pub fn check(settings: &AccountSettings) -> Vec<(String, String)> {
    let findings = RefCell::new(Findings::default());
    let mut section = Section::new(String::new(), as_written(settings), &findings);
    read_settings(&mut section);
    drop(section);
    let Findings { errors, notes, .. } = findings.into_inner();
    notes.warnings.iter().for_each(|warning| tracing::warn!("account {}: {warning}", settings.app_id));
    errors.into_iter().map(|error| (pointer(&error.key), error.problem)).collect()
}

/// The settings as a table of the configuration has them.
fn as_written(settings: &AccountSettings) -> Table {
    let node = |raw| Node { raw, origin: Origin::Default };
    let text = |text: &str| node(Raw::Text(text.to_owned()));
    let texts = |texts: &BTreeMap<String, String>| {
        node(Raw::Table(texts.iter().map(|(name, value)| (name.clone(), text(value))).collect()))
    };
    let AccountSettings { app_id, secrets, options } = settings;
    let AccountOptions {
        mode,
        token_api,
        base_url,
        on_unknown,
        daily_quota,
        quiet_hours,
        quiet_hours_zone,
        templates,
        replies,
        relay,
    } = options;
    let mut table = Table::from([
        ("app_id".to_owned(), text(app_id)),
        ("mode".to_owned(), text(mode.as_str())),
        ("token_api".to_owned(), text(token_api.as_str())),
        ("on_unknown".to_owned(), text(on_unknown.as_str())),
        ("templates".to_owned(), texts(templates)),
    ]);
    for field in SecretField::ALL {
        table.extend(secrets.get(field).map(|secret| (field.as_str().to_owned(), text(secret.expose()))));
    }
    for (name, value) in [("base_url", base_url), ("quiet_hours", quiet_hours), ("quiet_hours_zone", quiet_hours_zone)]
    {
        table.extend(value.as_ref().map(|value| (name.to_owned(), text(value))));
    }
    let quota = daily_quota.map(|quota| node(Raw::Integer(i64::try_from(quota).unwrap_or(i64::MAX))));
    table.extend(quota.map(|quota| ("daily_quota".to_owned(), quota)));
    let mut said = Table::from([("keywords".to_owned(), texts(&replies.keywords))]);
    said.extend(replies.subscribe.as_ref().map(|reply| ("subscribe".to_owned(), text(reply))));
    said.extend(replies.default.as_ref().map(|reply| ("default".to_owned(), text(reply))));
    table.insert("replies".to_owned(), node(Raw::Table(said)));
    table.extend(relay.as_ref().map(|relay| ("relay".to_owned(), relay::as_written(relay))));
    table
}

/// `replies.keywords.a/b` → `/replies/keywords/a~1b`. Below a table of texts, dots are part of a name.
fn pointer(key: &str) -> String {
    const TABLES: [&str; 2] = ["templates", "replies.keywords"];
    let inside = |table| Some((table, key.strip_prefix(table)?.strip_prefix('.')?));
    let (fields, name) = match TABLES.into_iter().find_map(inside) {
        Some((table, name)) => (table, format!("/{}", name.replace('~', "~0").replace('/', "~1"))),
        None => (key, String::new()),
    };
    format!("/{}{name}", fields.replace('.', "/"))
}

fn read_settings(section: &mut Section<'_>) -> AccountSettings {
    let app_id = section.needed("app_id", Section::text).unwrap_or_default();
    if app_id.contains(char::is_whitespace) {
        section.wrong("app_id", "holds a blank; copy it from the console: \"wx\" and 16 hex digits");
    }
    let mut secrets = AccountSecrets::default();
    secrets.set(SecretField::AppSecret, section.needed("app_secret", Section::secret));
    let mode = read_callback(section, &mut secrets);
    let (quiet_hours, quiet_hours_zone) = read_quiet(section);
    AccountSettings {
        app_id,
        secrets,
        options: AccountOptions {
            mode,
            token_api: section.choice("token_api", &TOKEN_APIS, TokenApi::Stable),
            base_url: read_base_url(section),
            on_unknown: section.choice("on_unknown", &ON_UNKNOWN, OnUnknown::Retry),
            daily_quota: section.count_if_given("daily_quota", 1..=1_000_000_000),
            quiet_hours,
            quiet_hours_zone,
            templates: read_templates(section),
            replies: read_replies(section),
            relay: relay::read(section),
        },
    }
}

fn read_callback(section: &mut Section<'_>, secrets: &mut AccountSecrets) -> CallbackMode {
    read_pair(section, secrets, SecretField::Token, is_token, "has to be 3 to 32 letters and digits");
    read_pair(
        section,
        secrets,
        SecretField::EncodingAesKey,
        is_aes_key,
        "has to be 43 letters and digits, as WeChat's console shows it",
    );
    let mode = section.choice("mode", &MODES, CallbackMode::Safe);
    let has = |field: SecretField| {
        secrets.get(field).is_some() || field.previous().is_some_and(|field| secrets.get(field).is_some())
    };
    match (has(SecretField::Token), has(SecretField::EncodingAesKey)) {
        (false, true) => section.wrong("token", "is missing, but encoding_aes_key is given; callbacks need both"),
        (true, false) if mode != CallbackMode::Plain => {
            section.wrong("encoding_aes_key", "is missing; callbacks need it unless mode = \"plain\"");
        }
        _ => {}
    }
    mode
}

/// The current secret and the previous one. A previous one alone is a mistake.
fn read_pair(
    section: &mut Section<'_>,
    secrets: &mut AccountSecrets,
    field: SecretField,
    is_right: fn(&str) -> bool,
    rule: &str,
) {
    for field in [Some(field), field.previous()].into_iter().flatten() {
        let secret = section.secret(field.as_str());
        if secret.as_ref().is_some_and(|secret| !is_right(secret.expose())) {
            section.wrong(field.as_str(), rule);
        }
        secrets.set(field, secret);
    }
    let previous = field.previous().filter(|previous| secrets.get(*previous).is_some());
    if let (None, Some(previous)) = (secrets.get(field), previous) {
        section.wrong(previous.as_str(), format!("is given without {}", field.as_str()));
    }
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

/// As they are written, when they can be read.
fn read_quiet(section: &mut Section<'_>) -> (Option<String>, Option<String>) {
    let hours = section.text("quiet_hours");
    let zone = section.text("quiet_hours_zone");
    if zone.as_deref().is_some_and(|name| QuietHours::zone(name).is_none()) {
        section.wrong("quiet_hours_zone", "is no zone such as \"Asia/Shanghai\" or \"UTC\"");
        return (hours, None);
    }
    match hours.as_deref().map(|hours| QuietHours::read(hours, zone.as_deref())) {
        Some(Err(problem)) => {
            section.wrong("quiet_hours", format!("{:?} {problem}", hours.unwrap_or_default()));
            (None, zone)
        }
        _ => (hours, zone),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Secret;

    fn settings() -> AccountSettings {
        let mut settings = AccountSettings { app_id: "wx1".to_owned(), ..AccountSettings::default() };
        settings.secrets.set(SecretField::AppSecret, Some(Secret::new("s3cr3t")));
        settings
    }

    #[test]
    fn what_is_made_at_run_time_keeps_the_rules_of_the_file() {
        assert_eq!(check(&settings()), []);
        let mut wrong = settings();
        wrong.app_id = "wx 1".to_owned();
        wrong.secrets.set(SecretField::PreviousToken, Some(Secret::new("t")));
        wrong.secrets.set(SecretField::EncodingAesKey, Some(Secret::new("k3y-of-9")));
        wrong.options.base_url = Some("ftp://x".to_owned());
        wrong.options.templates.insert("a.b".to_owned(), "TPL".to_owned());
        wrong.options.templates.insert("c/d.e".to_owned(), String::new());
        wrong.options.replies.default = Some("x".repeat(3000));
        let told = check(&wrong);
        let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
        let expected = [
            "/app_id",
            "/previous_token",
            "/previous_token",
            "/encoding_aes_key",
            "/base_url",
            "/templates/c~1d.e",
            "/templates",
            "/replies/default",
        ];
        assert_eq!(paths, expected, "{told:?}");
        assert!(!format!("{told:?}").contains("k3y-of-9"), "{told:?}");
        let mut wrong = settings();
        wrong.secrets.set(SecretField::AppSecret, None);
        wrong.secrets.set(SecretField::Token, Some(Secret::new("tok3n")));
        assert_eq!(
            check(&wrong).iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
            ["/app_secret", "/encoding_aes_key"]
        );
    }
}
