//! Is this send one that WeChat could take? Meanings, not shapes; everything that is wrong is told at once.

use std::borrow::Cow;
use std::time::Duration;

use super::input::{FieldError, SendInput, Warning};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::services::users::is_user_id;
use crate::wechat::keyword::{Misfit, misfit};

/// WeChat's page names no maximum; longer ones are refused there with 40036.
const TEMPLATE_ID_CHARS: usize = 128;
const KEYWORDS: usize = 64;
const KEYWORD_NAME_CHARS: usize = 64;
const KEYWORD_VALUE_CHARS: usize = 2_000;
const COLOR_CHARS: usize = 16;
const URL_BYTES: usize = 2_048;
const APPID_CHARS: usize = 64;
const PAGEPATH_BYTES: usize = 1_024;
/// Safe on the template message page and in field reports.
const CLIENT_MSG_ID_CHARS: usize = 32;
const METADATA_BYTES: usize = 2 * 1024;
const FURTHEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The openid, when it is one.
pub(super) fn openid(text: &str, errors: &mut Vec<FieldError>) -> Option<Openid> {
    let openid = Openid::parse(text);
    if openid.is_none() {
        say(errors, "/touser", "invalid_openid", "an openid is 1–128 of A–Z, a–z, 0–9, _ and -".to_owned());
    }
    openid
}

/// Can anybody be bound to it? Nobody is to an empty one, which is not known then.
pub(super) fn user_id(text: &str, errors: &mut Vec<FieldError>) -> bool {
    let fits = text.is_empty() || is_user_id(text);
    if !fits {
        let detail = "a user id has 1–128 characters, none of them a control character".to_owned();
        say(errors, "/user_id", "invalid_user_id", detail);
    }
    fits
}

/// Everything about the content.
pub(super) fn content(input: &SendInput, errors: &mut Vec<FieldError>) {
    let id = &input.template_id;
    if id.is_empty() || id.len() > TEMPLATE_ID_CHARS || !id.bytes().all(|b| b.is_ascii_graphic()) {
        say(errors, "/template_id", "invalid_template_id", format!("1–{TEMPLATE_ID_CHARS} visible ASCII characters"));
    }
    keywords(input, errors);
    if let Some(url) = &input.url {
        check_url(url, errors);
    }
    if let Some(program) = &input.miniprogram {
        let is_appid = !program.appid.is_empty()
            && program.appid.len() <= APPID_CHARS
            && program.appid.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_appid {
            say(
                errors,
                "/miniprogram/appid",
                "invalid_appid",
                "the mini program's appid, letters and digits".to_owned(),
            );
        }
        if program.pagepath.as_ref().is_some_and(|path| path.len() > PAGEPATH_BYTES || has_control(path)) {
            let detail = format!("at most {PAGEPATH_BYTES} bytes, no control characters");
            say(errors, "/miniprogram/pagepath", "invalid_pagepath", detail);
        }
    }
    if let Some(id) = &input.client_msg_id
        && (id.is_empty() || id.len() > CLIENT_MSG_ID_CHARS || !id.bytes().all(|b| b.is_ascii_graphic()))
    {
        let detail = format!("1–{CLIENT_MSG_ID_CHARS} visible ASCII characters");
        say(errors, "/client_msg_id", "invalid_client_msg_id", detail);
    }
    let metadata: usize = input.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if metadata > METADATA_BYTES {
        say(errors, "/metadata", "too_long", format!("{metadata} bytes; at most {METADATA_BYTES}"));
    }
}

fn keywords(input: &SendInput, errors: &mut Vec<FieldError>) {
    if input.data.is_empty() {
        say(errors, "/data", "empty", "at least one keyword of the template".to_owned());
    }
    if input.data.len() > KEYWORDS {
        say(errors, "/data", "too_many", format!("at most {KEYWORDS} keywords"));
        return;
    }
    for (name, keyword) in &input.data {
        let path = || pointer("/data", name);
        let is_name = (1..=KEYWORD_NAME_CHARS).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            let detail = "a keyword name is letters, digits and _, without .DATA: thing1, time2".to_owned();
            say(errors, &path(), "invalid_keyword", detail);
        }
        let chars = keyword.value.chars().count();
        if chars > KEYWORD_VALUE_CHARS {
            say(errors, &path(), "too_long", format!("{chars} characters; at most {KEYWORD_VALUE_CHARS}"));
        }
        if keyword
            .color
            .as_ref()
            .is_some_and(|color| color.len() > COLOR_CHARS || !color.is_ascii() || has_control(color))
        {
            say(errors, &format!("{}/color", path()), "invalid_color", "a colour is #RRGGBB".to_owned());
        }
    }
}

