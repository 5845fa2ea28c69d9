//! Bodies of our calls (pages "Send template message", "Get stable access token"): parts → the exact JSON text.
//!
//! WeChat refuses `\uXXXX` (40033, 47002): everything is written as raw UTF-8, and the control characters that JSON
//! could write in no other way are dropped first.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A template message, borrowed from where it is kept.
#[derive(Clone, Copy)]
pub struct TemplateMessage<'a> {
    pub touser: &'a str,
    /// WeChat's id, not an alias of ours.
    pub template_id: &'a str,
    pub url: Option<&'a str>,
    /// appid and page path.
    pub miniprogram: Option<(&'a str, Option<&'a str>)>,
    /// Delivered at most once to one openid within ten minutes.
    pub client_msg_id: &'a str,
    /// Keyword without `.DATA`, value, colour.
    pub data: &'a [(String, String, Option<String>)],
}

/// The body of `/cgi-bin/message/template/send`.
pub fn template_body(message: &TemplateMessage<'_>) -> String {
    to_text(&Template(message))
}

/// The body of `/cgi-bin/stable_token`. It holds the secret.
pub fn stable_token_body(app_id: &str, secret: &str, force_refresh: bool) -> String {
    to_text(&StableToken { app_id, secret, force_refresh })
}

/// Maps of texts and booleans always become JSON; were it not so, the empty object would be refused by WeChat.
fn to_text(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned())
}

struct Template<'a>(&'a TemplateMessage<'a>);
struct Jump<'a>(&'a str, Option<&'a str>);
struct Data<'a>(&'a [(String, String, Option<String>)]);
struct Entry<'a>(&'a str, Option<&'a str>);
struct StableToken<'a> {
    app_id: &'a str,
    secret: &'a str,
    force_refresh: bool,
}

impl Serialize for Template<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("touser", &clean(message.touser))?;
        map.serialize_entry("template_id", &clean(message.template_id))?;
        if let Some(url) = message.url {
            map.serialize_entry("url", &clean(url))?;
        }
        if let Some((app_id, page_path)) = message.miniprogram {
            map.serialize_entry("miniprogram", &Jump(app_id, page_path))?;
        }
        map.serialize_entry("client_msg_id", &clean(message.client_msg_id))?;
        map.serialize_entry("data", &Data(message.data))?;
        map.end()
    }
}

impl Serialize for Jump<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("appid", &clean(self.0))?;
        if let Some(page_path) = self.1 {
            map.serialize_entry("pagepath", &clean(page_path))?;
        }
        map.end()
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value, color)| (clean(key), Entry(value, color.as_deref()))))
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("value", &clean(self.0))?;
        if let Some(color) = self.1 {
            map.serialize_entry("color", &clean(color))?;
        }
        map.end()
    }
}

impl Serialize for StableToken<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("grant_type", "client_credential")?;
        map.serialize_entry("appid", &clean(self.app_id))?;
        map.serialize_entry("secret", &clean(self.secret))?;
        map.serialize_entry("force_refresh", &self.force_refresh)?;
        map.end()
    }
}

/// Without control characters; line breaks and tabs stay, as JSON has short forms for them.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let is_dropped = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    // The upper ones begin with 0xC2 in UTF-8. A fold without an early end looks at many bytes at once.
    if !text.bytes().fold(false, |found, b| found | (b < 0x20) | (b == 0x7f) | (b == 0xc2)) {
        return Cow::Borrowed(text);
    }
    text.chars().filter(|c| !is_dropped(*c)).collect()
}

/// Which API's quota is asked for: no host, no query (page "getApiQuota").
pub fn quota_body() -> String {
    r#"{"cgi_path":"/cgi-bin/message/template/send"}"#.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyword(key: &str, value: &str, color: Option<&str>) -> (String, String, Option<String>) {
        (key.to_owned(), value.to_owned(), color.map(str::to_owned))
    }

    fn message<'a>(data: &'a [(String, String, Option<String>)]) -> TemplateMessage<'a> {
        TemplateMessage {
            touser: "oTEST000000000000000000000001",
            template_id: "TPL-1",
            url: None,
            miniprogram: None,
            client_msg_id: "id-1",
            data,
        }
    }

    #[test]
    fn the_parts_stand_in_order() {
        let data = [keyword("thing1", "咖啡 ☕", None), keyword("amount2", "12.00元", Some("#173177"))];
        let body = template_body(&TemplateMessage {
            url: Some("https://example.com/?a=1&b=\"2\""),
            miniprogram: Some(("wx1", Some("index?foo=bar"))),
            ..message(&data)
        });
        assert_eq!(
            body,
            concat!(
                r#"{"touser":"oTEST000000000000000000000001","template_id":"TPL-1","url":"https://example.com/?a=1&b=\"2\"","#,
                r#""miniprogram":{"appid":"wx1","pagepath":"index?foo=bar"},"client_msg_id":"id-1","#,
                r##""data":{"thing1":{"value":"咖啡 ☕"},"amount2":{"value":"12.00元","color":"#173177"}}}"##
            )
        );
    }

    #[test]
    fn what_is_not_given_is_not_written() {
        assert_eq!(
            template_body(&TemplateMessage { miniprogram: Some(("wx1", None)), ..message(&[]) }),
            r#"{"touser":"oTEST000000000000000000000001","template_id":"TPL-1","miniprogram":{"appid":"wx1"},"client_msg_id":"id-1","data":{}}"#
        );
    }

    #[test]
    fn nothing_is_written_as_an_escape_by_number() {
        let every_control: String = (0..=0x9f).filter_map(char::from_u32).filter(|c| *c != '\\').collect();
        let data = [keyword("thing1", &format!("中文😀\u{2028}{every_control}"), None)];
        let body = template_body(&message(&data));
        assert!(!body.contains("\\u"), "{body}");
        assert!(body.contains("中文😀\u{2028}") && body.contains("\\n"), "{body}");
    }

    #[test]
    fn a_token_request_says_what_it_wants() {
        assert_eq!(
            stable_token_body("wx1", "sec\"ret", true),
            r#"{"grant_type":"client_credential","appid":"wx1","secret":"sec\"ret","force_refresh":true}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_without_backslash_is_sent_raw(value in "[^\\\\]{0,60}") {
            let data = [keyword("thing1", &value, None)];
            let body = template_body(&message(&data));
            prop_assert!(!body.contains("\\u"));
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(read["data"]["thing1"]["value"].as_str().unwrap(), clean(&value));
        }
    }
}
