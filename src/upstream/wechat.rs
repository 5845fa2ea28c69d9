//! WeChat's API as verbs: fetch a token, send a template message, read the quota. In: what to say. Out: what WeChat answered, or
//! how far the call came, because that decides whether it may be repeated.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::direct::{Direct, Fault};
use super::http::BuildError;
use crate::config::wechat::WechatConfig;
use crate::domain::account::{Account, TokenApi};
use crate::domain::secret::Secret;
use crate::failpoint::{Point, reach};
use crate::wechat::answer::Answer;
use crate::wechat::{errcode, send};

/// No answer of these two calls is longer; what is, is not WeChat's.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024;
/// So many bytes of WeChat's own words are kept; its longest are a tenth of that.
const WORDS_LIMIT_BYTES: usize = 1024;
/// No token lives longer (access_token page), whatever an answer says.
const TOKEN_LIFE_SECONDS: u64 = 7200;
const TOO_LONG: &str = "the answer is longer than 64 KiB";
const JSON: &str = "application/json; charset=utf-8";

/// How a call ended without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nothing left for WeChat: safe to repeat.
    #[error("not connected: {detail}")]
    NotSent { detail: String },
    /// The request left, or may have left, and no usable answer came.
    #[error("{kind}: {detail}", kind = .kind.as_str())]
    NoAnswer { kind: NoAnswer, detail: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    TimedOut,
    /// The connection ended first.
    Broken,
    /// An answer that is not WeChat's: HTML, truncated, empty, a 5xx.
    Garbage,
}

impl NoAnswer {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Broken => "broken",
            Self::Garbage => "garbage",
        }
    }
}

impl CallError {
    /// The label of `wxgate_wechat_requests_total{errcode}`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "connect",
            Self::NoAnswer { kind, .. } => kind.as_str(),
        }
    }
}

/// A token as WeChat gave it.
#[derive(Clone, Debug)]
pub struct FreshToken {
    pub token: Secret,
    pub expires_in: Duration,
}

/// What the token call said.
#[derive(Clone, Debug)]
pub enum TokenReply {
    Token(FreshToken),
    Refused { errcode: i64, errmsg: String, rid: Option<String> },
}

/// The client. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct WechatClient {
    http: reqwest::Client,
    /// For sends; `None` when a proxy stands between.
    direct: Option<Direct>,
}

impl WechatClient {
    /// Every call goes through this client.
    pub fn new(http: reqwest::Client) -> Self {
        Self { http, direct: None }
    }

    pub fn open(config: &WechatConfig) -> Result<Self, BuildError> {
        let tls = super::http::tls()?;
        let direct = config.proxy.is_none().then(|| Direct::new(config, tls.clone()));
        Ok(Self { http: super::http::client_with(config, tls)?, direct })
    }

    /// `POST /cgi-bin/stable_token`, or `GET /cgi-bin/token` for a legacy account (`force` means nothing there: each call
    /// makes a new token). Pages "getStableAccessToken" and "getAccessToken".
    pub async fn fetch_token(&self, account: &Account, force: bool) -> Result<TokenReply, CallError> {
        let secret = account.app_secret.expose();
        let request = match account.token_api {
            TokenApi::Stable => self
                .http
                .post(format!("{}/cgi-bin/stable_token", account.base_url))
                .header("content-type", JSON)
                .body(send::stable_token_body(&account.app_id, secret, force)),
            TokenApi::Legacy => self.http.get(url_with(
                &format!("{}/cgi-bin/token", account.base_url),
                &[("grant_type", "client_credential"), ("appid", &account.app_id), ("secret", secret)],
            )),
        };
        let answer = call(request, secret).await?;
        if answer.errcode != 0 {
            return Ok(TokenReply::Refused { errcode: answer.errcode, errmsg: answer.errmsg, rid: answer.rid });
        }
        match (answer.access_token, answer.expires_in) {
            (Some(token), Some(seconds)) if !token.is_empty() && seconds > 0 => Ok(TokenReply::Token(FreshToken {
                token: Secret::new(token),
                expires_in: Duration::from_secs(seconds.unsigned_abs().min(TOKEN_LIFE_SECONDS)),
            })),
            _ => Err(garbage("the answer holds no access_token")),
        }
    }

    /// `POST /cgi-bin/message/template/send` with a body made at accept. Page "sendTemplateMessage".
    pub async fn send_template(&self, account: &Account, token: &Secret, body: &str) -> Result<Answer, CallError> {
        let url = url_with(
            &format!("{}/cgi-bin/message/template/send", account.base_url),
            &[("access_token", token.expose())],
        );
        let answer = match &self.direct {
            Some(direct) => call_directly(direct, url, body, token.expose()).await?,
            None => {
                let request = self.http.post(url).header("content-type", JSON).body(body.to_owned());
                call(request, token.expose()).await?
            }
        };
        if answer.errcode == 0 && answer.body.get("errcode").is_none() && answer.msgid.is_none() {
            return Err(garbage("the answer holds neither errcode nor msgid"));
        }
        Ok(answer)
    }

