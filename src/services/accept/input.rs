//! What a caller asks for, and what is answered: plain values.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::limit::OnLimit;
use crate::domain::message::Message;
use crate::domain::state::{Lane, OnUnknown};
use crate::domain::suppression::Suppression;
use crate::services::limits::{Refusal, Standing};
use crate::store;

/// One send as the caller wrote it: shapes are checked, meanings are not.
#[derive(Clone, Debug, Default)]
pub struct SendInput {
    pub account: Option<String>,
    pub touser: Option<String>,
    pub user_id: Option<String>,
    pub template_id: String,
    /// In the caller's order.
    pub data: Vec<(String, Keyword)>,
    pub url: Option<String>,
    pub miniprogram: Option<MiniProgram>,
    pub client_msg_id: Option<String>,
    pub send_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub ttl: Option<Duration>,
    pub lane: Lane,
    pub on_unknown: Option<OnUnknown>,
    pub on_limit: OnLimit,
    /// In the caller's order.
    pub metadata: Vec<(String, String)>,
    /// A warning refuses it.
    pub strict: bool,
    /// What was noticed when it was read.
    pub warnings: Vec<Warning>,
    /// `Idempotency-Key`; `client_msg_id` acts as one when it is missing.
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request's meaning (canonical JSON), in hex.
    pub body_hash: String,
    /// The caller's `traceparent`.
    pub trace: Option<String>,
    /// The id that it is to have; made when it is none.
    pub message_id: Option<MessageId>,
    pub batch_id: Option<BatchId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keyword {
    pub value: String,
    pub color: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MiniProgram {
    pub appid: String,
    pub pagepath: Option<String>,
}

/// How long the caller stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// 202 at once.
    Not,
    /// Until the outcome, at most this long.
    UpTo(Duration),
}

/// A message that was kept (or found again), in its present state.
#[derive(Clone, Debug)]
pub struct Kept {
    pub message: Message,
    /// It was here before: the same idempotency key and body.
    pub replayed: bool,
    pub warnings: Vec<Warning>,
    /// The limits as they stand now.
    pub limits: Vec<Standing>,
}

/// What a send would do.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The exact JSON WeChat would get.
    pub wechat_body: String,
    pub warnings: Vec<Warning>,
    /// As they stand; a rehearsal takes nothing.
    pub limits: Vec<Standing>,
    /// `ready`, `missing` or `failing`: how the account's token stands.
    pub token: String,
    /// When it would go; `None`: at once.
    pub send_at: Option<Timestamp>,
    /// Why so late, when the caller did not ask for it.
    pub wait_reason: Option<&'static str>,
}

/// Something that WeChat takes but the caller may not mean.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Warning {
    pub path: String,
    pub code: &'static str,
    pub detail: String,
}

/// Something wrong at one place of the request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body: `/data/thing1`.
    pub path: String,
    pub code: &'static str,
    pub detail: String,
}

impl From<Warning> for FieldError {
    fn from(Warning { path, code, detail }: Warning) -> Self {
        Self { path, code, detail }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("{detail}")]
    Forbidden { detail: String },
    #[error("the message is not valid")]
    Invalid(Vec<FieldError>),
    #[error("{detail}")]
    UnknownAccount { detail: String },
    #[error("{detail}")]
    UnknownUser { detail: String },
    #[error("{detail}")]
    WouldExpire { detail: String },
    #[error("the idempotency key was used for another message")]
    IdempotencyMismatch { message_id: MessageId },
    #[error("the limit {} is met", .0.kind.as_str())]
    Limited(Refusal),
    /// WeChat has refused this person before.
    #[error("{}", told(.0))]
    Suppressed(Box<Suppression>),
    #[error("the gateway is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] store::Error),
}

fn told(suppression: &Suppression) -> String {
    let Suppression { account, reason, errmsg, since, .. } = suppression;
    let said = match reason.errcode() {
        Some(errcode) => format!("{errcode} {errmsg}"),
        None => format!("{errmsg} (in a receipt)"),
    };
    format!(
        "nothing was stored: on {since} WeChat said of this recipient: {said}; lifted when they subscribe or are reached, or by \
         DELETE /v1/accounts/{account}/suppressions/{{openid}}"
    )
}
