//! One recipient, what was asked for them, and what the gateway has answered: what it is held to. Every message has a recipient
//! of its own, so that a push that shows twice can be told from two messages.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::clock::{Clock, SystemClock};

use crate::support::order_notice;
use crate::support::process::Caller;

/// What WeChat does with messages for them (`src/sandbox/recipients.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    /// Busy twice.
    Busy,
    /// Taken, and the connection is cut.
    Reset,
    /// Never an answer that can be read, and never taken.
    Garbage,
    NotSubscribed,
    NoReceipt,
    /// Taken, and the receipt says that it was not shown.
    Failed,
    /// The day's quota is used up.
    Quota,
}

impl Kind {
    const fn script(self) -> Option<&'static str> {
        match self {
            Self::Ordinary => None,
            Self::Busy => Some("sim-busy"),
            Self::Reset => Some("sim-reset"),
            Self::Garbage => Some("sim-garbage"),
            Self::NotSubscribed => Some("sim-not-subscribed"),
            Self::NoReceipt => Some("sim-no-receipt"),
            Self::Failed => Some("sim-system-failed"),
            Self::Quota => Some("sim-quota"),
        }
    }
}

/// What makes a repeat of the request the same message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Header,
    /// `client_msg_id` in the body.
    Body,
}

/// What the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The connection ended first.
    Lost,
    /// 2xx: the gateway owns it.
    Kept(String),
    /// 4xx or 5xx: nothing more will be sent.
    Refused(u16),
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) openid: String,
    pub(crate) kind: Kind,
    pub(crate) key: Option<Key>,
    /// On hold when in doubt.
    pub(crate) is_held: bool,
    /// 200 to the cancel, or 409 because it had been canceled before the answer was lost.
    pub(crate) cancel: Cancel,
    pub(crate) answer: Answer,
    /// A successor that was made by `retry`.
    pub(crate) successor: Option<String>,
    /// `failed` by an operator's word.
    pub(crate) is_resolved: bool,
    request: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    No,
    /// It must be canceled before the count: it is scheduled for much later.
    Wanted,
    Done,
}

impl Person {
    /// `name` is theirs alone.
    pub(crate) fn new(name: &str, kind: Kind, is_async: bool) -> Self {
        let openid = kind.script().map_or_else(|| name.to_owned(), |script| format!("{script}-{name}"));
        let mut request = order_notice(&openid);
        request["async"] = json!(is_async);
        Self {
            openid,
            kind,
            key: None,
            is_held: false,
            cancel: Cancel::No,
            answer: Answer::Lost,
            successor: None,
            is_resolved: false,
            request,
        }
    }

    pub(crate) fn with_key(mut self, key: Key) -> Self {
        if key == Key::Body {
            self.request["client_msg_id"] = json!(self.key_text());
        }
        self.key = Some(key);
        self
    }

    pub(crate) fn held(mut self) -> Self {
        self.request["on_unknown"] = json!("hold");
        self.is_held = true;
        self
    }

    pub(crate) fn scheduled(mut self, ahead: Duration) -> Self {
        self.request["send_at"] = json!(SystemClock.now().plus(ahead).to_string());
        self
    }

    pub(crate) fn priority(mut self, priority: &str) -> Self {
        self.request["priority"] = json!(priority);
        self
    }

    /// At most 32 characters.
    pub(crate) fn key_text(&self) -> String {
        format!("k-{}", self.openid)
    }

    /// Sends the request, again if need be. An answer that was there already must not change.
    pub(crate) async fn send(&mut self, caller: &Caller) -> Result<(), String> {
        let mut request = caller.request(Method::POST, "/send-template").json(&self.request);
        if self.key == Some(Key::Header) {
            request = request.header("idempotency-key", self.key_text());
        }
        if matches!(self.answer, Answer::Refused(_)) {
            // That answer was about the request before.
            self.answer = Answer::Lost;
        }
        let answer = answer_to(request).await;
        match (&self.answer, answer) {
            (_, Answer::Lost) => {}
            (Answer::Kept(first), Answer::Kept(second)) if *first != second => {
                return Err(format!("{}: the same key gave {first} and {second}", self.openid));
            }
            // The process stops, or something in it broke: to be asked again later.
            (Answer::Kept(_), Answer::Refused(500..)) => {}
            (Answer::Kept(first), Answer::Refused(status)) if self.kind != Kind::NotSubscribed => {
                return Err(format!("{}: {first} was acknowledged, its repeat answered {status}", self.openid));
            }
            (Answer::Kept(_), Answer::Refused(_)) => {}
            (_, answer) => self.answer = answer,
        }
        Ok(())
    }

    /// Cancels it, unless that is done. Nothing happens when the answer is lost.
    pub(crate) async fn cancel(&mut self, caller: &Caller) -> Result<(), String> {
        let Some(id) = self.id().map(str::to_owned) else { return Ok(()) };
        let request = caller.request(Method::DELETE, &format!("/v1/messages/{id}"));
        let Ok(response) = request.send().await else { return Ok(()) };
        let status = response.status().as_u16();
        let Ok(body) = response.json::<Value>().await else { return Ok(()) };
        match status {
            200 => self.cancel = Cancel::Done,
            409 if body["detail"] == "the message is canceled" => self.cancel = Cancel::Done,
            // The store is closed while the process stops.
            503 => {}
            _ => return Err(format!("{}: the cancel of {id} was answered {status} {body}", self.openid)),
        }
        Ok(())
    }

    /// Makes a successor.
    pub(crate) async fn retry(&mut self, caller: &Caller) {
        let Some(id) = self.id() else { return };
        if let Answer::Kept(id) = answer_to(caller.request(Method::POST, &format!("/v1/messages/{id}/retry"))).await {
            self.successor = Some(id);
        }
    }

    /// An operator's word: it has failed.
    pub(crate) async fn resolve(&mut self, caller: &Caller) {
        let Some(id) = self.id() else { return };
        let request = caller.request(Method::POST, &format!("/v1/messages/{id}/resolve"));
        let answer = answer_to(request.json(&json!({"state": "failed"}))).await;
        self.is_resolved |= matches!(answer, Answer::Kept(_));
    }

    pub(crate) fn id(&self) -> Option<&str> {
        match &self.answer {
            Answer::Kept(id) => Some(id),
            _ => None,
        }
    }
}

async fn answer_to(request: reqwest::RequestBuilder) -> Answer {
    let Ok(response) = request.send().await else { return Answer::Lost };
    let status = response.status();
    // Half an answer is none.
    let Ok(body) = response.json::<Value>().await else { return Answer::Lost };
    match body["message_id"].as_str() {
        Some(id) if status.is_success() => Answer::Kept(id.to_owned()),
        _ => Answer::Refused(status.as_u16()),
    }
}
