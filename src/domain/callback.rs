//! A verified request from WeChat, as `Inbox::record` keeps it.

use std::fmt;

use super::clock::Timestamp;
use super::event::NewEvent;
use super::ids::{CallbackId, MessageId};
use super::receipt::Receipt;
use super::relay::RelayState;
use super::secret::Openid;
use super::state::State;

/// A callback to be kept. It is verified, decrypted and parsed.
#[derive(Clone)]
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
    /// What subscribers are told of it, a JSON object; `None`: nothing.
    pub told: Option<String>,
    /// A back end is asked for the answer; `reply` holds while it has none.
    pub is_relayed: bool,
}

/// What people write, and what they are answered, never reaches a log.
impl fmt::Debug for NewCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCallback")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("kind", &self.kind)
            .field("openid", &self.openid)
            .field("received_at", &self.received_at)
            .field("receipts", &self.receipts)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A sign of life of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSeen {
    pub openid: Openid,
    /// `Some` when the callback tells that the user follows, or no longer follows.
    pub subscribed: Option<bool>,
}

/// What `Inbox::record` did.
#[derive(Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Kept now, with its effects.
    First { receipts: Vec<ReceiptEffect> },
    /// Came before: nothing was done. The first reply comes back.
    Seen { reply: Option<String>, relay: Option<RelayState> },
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First { receipts } => f.debug_struct("First").field("receipts", receipts).finish(),
            Self::Seen { reply, relay } => {
                f.debug_struct("Seen").field("has_reply", &reply.is_some()).field("relay", relay).finish()
            }
        }
    }
}

/// What came of relaying a callback: a step from one state to the next.
#[derive(Clone)]
pub struct RelayStep {
    pub account: String,
    pub dedupe_key: String,
    pub from: RelayState,
    pub to: RelayState,
    /// The plain reply that a repeat of the callback gets from now on.
    pub reply: Option<String>,
    /// What subscribers are told of it.
    pub event: Option<NewEvent>,
}

/// How a relayed callback stands.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayStanding {
    /// The step was taken; otherwise it did not stand where the step begins.
    pub moved: bool,
    pub state: Option<RelayState>,
    pub reply: Option<String>,
}

impl fmt::Debug for RelayStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayStep")
            .field("account", &self.account)
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RelayStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_reply = self.reply.is_some();
        f.debug_struct("RelayStanding")
            .field("moved", &self.moved)
            .field("state", &self.state)
            .field("has_reply", &has_reply)
            .finish()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_and_are_answered_is_not_shown() {
        let callback = NewCallback {
            id: CallbackId::generate(Timestamp::from_seconds(1)),
            account: "shop".to_owned(),
            dedupe_key: "Alice/1".to_owned(),
            kind: "text".to_owned(),
            openid: None,
            body: "<xml>Alice</xml>".to_owned(),
            reply: Some("hello Alice".to_owned()),
            received_at: Timestamp::from_seconds(1),
            receipts: Vec::new(),
            user: None,
            told: None,
            is_relayed: true,
        };
        let seen = Recorded::Seen { reply: callback.reply.clone(), relay: Some(RelayState::Pending) };
        let shown = format!("{callback:?} {seen:?}");
        assert!(!shown.contains("Alice") && shown.contains(&callback.id.to_string()), "{shown}");
    }
}
