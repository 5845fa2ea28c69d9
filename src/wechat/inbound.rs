//! A plain message or event from WeChat.

use super::event::Event;
use super::message::Message;
use super::tree::{Format, Node, ParseError};
use crate::wechat::event::DeliveryReport;

#[derive(Clone, Debug)]
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

impl Inbound {
    pub fn parse(_body: &[u8]) -> Result<Self, ParseError> {
        todo!()
    }
    pub fn from_node(_root: Node, _format: Format) -> Self {
        todo!()
    }
    /// `text`, `event.subscribe` …; `other`. Only `[A-Za-z0-9_.-]`, ≤ 64 characters.
    pub fn label(&self) -> String {
        todo!()
    }
    /// Two callbacks with equal keys are one (per account).
    pub fn dedupe_key(&self, _plain_body: &[u8]) -> String {
        todo!()
    }
    pub fn delivery_reports(&self) -> Vec<DeliveryReport> {
        todo!()
    }
}
