//! What happened here, as subscribers are told.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser::SerializeStruct;
use serde_json::value::RawValue;

use super::clock::Timestamp;
use super::ids::{BatchId, EventId, MessageId};
use super::state::State;

/// No message of the batch is under way any more.
pub const BATCH_FINISHED: &str = "batch.finished";
pub const USER_SUBSCRIBED: &str = "user.subscribed";
pub const USER_UNSUBSCRIBED: &str = "user.unsubscribed";
/// Another system holds the account's secret.
pub const TOKEN_CONFLICT: &str = "token.conflict";
pub const TOKEN_REFRESH_FAILING: &str = "token.refresh_failing";
pub const QUOTA_LOW: &str = "quota.low";
pub const QUOTA_EXHAUSTED: &str = "quota.exhausted";
/// What became of a back end's answer that came too late to be a passive reply.
pub const RELAY_LATE_REPLY: &str = "relay.late_reply";
pub const WEBHOOK_DISABLED: &str = "webhook.disabled";
/// What a webhook is tried with by hand: no subscriber gets it otherwise, and it is not kept.
pub const WEBHOOK_TEST: &str = "webhook.test";
/// How the types of callbacks begin; WeChat's own name of the type follows.
const CALLBACK: &str = "callback.";
/// The types beside those of messages and callbacks.
const OF_ACCOUNTS: [&str; 9] = [
    BATCH_FINISHED,
    USER_SUBSCRIBED,
    USER_UNSUBSCRIBED,
    TOKEN_CONFLICT,
    TOKEN_REFRESH_FAILING,
    QUOTA_LOW,
    QUOTA_EXHAUSTED,
    RELAY_LATE_REPLY,
    WEBHOOK_DISABLED,
];

/// The type of the event that tells that a message came to this state. `None`: nobody is told.
pub const fn of_state(state: State) -> Option<&'static str> {
    Some(match state {
        State::Scheduled | State::Queued | State::Sending => return None,
        State::Sent => "message.sent",
        State::Delivered => "message.delivered",
        State::Undelivered => "message.undelivered",
        State::Rejected => "message.rejected",
        State::Unknown => "message.unknown",
        State::Failed => "message.failed",
        State::Expired => "message.expired",
        State::Canceled => "message.canceled",
    })
}

/// An event before it is kept: the store gives it its id and its place.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// As in the envelope's `type`.
    pub kind: Cow<'static, str>,
    /// `None`: it concerns more than one account, or none.
    pub account: Option<String>,
    pub message_id: Option<String>,
    pub batch_id: Option<String>,
    pub client: Option<String>,
    pub at: Timestamp,
    /// A JSON object.
    pub data: String,
}

impl NewEvent {
    /// One that concerns an account, and no message. `data`: a JSON object.
    pub fn of_account(kind: impl Into<Cow<'static, str>>, account: &str, at: Timestamp, data: String) -> Self {
        Self {
            kind: kind.into(),
            account: Some(account.to_owned()),
            message_id: None,
            batch_id: None,
            client: None,
            at,
            data,
        }
    }
}

/// Where an event stands among all others: what is kept later stands later, also across nodes. It means something to the
/// store alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub horizon: i64,
    pub seq: i64,
}

/// An event read back. `Serialize` writes the envelope.
#[derive(Clone)]
pub struct Event {
    pub position: Position,
    pub id: EventId,
    pub kind: String,
    pub account: Option<String>,
    pub message_id: Option<String>,
    pub batch_id: Option<String>,
    pub client: Option<String>,
    pub at: Timestamp,
    pub data: Box<RawValue>,
}

impl Serialize for Event {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut envelope = serializer.serialize_struct("Event", 5)?;
        envelope.serialize_field("id", &self.id)?;
        envelope.serialize_field("type", &self.kind)?;
        envelope.serialize_field("timestamp", &self.at)?;
        envelope.serialize_field("account", &self.account)?;
        envelope.serialize_field("data", &self.data)?;
        envelope.end()
    }
}

// What people and messages say never reaches a log.

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("kind", &self.kind)
            .field("account", &self.account)
            .field("message_id", &self.message_id)
            .field("batch_id", &self.batch_id)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("position", &self.position)
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("account", &self.account)
            .field("message_id", &self.message_id)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// Which events: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// What the caller may see; events of several accounts, or of none, are for callers who may see all.
    pub visible_accounts: Option<Vec<String>>,
    pub account: Option<String>,
    pub message_id: Option<MessageId>,
    pub batch_id: Option<BatchId>,
    /// Any of them; empty: all.
    pub kinds: Vec<KindPattern>,
    /// The first moment that counts.
    pub created_after: Option<Timestamp>,
    /// The first moment that no longer does.
    pub created_before: Option<Timestamp>,
}

