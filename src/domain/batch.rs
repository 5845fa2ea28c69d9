//! Many messages accepted together.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::ids::{BatchId, MessageId};
use super::message::IdempotencyKey;
use super::state::State;

/// What `Batches::keep` keeps beside the messages.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub id: BatchId,
    pub client: String,
    pub created_at: Timestamp,
    pub idempotency: Option<IdempotencyKey>,
    /// Those that are no messages. The store may add some.
    pub rejected: Vec<RejectedItem>,
}

/// A batch as it was answered, and where its messages stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub id: BatchId,
    pub client: String,
    pub created_at: Timestamp,
    /// In the order of the request. A message that an item's own idempotency key led to is among them.
    pub message_ids: Vec<MessageId>,
    pub rejected: Vec<RejectedItem>,
}

/// How many messages of a batch stand in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchCount {
    pub account: String,
    pub state: State,
    pub count: u64,
}

/// An item that became no message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedItem {
    /// Its place in `messages`, from 0.
    pub index: u32,
    /// As in a problem.
    pub code: String,
    pub detail: String,
    /// The limit that was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The message that has the item's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// What WeChat said of the recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<ItemUpstream>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ItemError>,
}

/// What WeChat said; a receipt has no errcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemUpstream {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i64>,
    pub errmsg: String,
}

/// Something wrong at one place of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemError {
    pub path: String,
    pub code: String,
    pub detail: String,
}

impl RejectedItem {
    /// Its own idempotency key belongs to a message that says something else.
    pub fn mismatch(index: u32, message_id: MessageId) -> Self {
        Self {
            index,
            code: "idempotency_mismatch".to_owned(),
            detail: "this client_msg_id came before with another body".to_owned(),
            reason: None,
            message_id: Some(message_id),
            upstream: None,
            errors: Vec::new(),
        }
    }
}
