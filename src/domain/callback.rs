//! A verified request from WeChat, as `Inbox::record` keeps it.

use super::clock::Timestamp;
use super::ids::{CallbackId, MessageId};
use super::receipt::Receipt;
use super::secret::Openid;
use super::state::State;

/// A callback to be kept. It is verified, decrypted and parsed.
#[derive(Clone, Debug)]
pub struct NewCallback {
    pub id: CallbackId,
    pub account: String,
    /// Two callbacks with the same key of one account are one.
    pub dedupe_key: String,
    /// `text`, `event.subscribe` …
    pub kind: String,
    pub openid: Option<Openid>,
    /// The plain body, as WeChat wrote it.
    pub body: String,
    /// The plain passive reply; a repeat of the callback gets it again.
    pub reply: Option<String>,
    pub received_at: Timestamp,
    pub receipts: Vec<Receipt>,
    /// What it says about the sender.
    pub user: Option<UserSeen>,
}

/// A sign of life of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    pub openid: Openid,
    /// `Some` when the callback tells that the user follows, or no longer follows.
    pub subscribed: Option<bool>,
}

/// What `Inbox::record` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Kept now, with its effects.
    First { receipts: Vec<ReceiptEffect> },
    /// Came before: nothing was done. The first reply comes back.
    Seen { reply: Option<String> },
}

/// What one receipt did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptEffect {
    /// It settled this message.
    Settled { message_id: MessageId, state: State, reason: Option<String>, msgid: String },
    /// The message was final already: the first receipt wins.
    AlreadyFinal { message_id: MessageId },
    /// No message has this `msgid` yet: kept until one does.
    Unmatched,
    /// Its status says neither success nor failure.
    NotFinal,
}
