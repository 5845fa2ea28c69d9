//! Is this send one that WeChat could take? Meanings, not shapes; everything that is wrong is told at once.

use std::time::Duration;

use super::input::{FieldError, SendInput, Warning};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;

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
        let path = format!("/data/{}", name.replace('~', "~0").replace('/', "~1"));
        let is_name = (1..=KEYWORD_NAME_CHARS).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            let detail = "a keyword name is letters, digits and _, without .DATA: thing1, time2".to_owned();
            say(errors, &path, "invalid_keyword", detail);
        }
        let chars = keyword.value.chars().count();
        if chars > KEYWORD_VALUE_CHARS {
            say(errors, &path, "too_long", format!("{chars} characters; at most {KEYWORD_VALUE_CHARS}"));
        }
        if keyword.color.as_ref().is_some_and(|color| color.len() > COLOR_CHARS || !color.is_ascii()) {
            say(errors, &format!("{path}/color"), "invalid_color", "a colour is #RRGGBB".to_owned());
        }
    }
}

fn check_url(text: &str, errors: &mut Vec<FieldError>) {
    let is_url = text.len() <= URL_BYTES
        && !has_control(text)
        && url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_url {
        say(errors, "/url", "invalid_url", format!("an http or https address of at most {URL_BYTES} bytes"));
    }
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

/// What WeChat takes but no longer shows (announcement of 2023 on template messages).
pub(super) fn warnings(input: &SendInput) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (name, keyword) in &input.data {
        let path = format!("/data/{name}");
        if name == "first" || name == "remark" {
            let detail = format!("WeChat has not shown `{name}` since May 2023");
            warnings.push(Warning { path: path.clone(), code: "not_displayed", detail });
        }
        if keyword.value.trim().is_empty() {
            let detail = "WeChat refuses empty values in most templates (47003)".to_owned();
            warnings.push(Warning { path: path.clone(), code: "empty_value", detail });
        }
        if keyword.color.is_some() {
            let detail = "WeChat has ignored colours since May 2023".to_owned();
            warnings.push(Warning { path: format!("{path}/color"), code: "not_displayed", detail });
        }
    }
    warnings
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn say(errors: &mut Vec<FieldError>, path: &str, code: &'static str, detail: String) {
    errors.push(FieldError { path: path.to_owned(), code, detail });
}

#[cfg(test)]
mod tests {
    use super::super::input::{Keyword, MiniProgram};
    use super::*;

    fn valid() -> SendInput {
        SendInput {
            template_id: "TPL".to_owned(),
            data: vec![("thing1".to_owned(), Keyword { value: "茶".to_owned(), color: None })],
            ..SendInput::default()
        }
    }

    fn codes(input: &SendInput) -> Vec<(String, &'static str)> {
        let mut errors = Vec::new();
        content(input, &mut errors);
        errors.into_iter().map(|error| (error.path, error.code)).collect()
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_its_path() {
        assert_eq!(codes(&valid()), []);
        let mut input = valid();
        input.template_id = "with blank".to_owned();
        input.data.push(("a/b".to_owned(), Keyword { value: "x".repeat(2_001), color: None }));
        input.url = Some("javascript:alert(1)".to_owned());
        input.miniprogram = Some(MiniProgram { appid: String::new(), pagepath: Some("a\nb".to_owned()) });
        input.client_msg_id = Some("é".to_owned());
        input.metadata = vec![("k".to_owned(), "v".repeat(3_000))];
        let paths: Vec<_> = codes(&input).into_iter().map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "/template_id",
                "/data/a~1b",
                "/data/a~1b",
                "/url",
                "/miniprogram/appid",
                "/miniprogram/pagepath",
                "/client_msg_id",
                "/metadata"
            ]
        );
    }

    #[test]
    fn times_default_and_exclude_the_impossible() {
        let now = Timestamp::from_seconds(1_000);
        let ttl = Duration::from_secs(60);
        let plain = times(&valid(), ttl, now).unwrap();
        assert_eq!(plain, Times { send_at: None, expires_at: Timestamp::from_seconds(1_060) });
        let later = SendInput { send_at: Some(Timestamp::from_seconds(2_000)), ..valid() };
        assert_eq!(times(&later, ttl, now).unwrap().expires_at, Timestamp::from_seconds(2_060));
        let past = SendInput { send_at: Some(Timestamp::from_seconds(5)), ..valid() };
        assert_eq!(times(&past, ttl, now).unwrap().send_at, None);
        let expired = SendInput { expires_at: Some(Timestamp::from_seconds(1_500)), ..later };
        assert!(matches!(times(&expired, ttl, now), Err(TimesError::WouldExpire(_))));
        let far = SendInput { send_at: Some(now.plus(FURTHEST + ttl)), ..valid() };
        assert!(matches!(times(&far, ttl, now), Err(TimesError::Invalid(_))));
    }
}