    /// `POST /cgi-bin/message/custom/send`. Page "Customer service messages".
    pub async fn send_custom(&self, account: &Account, token: &Secret, body: String) -> Result<Answer, CallError> {
        let url =
            url_with(&format!("{}/cgi-bin/message/custom/send", account.base_url), &[("access_token", token.expose())]);
        let request = self.http.post(url).header("content-type", JSON).body(body);
        let answer = call(request, token.expose()).await?;
        if answer.errcode == 0 && answer.body.get("errcode").is_none() {
            return Err(garbage("the answer holds no errcode"));
        }
        Ok(answer)
    }

    /// `POST /cgi-bin/openapi/quota/get` about template messages. Page "getApiQuota".
    pub async fn fetch_quota(&self, account: &Account, token: &Secret) -> Result<Answer, CallError> {
        let url =
            url_with(&format!("{}/cgi-bin/openapi/quota/get", account.base_url), &[("access_token", token.expose())]);
        let request = self.http.post(url).header("content-type", JSON).body(send::quota_body());
        call(request, token.expose()).await
    }
}

/// The label of an answer in metrics: its errcode, when that is one that we know.
pub fn errcode_label(errcode: i64) -> String {
    if errcode::look_up(errcode).is_some() { errcode.to_string() } else { "other".to_owned() }
}

fn url_with(base: &str, query: &[(&str, &str)]) -> String {
    let mut url = String::with_capacity(base.len() + 512);
    url.push_str(base);
    let stays = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
    for (index, (name, value)) in query.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        // WeChat's tokens are plain, and long.
        match value.bytes().fold(true, |all, b| all & stays(b)) {
            true => url.push_str(value),
            false => url.extend(url::form_urlencoded::byte_serialize(value.as_bytes())),
        }
    }
    url
}

/// `secret`: what the request holds and no answer may tell.
async fn call(request: reqwest::RequestBuilder, secret: &str) -> Result<Answer, CallError> {
    reach(Point::CallReady);
    let response = request.send().await.map_err(|error| how_far(&error))?;
    reach(Point::CallHead);
    let status = response.status();
    let body = read_limited(response).await?;
    understand(status, &body, secret)
}

async fn call_directly(direct: &Direct, url: String, body: &str, secret: &str) -> Result<Answer, CallError> {
    reach(Point::CallReady);
    let body = Bytes::copy_from_slice(body.as_bytes());
    let (status, body) = direct.post(&url, JSON, body, ANSWER_LIMIT_BYTES).await.map_err(|fault| match fault {
        Fault::NotSent(detail) => CallError::NotSent { detail },
        Fault::TimedOut => CallError::NoAnswer { kind: NoAnswer::TimedOut, detail: "no answer in time".to_owned() },
        Fault::Broken(detail) => CallError::NoAnswer { kind: NoAnswer::Broken, detail },
        Fault::TooLong => garbage(TOO_LONG),
    })?;
    understand(status, &body, secret)
}

fn understand(status: StatusCode, body: &[u8], secret: &str) -> Result<Answer, CallError> {
    if !status.is_success() {
        return Err(garbage(&format!("HTTP {status}")));
    }
    let mut answer = Answer::parse(body).map_err(|error| garbage(&error.to_string()))?;
    presentable(&mut answer.errmsg, secret);
    Ok(answer)
}

/// WeChat's words are kept and shown. Whoever answers in its place may have written back what it was sent, or a book.
fn presentable(words: &mut String, secret: &str) {
    // As it stands in a query it is no shorter.
    if !secret.is_empty() && words.len() >= secret.len() {
        let in_query: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        *words = words.replace(secret, "***").replace(&in_query, "***");
    }
    words.truncate(words.floor_char_boundary(WORDS_LIMIT_BYTES));
}

async fn read_limited(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
        if body.len() + chunk.len() > ANSWER_LIMIT_BYTES {
            return Err(garbage(TOO_LONG));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// No byte of a request is written before there is a connection: name, address, proxy and TLS handshake, each with its
/// time-out, fail as "connect". A request that the connection never took from its queue comes back as "canceled"; on a
/// pooled connection the client repeats it by itself. Everything else may have arrived.
fn how_far(error: &reqwest::Error) -> CallError {
    if error.is_connect() || error.is_builder() || is_canceled(error) {
        return CallError::NotSent { detail: cause_of(error) };
    }
    no_answer(error)
}

fn no_answer(error: &reqwest::Error) -> CallError {
    let kind = if error.is_timeout() { NoAnswer::TimedOut } else { NoAnswer::Broken };
    CallError::NoAnswer { kind, detail: cause_of(error) }
}

fn is_canceled(error: &reqwest::Error) -> bool {
    causes_of(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled))
}

/// The innermost cause: the outer ones repeat the URL, and the URL holds the token.
fn cause_of(error: &reqwest::Error) -> String {
    causes_of(error).last().map_or_else(|| "no further detail".to_owned(), ToString::to_string)
}

/// Without the error itself.
fn causes_of(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

fn garbage(detail: &str) -> CallError {
    CallError::NoAnswer { kind: NoAnswer::Garbage, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests;
