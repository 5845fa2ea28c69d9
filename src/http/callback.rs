//! WeChat's door: `GET|POST /wechat/{account}`.
//!
//! A middleware reads the query and the body and checks both (signature, freshness, decryption); what passes stands in
//! the request's extensions as [`Verified`] or [`Echo`]. The handlers only answer. Failures are short texts without a
//! reason: whoever is not WeChat learns nothing.

use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRef, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use url::form_urlencoded;

use super::body::{self, BodyError, BodyLimits};
use super::state::HttpState;
use crate::failpoint::{Point, reach};
use crate::services::receive::Answer;
use crate::services::verify::{CallbackQuery, Verified, VerifyError};
use crate::wechat::tree::Format;

/// WeChat waits 5 s and then asks again. What is not kept by then is not acknowledged.
const TIME_TO_KEEP: Duration = Duration::from_millis(4_500);

const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "not found");
const UNAUTHORIZED: (StatusCode, &str) = (StatusCode::UNAUTHORIZED, "unauthorized");
const BAD_REQUEST: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "bad request");
const NOT_KEPT: (StatusCode, &str) = (StatusCode::INTERNAL_SERVER_ERROR, "error");

/// When the request came: every budget counts from here.
#[derive(Clone, Copy)]
pub(super) struct Arrived(Instant);

/// The `echostr` of a check that passed.
#[derive(Clone)]
pub(super) struct Echo(String);

/// Middleware: lets only requests of WeChat pass.
pub(super) async fn verify(
    State(state): State<HttpState>,
    path: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(Arrived(Instant::now()));
    let name = path.iter().next().map(|(_, account)| account.to_owned());
    let checked = match *request.method() {
        Method::GET | Method::HEAD => check_url(&state, name.as_deref(), &mut request),
        Method::POST => open(&state, name.as_deref(), &mut request).await,
        _ => Ok(()),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err((status, word)) => text(status, word),
    }
}

