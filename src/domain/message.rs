//! A message: as it is accepted, as it is lent to a worker, as it is read back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, HistoryEntry};
use super::clock::Timestamp;
use super::ids::{BatchId, MessageId};
use super::secret::Openid;
use super::state::{Lane, OnUnknown, State};

/// The caller's own guard against doubles. Scope: client and endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    pub client: String,
    pub endpoint: &'static str,
    pub key: String,
    /// SHA-256 of what was asked, in hex: the same key with another body is a mistake of the caller.
    pub body_hash: String,
}

/// What `Outbox::accept` keeps. Everything is checked; nothing is looked up later.
#[derive(Clone)]
pub struct NewMessage {
    pub id: MessageId,
    pub account: Arc<str>,
    pub client: Arc<str>,
    pub touser: Openid,
    pub template_id: String,
    /// The exact JSON text for WeChat, raw UTF-8.
    pub body: String,
    pub client_msg_id: String,
    pub lane: Lane,
    pub on_unknown: OnUnknown,
    pub created_at: Timestamp,
    /// Set when the caller scheduled it; the state is then `scheduled`.
    pub send_at: Option<Timestamp>,
    /// Why it waits until then, when the caller did not ask for it.
    pub wait_reason: Option<&'static str>,
    pub expires_at: Timestamp,
    /// Flat JSON object of strings.
    pub metadata: Option<String>,
    pub retry_of: Option<MessageId>,
    pub batch_id: Option<BatchId>,
    pub idempotency: Option<IdempotencyKey>,
    /// The caller's `traceparent`, so that one trace runs through.
    pub trace: Option<String>,
}

/// A message lent to one task until `until`. Only the holder of the current generation may settle it.
#[derive(Clone)]
pub struct Lease {
    pub message_id: MessageId,
    /// Grows by one with each lease of this message.
    pub generation: i64,
    pub until: Timestamp,
    pub account: Arc<str>,
    pub touser: Openid,
    pub body: Arc<str>,
    pub lane: Lane,
    pub on_unknown: OnUnknown,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Attempts that count against `queue.max_attempts` so far.
    pub tries: u32,
    /// When the first attempt went out that WeChat may have taken although we have no good answer.
    pub doubtful_since: Option<Timestamp>,
    /// When the first attempt was answered "busy" (-1): repeats stay inside the same window. Carried, not acted upon by stores.
    pub busy_since: Option<Timestamp>,
    pub trace: Option<String>,
}

impl NewMessage {
    /// The first lease, held by the accepting task itself.
    pub fn first_lease(&self, hold: Duration) -> Lease {
        Lease {
            message_id: self.id,
            generation: 1,
            until: self.created_at.plus(hold),
            account: self.account.clone(),
            touser: self.touser.clone(),
            body: self.body.as_str().into(),
            lane: self.lane,
            on_unknown: self.on_unknown,
            created_at: self.created_at,
            expires_at: self.expires_at,
            tries: 0,
            doubtful_since: None,
            busy_since: None,
            trace: self.trace.clone(),
        }
    }
}

// What a message says never reaches a log: `Debug` tells which message it is and where it stands, and no more.

impl fmt::Debug for NewMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewMessage")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("client", &self.client)
            .field("touser", &self.touser)
            .field("lane", &self.lane)
            .field("created_at", &self.created_at)
            .field("send_at", &self.send_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("message_id", &self.message_id)
            .field("generation", &self.generation)
            .field("until", &self.until)
            .field("account", &self.account)
            .field("touser", &self.touser)
            .field("lane", &self.lane)
            .field("tries", &self.tries)
            .field("doubtful_since", &self.doubtful_since)
            .field("busy_since", &self.busy_since)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("client", &self.client)
            .field("touser", &self.touser)
            .field("lane", &self.lane)
            .field("state", &self.state)
            .field("state_reason", &self.state_reason)
            .field("msgid", &self.msgid)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .field("next_attempt_at", &self.next_attempt_at)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// A message as it is read back.
#[derive(Clone, PartialEq)]
pub struct Message {
    pub id: MessageId,
    pub account: String,
    pub client: String,
    pub touser: Openid,
    pub template_id: String,
    pub body: String,
    pub client_msg_id: String,
    pub lane: Lane,
    pub on_unknown: OnUnknown,
    pub state: State,
    pub state_reason: Option<String>,
    /// WeChat's own id of the push.
    pub msgid: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub send_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// When the next try is due; only while `scheduled` or `queued`.
    pub next_attempt_at: Option<Timestamp>,
    pub metadata: Option<String>,
    pub retry_of: Option<MessageId>,
    pub batch_id: Option<BatchId>,
    pub attempts: Vec<Attempt>,
    pub history: Vec<HistoryEntry>,
}

/// Which messages a list shows. Empty fields do not filter.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// The accounts that the caller may see; `None`: all.
    pub visible_accounts: Option<Vec<String>>,
    pub account: Option<String>,
    pub state: Option<State>,
    pub touser: Option<String>,
    pub template_id: Option<String>,
    pub batch_id: Option<BatchId>,
    pub client: Option<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_not_shown() {
        let new = NewMessage {
            id: MessageId::generate(Timestamp::from_seconds(1)),
            account: "shop".into(),
            client: "crm".into(),
            touser: Openid::parse("oTEST000000000000000000000001").unwrap(),
            template_id: "T".to_owned(),
            body: "dear Alice".to_owned(),
            client_msg_id: "1".to_owned(),
            lane: Lane::Normal,
            on_unknown: OnUnknown::Retry,
            created_at: Timestamp::from_seconds(1),
            send_at: None,
            wait_reason: None,
            expires_at: Timestamp::from_seconds(2),
            metadata: Some("{\"name\":\"Alice\"}".to_owned()),
            retry_of: None,
            batch_id: None,
            idempotency: None,
            trace: None,
        };
        let read = Message {
            id: new.id,
            account: "shop".to_owned(),
            client: "crm".to_owned(),
            touser: new.touser.clone(),
            template_id: new.template_id.clone(),
            body: new.body.clone(),
            client_msg_id: new.client_msg_id.clone(),
            lane: new.lane,
            on_unknown: new.on_unknown,
            state: State::Queued,
            state_reason: None,
            msgid: None,
            created_at: new.created_at,
            updated_at: new.created_at,
            send_at: None,
            expires_at: new.expires_at,
            next_attempt_at: None,
            metadata: new.metadata.clone(),
            retry_of: None,
            batch_id: None,
            attempts: Vec::new(),
            history: Vec::new(),
        };
        let shown = format!("{new:?} {:?} {read:?}", new.first_lease(Duration::from_secs(1)));
        assert!(!shown.contains("Alice") && !shown.contains("oTEST0"), "{shown}");
        assert_eq!(shown.matches(&new.id.to_string()).count(), 3, "{shown}");
    }
}
