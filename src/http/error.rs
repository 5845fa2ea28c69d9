//! What callers see when something goes wrong: RFC 9457 problems. This is the one file that knows the errors of all rooms.
//!
//! An [`ApiError`] becomes a response without a body that carries the problem along; the front (`front.rs`) writes the
//! body, because it knows the request's id.

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

pub use super::code::Code;
use super::limits;
use crate::domain::attempt::Attempt;
use crate::domain::batch::RejectedItem;
use crate::domain::ids::MessageId;
use crate::domain::limit::LimitKind;
use crate::domain::message::Message;
use crate::domain::user::TagsError;
use crate::services::accept::{AcceptError, FieldError};
use crate::services::access::AccessError;
use crate::services::accounts::AccountError;
use crate::services::batches::BatchError;
use crate::services::feed::FeedError;
use crate::services::limits::Refusal;
use crate::services::reports::ReportError;
use crate::services::suppressions::SuppressionError;
use crate::services::tokens::TokenError;
use crate::services::users::UserError;
use crate::services::webhooks::admin::WebhookError;
use crate::store;

/// One refusal on its way to the caller.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    code: Code,
    detail: String,
    message_id: Option<MessageId>,
    upstream: Option<Upstream>,
    errors: Vec<FieldError>,
    reason: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What WeChat said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Upstream {
    /// There is none when a receipt said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 43004)]
    pub errcode: Option<i64>,
    #[schema(example = "require subscribe hint")]
    pub errmsg: String,
    /// WeChat's own id of the request, for its support and its tracing API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
}

