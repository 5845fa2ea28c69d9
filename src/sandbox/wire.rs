//! Parts → the body and query that WeChat would send: rendered, sealed by mode, signed, and broken when asked.
//! Follows the page "Message push" (signature, security modes). In: a draft and the target. Out: query and body.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Number, Value};

use super::callback::Broken;
use super::config::CallbackTarget;
use super::draft::{Part, Parts};
use crate::domain::account::CallbackMode;
use crate::domain::clock::Timestamp;
use crate::wechat::crypt::{self, EncodingAesKey};
use crate::wechat::signature;
use crate::wechat::tree::Format;

/// What `broken: old_key` seals with when the target has no previous key.
const FOREIGN_KEY: &str = "sandboxForeignKeysandboxForeignKeysandboxFo";

/// One attempt's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// Everything that one attempt is made of.
pub(super) struct Letter<'a> {
    pub(super) target: &'a CallbackTarget,
    pub(super) app_id: &'a str,
    pub(super) original_id: &'a str,
    pub(super) openid: Option<&'a str>,
    pub(super) mode: CallbackMode,
    pub(super) format: Format,
    pub(super) broken: Option<Broken>,
}

/// A raw body, or parts to render.
pub(super) enum Content {
    Raw(String),
    Parts(Parts),
}

impl Letter<'_> {
    /// The plain body, with the oddities that live inside it.
    pub(super) fn plain(&self, content: &Content) -> String {
        let mut parts = match content {
            Content::Raw(body) => return body.clone(),
            Content::Parts(parts) => parts.clone(),
        };
        match self.broken {
            Some(Broken::ReorderedTags) => parts.reverse(),
            Some(Broken::UnknownTags) => {
                parts.push(("NobodyKnows".to_owned(), Part::Text("<this>".to_owned())));
                let inner = vec![("Deep".to_owned(), Part::Number("1".to_owned()))];
                parts.insert(0, ("NorThis".to_owned(), Part::Group(inner)));
            }
            Some(Broken::HugeBody) => parts.push(("Filler".to_owned(), Part::Text("x".repeat(600 * 1024)))),
            Some(Broken::LargeBody) => parts.push(("Filler".to_owned(), Part::Text("x".repeat(200 * 1024)))),
            Some(Broken::WrongAccount) => {
                for (_, part) in parts.iter_mut().filter(|(tag, _)| tag == "ToUserName") {
                    *part = Part::Text("gh_000000000000".to_owned());
                }
            }
            _ => {}
        }
        render(&parts, self.format, self.broken == Some(Broken::Blanks))
    }

    /// The request for this attempt. Timestamp, nonce and the 16 random bytes are fresh with each.
    pub(super) fn seal(&self, plain: &str, now: Timestamp, rng: &mut StdRng) -> Result<Wire, String> {
        let stale = self.broken == Some(Broken::StaleTimestamp);
        let at = if stale { now.minus(Duration::from_secs(3_600)) } else { now };
        let (timestamp, nonce) =
            (at.as_seconds().to_string(), rng.random_range(100_000_000..2_000_000_000).to_string());
        let sealed = self.mode != CallbackMode::Plain && self.broken != Some(Broken::Plaintext);
        let encrypt = if sealed { Some(self.encrypt(plain, rng)?) } else { None };
        let body = match (&encrypt, self.mode) {
            (None, _) => plain.to_owned(),
            (Some(encrypt), CallbackMode::Compatible) => with_encrypt(plain, encrypt, self.format),
            (Some(encrypt), _) => envelope(self.original_id, encrypt, self.format),
        };
        let query = self.query(&timestamp, &nonce, encrypt.as_deref());
        Ok(Wire { query, body: self.damage(body) })
    }

    fn encrypt(&self, plain: &str, rng: &mut StdRng) -> Result<String, String> {
        let current = self.target.encoding_aes_key.as_ref().ok_or("the target has no encoding_aes_key")?;
        let text = match (self.broken, &self.target.previous_encoding_aes_key) {
            (Some(Broken::OldKey), Some(previous)) => previous.expose(),
            (Some(Broken::OldKey), None) => FOREIGN_KEY,
            _ => current.expose(),
        };
        if self.broken == Some(Broken::BadBase64) {
            return Ok("***this is no base64***".to_owned());
        }
        let key = EncodingAesKey::parse(text).map_err(|error| error.to_string())?;
        let tail = match self.broken {
            Some(Broken::WrongAppid) => "wxffffffffffffffff",
            _ => self.target.app_id.as_deref().unwrap_or(self.app_id),
        };
        let random: [u8; 16] = rng.random();
        Ok(crypt::encrypt(&key, random, plain.as_bytes(), tail))
    }

    fn query(&self, timestamp: &str, nonce: &str, encrypt: Option<&str>) -> Vec<(&'static str, String)> {
        if self.broken == Some(Broken::NoQuery) {
            return Vec::new();
        }
        let token = self.target.token.expose();
        let wrong = "0".repeat(40);
        let all_wrong = self.broken == Some(Broken::WrongSignature);
        let signature = signature::sign(&[token, timestamp, nonce]);
        let mut query = vec![
            ("signature", if all_wrong { wrong.clone() } else { signature }),
            ("timestamp", timestamp.to_owned()),
            ("nonce", nonce.to_owned()),
        ];
        query.extend(self.openid.map(|openid| ("openid", openid.to_owned())));
        if let Some(encrypt) = encrypt {
            let is_wrong = all_wrong || self.broken == Some(Broken::WrongMsgSignature);
            let msg_signature = signature::sign(&[token, timestamp, nonce, encrypt]);
            query.push(("encrypt_type", "aes".to_owned()));
            query.push(("msg_signature", if is_wrong { wrong } else { msg_signature }));
        }
        query
    }

    /// The oddities of the outer body.
    fn damage(&self, body: String) -> String {
        match self.broken {
            Some(Broken::Doctype) => {
                format!("<?xml version=\"1.0\"?><!DOCTYPE xml [<!ENTITY x SYSTEM \"file:///etc/hostname\">]>{body}")
            }
            Some(Broken::CutBody) => body.chars().take(body.chars().count() / 2).collect(),
            Some(Broken::EmptyBody) => String::new(),
            Some(Broken::Garbage) => "\u{1}\u{2} neither xml nor json <".to_owned(),
            _ => body,
        }
    }
}