type Refusal = (StatusCode, &'static str);

fn check_url(state: &HttpState, name: Option<&str>, request: &mut Request) -> Result<(), Refusal> {
    let account = state.verify.account(name).map_err(|error| refuse(state, "unknown", error))?;
    let query = query(request).ok_or(BAD_REQUEST)?;
    let echo = state.verify.check_url(&account, &query).map_err(|error| refuse(state, &account.name, error))?;
    request.extensions_mut().insert(Echo(echo));
    Ok(())
}

async fn open(state: &HttpState, name: Option<&str>, request: &mut Request) -> Result<(), Refusal> {
    let account = state.verify.account(name).map_err(|error| refuse(state, "unknown", error))?;
    let Some(query) = query(request) else {
        state.metrics.callback(&account.name, "unread", "unparsable");
        return Err(BAD_REQUEST);
    };
    let limits = BodyLimits { bytes: state.callback.body_limit_bytes, ..BodyLimits::from_ref(state) };
    let body = std::mem::take(request.body_mut());
    let bytes = match body::read(body, &limits).await {
        Ok(bytes) => bytes,
        Err(error) => {
            state.metrics.callback(&account.name, "unread", "refused");
            return Err(refuse_body(error));
        }
    };
    let name = account.name.clone();
    let verified = state.verify.open(account, &query, &bytes).map_err(|error| refuse(state, &name, error))?;
    request.extensions_mut().insert(verified);
    Ok(())
}

fn refuse(state: &HttpState, account: &str, error: VerifyError) -> Refusal {
    let (result, refusal) = match error {
        VerifyError::UnknownAccount => ("refused", NOT_FOUND),
        VerifyError::Refused { .. } => ("refused", UNAUTHORIZED),
        VerifyError::Unparsable { .. } => ("unparsable", BAD_REQUEST),
    };
    state.metrics.callback(account, "unread", result);
    tracing::debug!(account.id = account, %error, "a callback was refused");
    refusal
}

fn refuse_body(error: BodyError) -> Refusal {
    match error {
        BodyError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too large"),
        BodyError::TimedOut => (StatusCode::REQUEST_TIMEOUT, "timeout"),
        BodyError::Broken => BAD_REQUEST,
        // Not acknowledged: WeChat asks again.
        BodyError::Stopping => NOT_KEPT,
    }
}

/// The query, each of our names at most once. Names that we do not know are WeChat's business.
fn query(request: &Request) -> Option<CallbackQuery> {
    let mut query = CallbackQuery::default();
    let mut seen = Vec::with_capacity(8);
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        let field = match &*name {
            "signature" => &mut query.signature,
            "timestamp" => &mut query.timestamp,
            "nonce" => &mut query.nonce,
            "echostr" => &mut query.echostr,
            "openid" => &mut query.openid,
            "encrypt_type" => &mut query.encrypt_type,
            "msg_signature" => &mut query.msg_signature,
            _ => continue,
        };
        *field = value.into_owned();
        // An empty one counts: readers differ in which of two they take.
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(query)
}

/// `GET`: the console checks the URL.
pub(super) async fn echo(Extension(Echo(echo)): Extension<Echo>) -> Response {
    text(StatusCode::OK, echo)
}

/// `POST`: kept first, then answered.
pub(super) async fn take(
    State(state): State<HttpState>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    Extension(verified): Extension<Verified>,
) -> Response {
    let account = verified.account.name.clone();
    let kind = verified.inbound.label();
    let receive = state.receive.clone();
    // A task of its own: what has begun to be kept takes effect, even when WeChat hangs up or our time is over.
    let kept = tokio::spawn(async move { receive.take(verified, arrived).await }.instrument(tracing::Span::current()));
    match timeout_at(arrived + TIME_TO_KEEP, kept).await {
        Ok(Ok(Ok(kept))) => {
            let answer = state.receive.answer(kept).await;
            reach(Point::CallbackAnswered);
            reply(answer)
        }
        Ok(Ok(Err(error))) if error.is_said() => {
            tracing::debug!(account.id = &*account, callback.r#type = kind, %error, "a callback was not kept");
            text(NOT_KEPT.0, NOT_KEPT.1)
        }
        Ok(Ok(Err(error))) => {
            tracing::error!(account.id = &*account, callback.r#type = kind, %error, "a callback was not kept");
            text(NOT_KEPT.0, NOT_KEPT.1)
        }
        Ok(Err(_panic)) => {
            state.metrics.callback(&account, &kind, "failed");
            tracing::error!(account.id = &*account, callback.r#type = kind, "keeping a callback panicked");
            text(NOT_KEPT.0, NOT_KEPT.1)
        }
        Err(_) => {
            state.metrics.callback(&account, &kind, "failed");
            tracing::debug!(account.id = &*account, callback.r#type = kind, "a callback was not kept in time");
            text(NOT_KEPT.0, NOT_KEPT.1)
        }
    }
}

fn reply(answer: Answer) -> Response {
    match answer {
        Answer::Success => text(StatusCode::OK, "success"),
        Answer::Reply { body, format } => {
            let content_type = match format {
                Format::Xml => "text/xml; charset=utf-8",
                Format::Json => "application/json",
            };
            ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
        }
    }
}

/// Any other method.
pub(super) async fn wrong_method() -> Response {
    text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn read(query_text: &str) -> Option<CallbackQuery> {
        query(&Request::get(format!("/wechat/shop?{query_text}")).body(Body::empty()).unwrap())
    }

    #[test]
    fn the_query_is_read_as_received() {
        let query =
            read("signature=s&timestamp=1&nonce=n&echostr=a%2Bb+c&encrypt_type=aes&msg_signature=m&x=1&x=2").unwrap();
        assert_eq!((query.signature.as_str(), query.echostr.as_str()), ("s", "a+b c"));
        assert_eq!(
            (query.encrypt_type.as_str(), query.msg_signature.as_str(), query.openid.as_str()),
            ("aes", "m", "")
        );
        assert!(read("").is_some());
        assert!(read("signature=a&signature=b").is_none(), "two signatures are one too many");
    }

    #[test]
    fn replies_wear_their_type() {
        let content_type = |answer| reply(answer).headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        assert_eq!(content_type(Answer::Success), "text/plain; charset=utf-8");
        let xml = Answer::Reply { body: "<xml/>".to_owned(), format: Format::Xml };
        assert_eq!(content_type(xml), "text/xml; charset=utf-8");
        let json = Answer::Reply { body: "{}".to_owned(), format: Format::Json };
        assert_eq!(content_type(json), "application/json");
    }

    #[test]
    fn an_echo_is_never_a_page() {
        let response = text(StatusCode::OK, "<script>");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    }
}