fn check_url(text: &str, errors: &mut Vec<FieldError>) {
    let is_web = || url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let is_url = text.len() <= URL_BYTES && !has_control(text) && (is_plain_url(text) || is_web());
    if !is_url {
        say(errors, "/url", "invalid_url", format!("an http or https address of at most {URL_BYTES} bytes"));
    }
}

/// An address that needs no parser, as most are: a host name of plain letters that ends in a word, then anything.
fn is_plain_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with("xn--")
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_word = |label: &str| label.bytes().all(|b| b.is_ascii_lowercase());
    host.len() <= 253 && host.split('.').all(is_label) && host.rsplit('.').next().is_some_and(is_word)
}

/// When it goes out and when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// `None`: at once.
    pub(super) send_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

/// Why the times do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimesError {
    Invalid(FieldError),
    WouldExpire(String),
}

/// `ttl` counts from `send_at` when that is given, else from now.
pub(super) fn times(input: &SendInput, default_ttl: Duration, now: Timestamp) -> Result<Times, TimesError> {
    let invalid = |path: &str, detail: &str| {
        TimesError::Invalid(FieldError { path: path.to_owned(), code: "out_of_range", detail: detail.to_owned() })
    };
    let send_at = input.send_at.filter(|at| *at > now);
    if send_at.is_some_and(|at| at > now.plus(FURTHEST)) {
        return Err(invalid("/send_at", "at most 30 days ahead"));
    }
    let begins = send_at.unwrap_or(now);
    let expires_at = input.expires_at.unwrap_or_else(|| begins.plus(input.ttl.unwrap_or(default_ttl)));
    if expires_at <= begins {
        return Err(TimesError::WouldExpire(format!("it would expire at {expires_at}, before it could be sent")));
    }
    if expires_at > begins.plus(FURTHEST) {
        return Err(invalid("/expires_at", "at most 30 days after it is sent"));
    }
    Ok(Times { send_at, expires_at })
}

/// What WeChat takes but no longer shows (announcement of 2023 on template messages), what it will probably refuse, and what
/// is changed on the way.
pub(super) fn warnings(input: &SendInput) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (name, keyword) in &input.data {
        for (code, detail) in about(name, &keyword.value) {
            warnings.push(Warning { path: pointer("/data", name), code, detail });
        }
        if let Some(color) = &keyword.color {
            let path = pointer("/data", name);
            let (code, detail) = if is_color(color) {
                ("not_displayed", "WeChat has ignored colours since May 2023")
            } else {
                ("invalid_color", "a colour is #RRGGBB; WeChat has ignored them since May 2023")
            };
            warnings.push(Warning { path: format!("{path}/color"), code, detail: detail.to_owned() });
        }
    }
    warnings
}

/// What there is to say of a keyword's value.
fn about(name: &str, value: &str) -> Vec<(&'static str, String)> {
    let mut said = Vec::new();
    if name == "first" || name == "remark" {
        said.push(("not_displayed", format!("WeChat has not shown `{name}` since May 2023")));
    }
    if value.trim().is_empty() {
        said.push(("empty_value", "WeChat refuses empty values in most templates (47003)".to_owned()));
    }
    let is_dropped = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    // Only these begin so in UTF-8: the texts that most people are sent are not looked at sign by sign.
    let may_drop = value.bytes().fold(false, |found, b| found | (b < 0x20) | (b == 0x7f) | (b == 0xc2));
    if may_drop && value.contains(is_dropped) {
        said.push(("control_characters", "control characters are left out: WeChat refuses their JSON form".to_owned()));
    }
    if value.bytes().fold(false, |found, b| found | (b >= 0xf0)) && value.contains(is_emoji) {
        said.push(("emoji", "WeChat has shown emoji as a box since May 2023".to_owned()));
    }
    let kept: Cow<'_, str> = match said.iter().any(|(code, _)| *code == "control_characters") {
        true => value.chars().filter(|c| !is_dropped(*c)).collect(),
        false => value.into(),
    };
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match misfit(name, &kept) {
        Some(Misfit::TooLong { chars, most }) => {
            said.push(("too_long", format!("{chars} characters; a `{kind}` has at most {most} (47003)")));
        }
        Some(Misfit::Form(expected)) => said.push(("keyword_type", format!("a `{kind}` is {expected} (47003)"))),
        None => {}
    }
    said
}

/// `#RRGGBB`.
fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The planes of pictures; signs that are as old as print are none.
fn is_emoji(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1faff}')
}

/// The JSON pointer of a member with a name of the caller's own.
fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn say(errors: &mut Vec<FieldError>, path: &str, code: &'static str, detail: String) {
    errors.push(FieldError { path: path.to_owned(), code, detail });
}

#[cfg(test)]
mod tests;