fn render(parts: &Parts, format: Format, blanks: bool) -> String {
    match format {
        Format::Xml => format!("<xml>{}</xml>", xml(parts, blanks)),
        Format::Json => json(parts).to_string(),
    }
}

fn xml(parts: &Parts, blanks: bool) -> String {
    let gap = if blanks { "\n  " } else { "" };
    let mut out = String::new();
    for (tag, part) in parts {
        let inner = match part {
            Part::Text(text) => format!("{gap}{}{gap}", cdata(text)),
            Part::Number(number) => format!("{gap}{number}{gap}"),
            Part::Group(inner) => xml(inner, blanks),
        };
        out.push_str(&format!("{gap}<{tag}>{inner}</{tag}>"));
    }
    out
}

fn cdata(text: &str) -> String {
    let allowed = |c: &char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    let text: String = text.chars().filter(allowed).collect();
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

/// As mini programs get it: a container of `List`s is left out, one `List` is an object and several are an array.
fn json(parts: &Parts) -> Value {
    let mut object = Map::new();
    for (tag, part) in parts {
        match part {
            Part::Text(text) => drop(object.insert(tag.clone(), Value::from(text.as_str()))),
            Part::Number(number) => drop(object.insert(tag.clone(), json_number(number))),
            Part::Group(inner) if inner.iter().all(|(name, _)| name == "List") => {
                let lists = inner.iter().filter_map(|(_, list)| match list {
                    Part::Group(entry) => Some(json(entry)),
                    _ => None,
                });
                let mut lists: Vec<Value> = lists.collect();
                let value = if lists.len() == 1 { lists.remove(0) } else { Value::Array(lists) };
                object.insert("List".to_owned(), value);
            }
            Part::Group(inner) => drop(object.insert(tag.clone(), json(inner))),
        }
    }
    Value::Object(object)
}

fn json_number(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| Value::from(text), Value::from)
}

fn envelope(original_id: &str, encrypt: &str, format: Format) -> String {
    let parts = vec![
        ("ToUserName".to_owned(), Part::Text(original_id.to_owned())),
        ("Encrypt".to_owned(), Part::Text(encrypt.to_owned())),
    ];
    render(&parts, format, false)
}

/// Compatible mode: the plain body with one child more.
fn with_encrypt(plain: &str, encrypt: &str, format: Format) -> String {
    let (end, addition) = match format {
        Format::Xml => ("</xml>", format!("<Encrypt>{}</Encrypt></xml>", cdata(encrypt))),
        Format::Json => ("}", format!(",\"Encrypt\":{}}}", Value::from(encrypt))),
    };
    let head = plain.trim_end();
    head.strip_suffix(end).map_or_else(|| plain.to_owned(), |head| format!("{head}{addition}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let list = vec![("List".to_owned(), Part::Group(vec![("Id".to_owned(), Part::Text("a]]>b".to_owned()))]))];
        vec![
            ("MsgType".to_owned(), Part::Text("event".to_owned())),
            ("MsgID".to_owned(), Part::Number("3487542469355618313".to_owned())),
            ("Box".to_owned(), Part::Group(list)),
        ]
    }

    #[test]
    fn parts_are_rendered_in_both_formats() {
        let xml = "<xml><MsgType><![CDATA[event]]></MsgType><MsgID>3487542469355618313</MsgID>\
                   <Box><List><Id><![CDATA[a]]]]><![CDATA[>b]]></Id></List></Box></xml>";
        assert_eq!(render(&parts(), Format::Xml, false), xml);
        let json = r#"{"List":{"Id":"a]]>b"},"MsgID":3487542469355618313,"MsgType":"event"}"#;
        assert_eq!(render(&parts(), Format::Json, false), json);
    }

    #[test]
    fn compatible_bodies_hold_both() {
        assert_eq!(
            with_encrypt("<xml><A>1</A></xml>", "abc=", Format::Xml),
            "<xml><A>1</A><Encrypt><![CDATA[abc=]]></Encrypt></xml>"
        );
        assert_eq!(with_encrypt(r#"{"A":1}"#, "abc=", Format::Json), r#"{"A":1,"Encrypt":"abc="}"#);
    }
}
