//! A callback as JSON for those who are told of it: who, when, what kind, and its typed content.
//!
//! `content` is what [`Event`] and [`Message`] know of it; of a kind that no page documents, everything that came, as it came.

use serde::Serialize;
use serde_json::{Map, Value};

use super::event::Event;
use super::inbound::{Inbound, Kind};
use super::message::Message;
use super::tree::Node;

#[derive(Serialize)]
struct Told<'a> {
    /// The sender's openid.
    openid: &'a str,
    /// Our account's original id (`gh_…`).
    to_user_name: &'a str,
    /// Seconds since 1970.
    create_time: i64,
    msg_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_id: Option<&'a str>,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Event(&'a Event),
    Message(&'a Message),
    Raw(Value),
}

impl Inbound {
    /// A JSON object.
    pub fn told(&self) -> Option<String> {
        let content = match &self.kind {
            Kind::Event(Event::Unsubscribe) => Content::Raw(Value::Object(Map::new())),
            Kind::Event(Event::Unknown { .. })
            | Kind::Message { message: Message::Unknown { .. }, .. }
            | Kind::Other => Content::Raw(value_of(&self.root)),
            Kind::Event(event) => Content::Event(event),
            Kind::Message { message, .. } => Content::Message(message),
        };
        let msg_id = match &self.kind {
            Kind::Message { msg_id, .. } => msg_id.as_deref(),
            Kind::Event(_) | Kind::Other => None,
        };
        let told = Told {
            openid: &self.from_user_name,
            to_user_name: &self.to_user_name,
            create_time: self.create_time,
            msg_type: self.root.text_of("MsgType").unwrap_or_default(),
            event: self.root.text_of("Event"),
            msg_id,
            content,
        };
        serde_json::to_string(&told).ok()
    }
}

/// Texts as strings, children by their names; a name that repeats becomes an array. Trees are bounded in depth.
fn value_of(node: &Node) -> Value {
    if node.children.is_empty() {
        return Value::String(node.text.clone());
    }
    let mut object = Map::new();
    for (name, child) in &node.children {
        let value = value_of(child);
        match object.get_mut(name) {
            None => {
                object.insert(name.clone(), value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => {
                let first = first.take();
                object.insert(name.clone(), Value::Array(vec![first, value]));
            }
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(body: &str) -> Value {
        let head = "<ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1400000000</CreateTime>";
        let inbound = Inbound::parse(format!("<xml>{head}{body}</xml>").as_bytes()).unwrap();
        serde_json::from_str(&inbound.told().unwrap()).unwrap()
    }

    #[test]
    fn what_is_documented_is_typed() {
        let text = told("<MsgType>text</MsgType><Content>hello</Content><MsgId>6054768590064713728</MsgId>");
        assert_eq!(
            text,
            json!({"openid": "o1", "to_user_name": "gh_1", "create_time": 1_400_000_000, "msg_type": "text",
                "msg_id": "6054768590064713728", "content": {"content": "hello", "menu_id": null}})
        );
        let scan = told("<MsgType>event</MsgType><Event>SCAN</Event><EventKey>7</EventKey><Ticket>t</Ticket>");
        assert_eq!((&scan["event"], &scan["content"]), (&json!("SCAN"), &json!({"scene": "7", "ticket": "t"})));
        let left = told("<MsgType>event</MsgType><Event>unsubscribe</Event>");
        assert_eq!(left["content"], json!({}));
        let sent = told(
            "<MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event><SubscribeMsgSentEvent><List>\
             <TemplateId>T</TemplateId><MsgID>1700827132819554304</MsgID><ErrorCode>0</ErrorCode></List></SubscribeMsgSentEvent>",
        );
        assert_eq!(sent["content"][0]["msgid"], json!("1700827132819554304"));
    }

    #[test]
    fn what_is_not_is_told_as_it_came() {
        let new = told("<MsgType>event</MsgType><Event>brand_new</Event><A><B>1</B><B>2</B></A>");
        assert_eq!(new["event"], json!("brand_new"));
        assert_eq!(new["content"]["A"], json!({"B": ["1", "2"]}));
    }
}