/// A type, or all types that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KindPattern {
    Is(String),
    Begins(String),
}

impl fmt::Display for KindPattern {
    /// As it is written: what `parse` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(name) => f.write_str(name),
            Self::Begins(stem) => write!(f, "{stem}*"),
        }
    }
}

impl KindPattern {
    const MAX: usize = 100;

    /// `message.sent`, `message.*`, `*`. `None`: no type is written so.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, is_open) = match text.strip_suffix('*') {
            Some(stem) if stem.is_empty() || stem.ends_with('.') => (stem, true),
            Some(_) => return None,
            None => (text, false),
        };
        let is_plain = stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        let is_sane = is_plain && stem.len() <= Self::MAX && (is_open || !stem.is_empty());
        is_sane.then(|| if is_open { Self::Begins(stem.to_owned()) } else { Self::Is(stem.to_owned()) })
    }

    pub fn fits(&self, kind: &str) -> bool {
        match self {
            Self::Is(name) => name == kind,
            Self::Begins(stem) => kind.starts_with(stem.as_str()),
        }
    }

    /// There are types that it fits. WeChat may send a callback of any type.
    pub fn can_fit(&self) -> bool {
        let of_callback = match self {
            Self::Is(name) => name.starts_with(CALLBACK),
            Self::Begins(stem) => stem.starts_with(CALLBACK) || CALLBACK.starts_with(stem.as_str()),
        };
        let mut of_states = State::ALL.into_iter().filter_map(of_state);
        of_callback || of_states.any(|kind| self.fits(kind)) || OF_ACCOUNTS.into_iter().any(|kind| self.fits(kind))
    }
}

impl EventFilter {
    /// What it leaves out are only times, or it names one message: nothing is passed by on the way to the next event.
    pub fn is_narrow(&self) -> bool {
        let passes_by = self.visible_accounts.is_some()
            || self.account.is_some()
            || self.batch_id.is_some()
            || !self.kinds.is_empty();
        self.message_id.is_some() || !passes_by
    }

    /// As the store would find it.
    pub fn fits(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, there: &Option<String>| wanted.is_none() || wanted == there;
        let account = event.account.as_ref();
        self.visible_accounts.as_ref().is_none_or(|own| account.is_some_and(|account| own.contains(account)))
            && is(&self.account, &event.account)
            && is(&self.message_id.map(|id| id.to_string()), &event.message_id)
            && is(&self.batch_id.map(|id| id.to_string()), &event.batch_id)
            && (self.kinds.is_empty() || self.kinds.iter().any(|pattern| pattern.fits(&event.kind)))
            && self.created_after.is_none_or(|from| event.at >= from)
            && self.created_before.is_none_or(|until| event.at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_type_or_the_beginning_of_one() {
        for (pattern, fits, fits_not) in [
            ("message.sent", vec!["message.sent"], vec!["message.sent2", "message"]),
            ("message.*", vec!["message.sent", "message.failed"], vec!["messages", "batch.finished"]),
            ("callback.event.*", vec!["callback.event.SCAN"], vec!["callback.text"]),
            ("*", vec!["message.sent", "callback.text"], vec![]),
        ] {
            let pattern = KindPattern::parse(pattern).unwrap();
            assert_eq!(KindPattern::parse(&pattern.to_string()), Some(pattern.clone()));
            assert!(fits.into_iter().all(|kind| pattern.fits(kind)), "{pattern:?}");
            assert!(!fits_not.into_iter().any(|kind| pattern.fits(kind)), "{pattern:?}");
            assert_eq!(KindPattern::parse(&pattern.to_string()), Some(pattern));
        }
        for broken in ["", "mess*", "message.*.x", "a b", "message.%", &"x".repeat(101)] {
            assert_eq!(KindPattern::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_pattern_that_nothing_can_fit_is_found() {
        for (pattern, expected) in [
            ("*", true),
            ("message.*", true),
            ("message.sent", true),
            ("callback.*", true),
            ("callback.event.VIEW", true),
            ("callback.*", true),
            ("webhook.disabled", true),
            ("token.*", true),
            ("message.queued", false),
            ("message.snt", false),
            ("messages.*", false),
            ("callbacks.*", false),
            ("callback", false),
        ] {
            let pattern = KindPattern::parse(pattern).unwrap();
            assert_eq!(pattern.can_fit(), expected, "{pattern}");
            assert_eq!(KindPattern::parse(&pattern.to_string()), Some(pattern));
        }
    }
}
