//! A plain message or event from WeChat (pages "Receiving messages", "Receiving event pushes"): bytes → [`Inbound`].

use std::fmt;

use sha2::{Digest, Sha256};

use super::event::{DeliveryReport, Event};
use super::message::{Message, integer, optional, text};
use super::tree::{self, Format, Node, ParseError};

const LABEL_MAX: usize = 64;
const KEY_MAX: usize = 100;

/// What WeChat pushed, opened and read. Debug shows neither the sender nor the content.
#[derive(Clone)]
pub struct Inbound {
    pub format: Format,
    /// Our account's original id (`gh_…`).
    pub to_user_name: String,
    /// The sender's openid.
    pub from_user_name: String,
    /// Seconds since 1970; 0 when missing.
    pub create_time: i64,
    pub kind: Kind,
    /// Everything that came, known or not.
    pub root: Node,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Message {
        msg_id: Option<String>,
        message: Message,
    },
    Event(Event),
    /// No `MsgType` at all, such as a console's probe.
    Other,
}

/// The article that a message was written under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    pub msg_data_id: String,
    /// Its place in a post of several articles.
    pub index: Option<i64>,
}

impl Inbound {
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let (root, format) = tree::parse(body)?;
        Ok(Self::from_node(root, format))
    }

    pub fn from_node(root: Node, format: Format) -> Self {
        Self {
            format,
            to_user_name: text(&root, "ToUserName"),
            from_user_name: text(&root, "FromUserName"),
            create_time: integer(&root, "CreateTime").unwrap_or(0),
            kind: Kind::read(&root),
            root,
        }
    }

    /// The article of `MsgDataId`, when the message came from one.
    pub fn article(&self) -> Option<Article> {
        let msg_data_id = optional(&self.root, "MsgDataId")?;
        Some(Article { msg_data_id, index: integer(&self.root, "Idx") })
    }

    /// `text`, `event.subscribe` …, named as WeChat did; `other`. Only `[A-Za-z0-9_.-]`, ≤ 64 characters.
    pub fn label(&self) -> String {
        let msg_type = self.root.text_of("MsgType").unwrap_or_default();
        let label = match (&self.kind, self.root.text_of("Event")) {
            (Kind::Message { .. }, _) => sanitized(msg_type),
            (Kind::Event(_), Some(event)) => format!("event.{}", sanitized(event)),
            (Kind::Event(_), None) => "event".to_owned(),
            (Kind::Other, _) => "other".to_owned(),
        };
        label.chars().take(LABEL_MAX).collect()
    }

    /// Two callbacks with equal keys are one (per account). At most 100 ASCII characters.
    ///
    /// WeChat's own rule (sender and second) drops receipts of one second, and message ids alone have been seen with
    /// two senders. So: messages by sender and id, receipts that say how it ended by event, id and sender, the rest by all
    /// it says.
    pub fn dedupe_key(&self, plain_body: &[u8]) -> String {
        let from = self.from_user_name.as_str();
        match &self.kind {
            Kind::Message { msg_id: Some(id), .. } if id != "0" => key("m", &[from, id], None),
            Kind::Event(event) => match receipt_ids(event) {
                Some(ids) => key("r", &[self.root.text_of("Event").unwrap_or_default(), &ids, from], None),
                None => self.key_of_content(plain_body),
            },
            Kind::Message { .. } | Kind::Other => self.key_of_content(plain_body),
        }
    }

    fn key_of_content(&self, plain_body: &[u8]) -> String {
        let part = |name: &str| self.root.text_of(name).unwrap_or_default();
        let second = self.create_time.to_string();
        let parts = [&self.from_user_name, second.as_str(), part("MsgType"), part("Event"), part("EventKey")];
        key("e", &parts, Some(plain_body))
    }

    /// What it tells about messages that we sent.
    pub fn delivery_reports(&self) -> Vec<DeliveryReport> {
        match &self.kind {
            Kind::Event(event) => event.delivery_reports(),
            Kind::Message { .. } | Kind::Other => Vec::new(),
        }
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("format", &self.format)
            .field("label", &self.label())
            .field("create_time", &self.create_time)
            .finish_non_exhaustive()
    }
}

impl Kind {
    fn read(root: &Node) -> Self {
        let Some(msg_type) = root.text_of("MsgType") else { return Self::Other };
        if msg_type.eq_ignore_ascii_case("event") {
            return Self::Event(Event::read(root.text_of("Event").unwrap_or_default(), root));
        }
        Self::Message { msg_id: optional(root, "MsgId"), message: Message::read(msg_type, root) }
    }
}

/// The ids of the messages that a receipt is about; `None` when it is none, when an entry has no id of its own, or when it
/// does not say how it ended: then another one may follow that does.
fn receipt_ids(event: &Event) -> Option<String> {
    let ids: Vec<&str> = match event {
        Event::TemplateSendJobFinish { status, .. } if !is_final(status) => return None,
        Event::TemplateSendJobFinish { msgid, .. } => vec![msgid],
        Event::SubscribeMsgSent(entries) => entries.iter().map(|entry| entry.msgid.as_str()).collect(),
        _ => return None,
    };
    let whole = !ids.is_empty() && ids.iter().all(|id| !id.is_empty() && *id != "0");
    whole.then(|| ids.join(","))
}

/// "Template messages", table of `Status`.
fn is_final(status: &str) -> bool {
    let status = status.trim();
    status == "success" || status.starts_with("failed")
}

/// `m:from:id` where that is short and plain; else, or with a body, `m:#` and a hash of all parts.
fn key(prefix: &str, parts: &[&str], body: Option<&[u8]>) -> String {
    let plain = format!("{prefix}:{}", parts.join(":"));
    let is_plain = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-,".contains(&b));
    if body.is_none() && plain.len() <= KEY_MAX && parts.iter().all(is_plain) {
        return plain;
    }
    let mut hash = Sha256::new();
    for part in parts.iter().map(|part| part.as_bytes()).chain(body) {
        // With its length before it, no part can run over into the next.
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    format!("{prefix}:#{}", hex::encode(hash.finalize()))
}

fn sanitized(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    name.chars().take(LABEL_MAX).map(keep).collect()
}

#[cfg(test)]
mod tests;