/// The body of every 4xx and 5xx answer (RFC 9457, `application/problem+json`).
#[derive(Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A page that this server serves: cause, cure and advice on retries.
    #[serde(rename = "type")]
    #[schema(example = "/problems/recipient_refused")]
    pub kind: String,
    pub title: &'static str,
    #[schema(example = 422)]
    pub status: u16,
    pub code: Code,
    /// What went wrong this time, in one sentence.
    pub detail: String,
    /// Also in the header `x-request-id`.
    pub request_id: String,
    /// The same request may succeed later.
    pub retryable: bool,
    /// The message that this is about, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// Each fault with its place in the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Which limit was met (`rate_limited`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl ApiError {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let parts = Parts {
            code,
            detail: detail.into(),
            message_id: None,
            upstream: None,
            errors: Vec::new(),
            reason: None,
            headers: Vec::new(),
        };
        let error = Self(Box::new(parts));
        match code {
            Code::Unauthenticated => error.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Code::IdempotencyInProgress | Code::Overloaded => error.with_retry_after(1),
            Code::StorageUnavailable | Code::TokenUnavailable => error.with_retry_after(5),
            Code::ShuttingDown => error.with_retry_after(5).with_close(),
            // The rest of the body would be taken for the next request.
            Code::PayloadTooLarge | Code::RequestTimeout => error.with_close(),
            _ => error,
        }
    }

    /// Faults with their places; `detail` sums them up.
    pub fn with_errors(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if only.path.is_empty() => only.detail.clone(),
            [only] => format!("{}: {}", only.path, only.detail),
            many => format!("{} places are wrong: see errors", many.len()),
        };
        let mut error = Self::new(code, detail);
        error.0.errors = errors;
        error
    }

    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "there is no such thing, or this key may not see it")
    }

    pub fn internal() -> Self {
        Self::new(Code::Internal, "something went wrong in the gateway; its log tells more under this request_id")
    }

    /// A message that was kept and has ended badly while its caller waited: nothing more will be sent.
    pub fn of_message(code: Code, message: &Message) -> Self {
        let last = message.attempts.last();
        let detail = match last.and_then(|attempt| attempt.errcode.zip(attempt.errmsg.as_deref())) {
            Some((errcode, errmsg)) => format!("the message is {}: {errcode} {errmsg}", message.state.as_str()),
            None => format!("the message is {}", message.state.as_str()),
        };
        let mut error = Self::new(code, detail);
        error.0.message_id = Some(message.id);
        error.0.upstream = last.and_then(upstream);
        error
    }

    /// A batch of which nothing was kept: every fault with its place.
    fn of_items(items: &[RejectedItem]) -> Self {
        let faults = items.iter().flat_map(|item| {
            let whole = FieldError {
                path: format!("/messages/{}", item.index),
                code: Code::parse(&item.code).map_or("refused", Code::as_str),
                detail: item.detail.clone(),
            };
            let inside = item.errors.iter().map(|error| FieldError {
                path: error.path.clone(),
                code: "invalid",
                detail: error.detail.clone(),
            });
            if item.errors.is_empty() { vec![whole] } else { inside.collect() }
        });
        Self::with_errors(Code::InvalidMessage, faults.collect())
    }

    fn limited(refusal: &Refusal) -> Self {
        let seconds = limits::whole_seconds(refusal.wait).max(1);
        let who = match refusal.kind {
            LimitKind::Client => "this client sends too much",
            LimitKind::Openid => "this recipient gets too much",
            LimitKind::Identical => "this recipient got the very same message just now",
            LimitKind::Account => "the account's quota of the day is used up",
        };
        let detail = format!("{who}: nothing was stored; try again in {seconds} s, or send on_limit: \"defer\"");
        let mut error = Self::new(Code::RateLimited, detail);
        error.0.reason = Some(refusal.kind.reason());
        let mut headers = HeaderMap::new();
        limits::tell(&mut headers, &refusal.standings);
        for (name, value) in &headers {
            error = error.with_header(name.clone(), value.clone());
        }
        error.with_retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn with_close(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// The JSON text of the problem.
    pub fn render(&self, request_id: &str) -> String {
        let parts = &self.0;
        let meaning = parts.code.meaning();
        let problem = Problem {
            kind: format!("/problems/{}", meaning.text),
            title: meaning.title,
            status: meaning.status.as_u16(),
            code: parts.code,
            detail: parts.detail.clone(),
            request_id: request_id.to_owned(),
            retryable: meaning.retryable,
            message_id: parts.message_id,
            upstream: parts.upstream.clone(),
            errors: parts.errors.clone(),
            reason: parts.reason,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }
}

fn upstream(attempt: &Attempt) -> Option<Upstream> {
    let errcode = Some(attempt.errcode?);
    Some(Upstream { errcode, errmsg: attempt.errmsg.clone().unwrap_or_default(), rid: attempt.rid.clone() })
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        for (name, value) in &self.0.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::Forbidden { detail } => Self::new(Code::Forbidden, detail),
            AcceptError::Invalid(errors) => Self::with_errors(Code::InvalidMessage, errors),
            AcceptError::UnknownAccount { detail } => Self::new(Code::UnknownAccount, detail),
            AcceptError::UnknownUser { detail } => Self::new(Code::UnknownUser, detail),
            AcceptError::WouldExpire { detail } => Self::new(Code::WouldExpire, detail),
            AcceptError::IdempotencyMismatch { message_id } => {
                let mut error = Self::new(Code::IdempotencyMismatch, "this key came before with another body");
                error.0.message_id = Some(message_id);
                error
            }
            AcceptError::Limited(refusal) => Self::limited(&refusal),
            AcceptError::Suppressed(ref found) => {
                let mut told = Self::new(Code::RecipientRefused, error.to_string());
                let (errcode, errmsg) = (found.reason.errcode(), found.errmsg.clone());
                told.0.upstream = Some(Upstream { errcode, errmsg, rid: None });
                told
            }
            AcceptError::ShuttingDown => Self::new(Code::ShuttingDown, "the gateway takes nothing new"),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Refused(items) => Self::of_items(&items),
            BatchError::IdempotencyMismatch { batch_id } => {
                Self::new(Code::IdempotencyMismatch, format!("this key came before with another body, for {batch_id}"))
            }
            BatchError::NotFound => Self::not_found(),
            BatchError::Accept(error) => error.into(),
            BatchError::Store(error) => error.into(),
        }
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NotFound => Self::not_found(),
            ReportError::WrongState { state } => {
                Self::new(Code::AlreadySending, format!("the message is {}", state.as_str()))
            }
            ReportError::Accept(error) => error.into(),
            ReportError::Store(error) => error.into(),
        }
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Refused => Self::new(Code::Unauthenticated, error.to_string()),
            AccessError::TooOften { wait } => {
                let seconds = limits::whole_seconds(wait).max(1);
                let detail = format!("{error}: try again in {seconds} s; a right one is taken at any time");
                let mut error = Self::new(Code::RateLimited, detail);
                error.0.reason = Some("auth_failures");
                error.with_retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            AccessError::NoRoom => Self::new(Code::Overloaded, error.to_string()),
            AccessError::Store(error) => error.into(),
        }
    }
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Full => Self::new(Code::Overloaded, error.to_string()),
            FeedError::Stopping => Self::new(Code::ShuttingDown, error.to_string()),
            FeedError::Store(error) => error.into(),
        }
    }
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        let invalid = |path: &str, code| FieldError { path: path.to_owned(), code, detail: error.to_string() };
        match error {
            UserError::NotFound => Self::not_found(),
            UserError::InvalidOpenid => Self::with_errors(Code::MalformedRequest, vec![invalid("", "openid")]),
            UserError::InvalidUserId => Self::with_errors(Code::InvalidMessage, vec![invalid("/user_id", "user_id")]),
            UserError::InvalidTags(fault) => {
                let (path, code) = match fault {
                    TagsError::TooMany => ("/tags".to_owned(), "too_many"),
                    TagsError::Invalid { index } => (format!("/tags/{index}"), "tag"),
                    TagsError::Doubled { index } => (format!("/tags/{index}"), "duplicate"),
                };
                Self::with_errors(Code::InvalidMessage, vec![invalid(&path, code)])
            }
            UserError::Store(error) => error.into(),
        }
    }
}

