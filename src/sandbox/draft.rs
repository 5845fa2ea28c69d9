//! A described callback → its named parts, as the pages "Receive ordinary messages" and "Receive event pushes" list them.
//! In: `CallbackRequest`. Out: a draft, or what is wrong with the request.

use serde_json::{Map, Value};

use super::callback::CallbackRequest;
use crate::domain::clock::Timestamp;

/// A value in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// CDATA in XML, a string in JSON.
    Text(String),
    /// Digits: bare in both.
    Number(String),
    Group(Parts),
}

/// Named values in order; names may repeat.
pub(super) type Parts = Vec<(String, Part)>;

/// A drafted callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) openid: String,
    pub(super) parts: Parts,
}

/// Writes the parts. `msg_id` is used for ordinary messages that bring none. The error tells what is wrong with the request.
pub(super) fn draft(
    mut request: CallbackRequest,
    original_id: &str,
    msg_id: i64,
    now: Timestamp,
) -> Result<Draft, String> {
    let openid = request.openid.clone().ok_or("openid is missing")?;
    let create_time = request.create_time.unwrap_or(now.as_seconds());
    let mut parts = vec![
        ("ToUserName".to_owned(), Part::Text(original_id.to_owned())),
        ("FromUserName".to_owned(), Part::Text(openid.clone())),
        ("CreateTime".to_owned(), Part::Number(create_time.to_string())),
    ];
    let kind = request.kind.clone();
    let mut fields = Fields { given: std::mem::take(&mut request.fields), parts: Vec::new(), wrong: None };
    if let Some(msg_type) = message(&kind, &mut fields) {
        let id = request.msg_id.unwrap_or_else(|| msg_id.to_string());
        parts.push(("MsgType".to_owned(), Part::Text(msg_type.to_owned())));
        parts.append(&mut fields.parts);
        parts.push(("MsgId".to_owned(), Part::Number(id)));
    } else {
        let event = event(&kind, &mut fields).ok_or_else(|| format!("unknown type {kind:?}"))?;
        parts.push(("MsgType".to_owned(), Part::Text("event".to_owned())));
        parts.push(("Event".to_owned(), Part::Text(event)));
        parts.append(&mut fields.parts);
    }
    if let Some(wrong) = fields.wrong {
        return Err(format!("{wrong} is neither a text nor a number"));
    }
    match fields.given.keys().next() {
        Some(unknown) => Err(format!("type {kind:?} knows no field {unknown:?}")),
        None => Ok(Draft { openid, parts }),
    }
}

/// The fields that were given, and the parts made of them.
struct Fields {
    given: Map<String, Value>,
    parts: Parts,
    wrong: Option<String>,
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<String> {
        match self.given.remove(name)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null => None,
            _ => {
                self.wrong = Some(name.to_owned());
                None
            }
        }
    }

    fn take_or(&mut self, name: &str, default: &str) -> String {
        self.take(name).unwrap_or_else(|| default.to_owned())
    }

    fn text(&mut self, tag: &str, name: &str, default: &str) {
        let value = self.take_or(name, default);
        self.parts.push((tag.to_owned(), Part::Text(value)));
    }

    fn number(&mut self, tag: &str, name: &str, default: &str) {
        let value = self.take_or(name, default);
        let is_number = value.parse::<f64>().is_ok();
        self.parts.push((tag.to_owned(), if is_number { Part::Number(value) } else { Part::Text(value) }));
    }

    fn text_if_given(&mut self, tag: &str, name: &str) {
        if let Some(value) = self.take(name) {
            self.parts.push((tag.to_owned(), Part::Text(value)));
        }
    }
}

/// The fields of an ordinary message; `None` when the kind is none.
fn message<'a>(kind: &'a str, fields: &mut Fields) -> Option<&'a str> {
    match kind {
        "text" => {
            fields.text("Content", "content", "hello");
            fields.text_if_given("bizmsgmenuid", "menu_id");
        }
        "image" => {
            fields.text("PicUrl", "pic_url", "http://mmbiz.qpic.cn/mmbiz_jpg/sandbox/0");
            fields.text("MediaId", "media_id", "MEDIA-IMAGE");
        }
        "voice" => {
            fields.text("MediaId", "media_id", "MEDIA-VOICE");
            fields.text("Format", "voice_format", "amr");
            fields.text_if_given("Recognition", "recognition");
        }
        "video" | "shortvideo" => {
            fields.text("MediaId", "media_id", "MEDIA-VIDEO");
            fields.text("ThumbMediaId", "thumb_media_id", "MEDIA-THUMB");
        }
        "location" => {
            fields.number("Location_X", "latitude", "23.134521");
            fields.number("Location_Y", "longitude", "113.358803");
            fields.number("Scale", "scale", "20");
            fields.text("Label", "label", "广州塔");
        }
        "link" => {
            fields.text("Title", "title", "公众平台官网链接");
            fields.text("Description", "description", "A page");
            fields.text("Url", "url", "https://example.com/page");
        }
        _ => return None,
    }
    Some(kind)
}

