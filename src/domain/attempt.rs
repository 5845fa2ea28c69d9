//! One try at WeChat and what came of it.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// How one try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// errcode 0, or 40241 in answer to our own repeat.
    Accepted,
    /// A permanent refusal: recipient, message or account.
    Refused,
    /// WeChat was busy (-1 and its like) and said so.
    Busy,
    /// A rate limit of WeChat: minute or recipient.
    Throttled,
    /// The daily quota is used up.
    QuotaExhausted,
    /// The access_token was refused.
    TokenRefused,
    /// Nothing left for WeChat: no connection, or no token.
    NotSent,
    /// Bytes left and no usable answer came.
    Ambiguous,
}

/// One line of a message's `attempts[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attempt {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub errcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub errmsg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rid: Option<String>,
    pub outcome: AttemptOutcome,
}

/// One line of a message's `history[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryEntry {
    pub state: super::state::State,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