impl From<SuppressionError> for ApiError {
    fn from(error: SuppressionError) -> Self {
        match error {
            SuppressionError::NotFound => Self::not_found(),
            SuppressionError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::not_found(),
            AccountError::Forbidden => Self::new(Code::Forbidden, error.to_string()),
            AccountError::Invalid(errors) => Self::with_errors(Code::InvalidAccount, errors),
            AccountError::Conflict { detail } => Self::new(Code::AccountConflict, detail),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::not_found(),
            WebhookError::Forbidden => Self::new(Code::Forbidden, error.to_string()),
            WebhookError::Invalid(errors) => Self::with_errors(Code::InvalidWebhook, errors),
            WebhookError::Conflict { detail } => Self::new(Code::WebhookConflict, detail),
            WebhookError::Store(error) => error.into(),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::UnknownAccount => Self::not_found(),
            TokenError::Refused { errcode, errmsg, rid } => {
                let detail = format!("WeChat refused to give a token: {errcode} {errmsg}");
                let mut error = Self::new(Code::AccountRefused, detail);
                error.0.upstream = Some(Upstream { errcode: Some(errcode), errmsg, rid });
                error
            }
            TokenError::Unavailable { reason } => Self::new(Code::TokenUnavailable, reason),
        }
    }
}

impl From<store::Error> for ApiError {
    /// The caller learns what to do, not where the disk is. The store itself has said what is wrong with it.
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable { .. } => {
                tracing::debug!(%error, "the store refused a request");
                Self::new(Code::StorageUnavailable, "nothing was stored: the store cannot be used")
            }
            store::Error::NoRoom { advice } => {
                Self::new(Code::StorageUnavailable, format!("nothing was stored: {advice}"))
            }
            store::Error::TooSlow { advice } => Self::new(Code::Overloaded, advice),
            store::Error::Overloaded => {
                Self::new(Code::Overloaded, "nothing was stored: the store has too much to write")
            }
            store::Error::Corrupt { .. } => {
                tracing::error!(%error, "a row cannot be read");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_every_field_that_is_promised() {
        let errors =
            vec![FieldError { path: "/data/thing1".to_owned(), code: "too_long", detail: "30 > 20".to_owned() }];
        let error = ApiError::with_errors(Code::InvalidMessage, errors);
        insta::assert_snapshot!(error.render("req-1"), @r#"{"type":"/problems/invalid_message","title":"The message is not valid","status":422,"code":"invalid_message","detail":"/data/thing1: 30 > 20","request_id":"req-1","retryable":false,"errors":[{"path":"/data/thing1","code":"too_long","detail":"30 > 20"}]}"#);
    }

    #[test]
    fn a_refusal_of_wechat_is_told_with_its_numbers() {
        let refused =
            TokenError::Refused { errcode: 40164, errmsg: "invalid ip".to_owned(), rid: Some("r-1".to_owned()) };
        let error = ApiError::from(refused);
        assert_eq!(error.code(), Code::AccountRefused);
        let problem: serde_json::Value = serde_json::from_str(&error.render("r")).unwrap();
        assert_eq!(problem["upstream"], serde_json::json!({"errcode": 40164, "errmsg": "invalid ip", "rid": "r-1"}));
    }

    #[test]
    fn causes_inside_stay_inside() {
        for error in [
            store::Error::Unavailable { reason: "/var/lib/secret.db: disk full".to_owned() },
            store::Error::Corrupt { table: "messages", column: "state", row: "msg_1".to_owned() },
        ] {
            let text = ApiError::from(error).render("r");
            assert!(!text.contains("secret.db") && !text.contains("messages"), "{text}");
        }
    }

    #[test]
    fn those_who_may_retry_learn_when() {
        for code in [Code::Overloaded, Code::StorageUnavailable, Code::ShuttingDown, Code::IdempotencyInProgress] {
            let response = ApiError::new(code, "x").into_response();
            assert!(response.headers().contains_key(RETRY_AFTER), "{code:?}");
        }
        let response = ApiError::new(Code::Unauthenticated, "x").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