/// The fields of an event and its name; `None` when the kind is unknown.
fn event(kind: &str, fields: &mut Fields) -> Option<String> {
    let name = match kind {
        "subscribe" => {
            match fields.take("scene") {
                Some(scene) => {
                    fields.parts.push(("EventKey".to_owned(), Part::Text(format!("qrscene_{scene}"))));
                    fields.text("Ticket", "ticket", "TICKET");
                }
                None => fields.parts.push(("EventKey".to_owned(), Part::Text(String::new()))),
            }
            "subscribe"
        }
        "unsubscribe" => {
            fields.parts.push(("EventKey".to_owned(), Part::Text(String::new())));
            "unsubscribe"
        }
        "scan" => {
            fields.text("EventKey", "scene", "1001");
            fields.text("Ticket", "ticket", "TICKET");
            "SCAN"
        }
        "location_event" => {
            fields.number("Latitude", "latitude", "23.137466");
            fields.number("Longitude", "longitude", "113.352425");
            fields.number("Precision", "precision", "119.385040");
            "LOCATION"
        }
        "click" => {
            fields.text("EventKey", "event_key", "MENU_1");
            "CLICK"
        }
        "view" => {
            fields.text("EventKey", "event_key", "https://example.com/");
            fields.text_if_given("MenuId", "menu_id");
            "VIEW"
        }
        "receipt" | "template_receipt" => {
            fields.number("MsgID", "msgid", "0");
            fields.text("Status", "status", "success");
            "TEMPLATESENDJOBFINISH"
        }
        "subscribe_msg_popup_event" | "subscribe_msg_change_event" | "subscribe_msg_sent_event" => {
            subscription(kind, fields);
            kind
        }
        "event" => {
            let name = fields.take_or("event", "debug_demo");
            fields.text_if_given("EventKey", "event_key");
            return Some(name);
        }
        _ => return None,
    };
    Some(name.to_owned())
}

/// One `List` for each of the comma-separated `template_id`s.
fn subscription(kind: &str, fields: &mut Fields) {
    let text = |tag: &str, value: &str| (tag.to_owned(), Part::Text(value.to_owned()));
    let number = |tag: &str, value: &str| (tag.to_owned(), Part::Number(value.to_owned()));
    let templates = fields.take_or("template_id", "TPL-ORDER-PAID");
    let (container, rest) = match kind {
        "subscribe_msg_popup_event" => {
            let status = text("SubscribeStatusString", &fields.take_or("status", "accept"));
            ("SubscribeMsgPopupEvent", vec![status, number("PopupScene", &fields.take_or("scene", "2"))])
        }
        "subscribe_msg_change_event" => {
            ("SubscribeMsgChangeEvent", vec![text("SubscribeStatusString", &fields.take_or("status", "reject"))])
        }
        _ => {
            let msgid = number("MsgID", &fields.take_or("msgid", "0"));
            let code = number("ErrorCode", &fields.take_or("error_code", "0"));
            ("SubscribeMsgSentEvent", vec![msgid, code, text("ErrorStatus", &fields.take_or("status", "success"))])
        }
    };
    let list = |template: &str| {
        let mut entry = vec![text("TemplateId", template.trim())];
        entry.extend(rest.iter().cloned());
        ("List".to_owned(), Part::Group(entry))
    };
    let lists = templates.split(',').map(list).collect();
    fields.parts.push((container.to_owned(), Part::Group(lists)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn value(draft: &Draft, name: &str) -> Option<String> {
        draft.parts.iter().find(|(tag, _)| tag == name).map(|(_, part)| match part {
            Part::Text(text) | Part::Number(text) => text.clone(),
            Part::Group(_) => "group".to_owned(),
        })
    }

    #[test]
    fn every_type_is_drafted_with_its_own_fields() {
        let cases = [
            ("text", "Content"),
            ("image", "PicUrl"),
            ("voice", "Format"),
            ("video", "ThumbMediaId"),
            ("shortvideo", "MediaId"),
            ("location", "Label"),
            ("link", "Url"),
            ("subscribe", "EventKey"),
            ("unsubscribe", "EventKey"),
            ("scan", "Ticket"),
            ("location_event", "Precision"),
            ("click", "EventKey"),
            ("view", "EventKey"),
            ("receipt", "MsgID"),
            ("subscribe_msg_popup_event", "SubscribeMsgPopupEvent"),
            ("subscribe_msg_change_event", "SubscribeMsgChangeEvent"),
            ("subscribe_msg_sent_event", "SubscribeMsgSentEvent"),
        ];
        for (kind, tag) in cases {
            let drafted = draft(CallbackRequest::new(kind, "o1"), "gh_1", 9, NOW).unwrap();
            assert!(value(&drafted, tag).is_some(), "{kind} {tag}");
            let is_event = value(&drafted, "MsgType").as_deref() == Some("event");
            assert_eq!(value(&drafted, "MsgId").is_some(), !is_event, "{kind}");
        }
    }

    #[test]
    fn a_repeat_keeps_its_id_and_unknown_things_are_told() {
        let request = CallbackRequest::text("o1", "hi").msg_id(5).create_time(7);
        let drafted = draft(request, "gh_1", 9, NOW).unwrap();
        assert_eq!((value(&drafted, "MsgId"), value(&drafted, "CreateTime")), (Some("5".into()), Some("7".into())));
        let unknown = draft(CallbackRequest::text("o1", "hi").field("contnt", "x"), "gh_1", 9, NOW).unwrap_err();
        assert!(unknown.contains("contnt"), "{unknown}");
        assert!(draft(CallbackRequest::new("tex", "o1"), "gh_1", 9, NOW).unwrap_err().contains("tex"));
        assert!(draft(CallbackRequest::default(), "gh_1", 9, NOW).unwrap_err().contains("openid"));
    }
}
