//! The body of a send: WeChat's own, and our fields on top → [`SendInput`].

use std::time::Duration;

use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::limit::OnLimit;
use crate::domain::state::{Lane, OnUnknown};
use crate::http::error::ApiError;
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{FromJson, Json, push};
use crate::services::accept::{Keyword, MiniProgram, SendInput, Warning};

const MAX_TTL_SECONDS: u64 = 30 * 24 * 3600;
const MAX_METADATA_BYTES: usize = 2048;

/// One push. The body of WeChat's `message/template/send` works unchanged; the other fields are the gateway's.
#[derive(Clone, Debug, Default, ToSchema)]
#[schema(example = json!({
    "touser": "oABCD1234567890abcdefghijklmn",
    "template_id": "order_paid",
    "data": {"thing1": {"value": "Tea, 2 boxes"}, "amount2": "¥12.30", "time3": "2026-01-31 08:00"},
    "url": "https://shop.example/orders/7",
    "client_msg_id": "order-7-paid"
}))]
pub struct SendRequest {
    /// May be left out when the key or the configuration leaves one.
    pub account: Option<String>,
    /// Openid of the recipient; this or `user_id`.
    pub touser: Option<String>,
    /// A business user id that is bound to an openid.
    pub user_id: Option<String>,
    /// WeChat's id, or an alias from the configuration.
    pub template_id: String,
    /// Keywords of the template.
    #[schema(value_type = std::collections::HashMap<String, KeywordValue>)]
    pub data: Vec<(String, Keyword)>,
    /// Page that opens on a tap.
    pub url: Option<String>,
    #[schema(value_type = Option<MiniProgramValue>)]
    pub miniprogram: Option<MiniProgram>,
    /// WeChat's guard against doubles, at most 32 ASCII characters. Acts as the idempotency key when there is no header.
    #[schema(max_length = 32)]
    pub client_msg_id: Option<String>,
    /// 202 at once instead of waiting for the outcome.
    #[schema(required = false, default = false)]
    pub r#async: bool,
    /// Not before this time, at most 30 days ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// Not after this time; this or `ttl_s`. Default: 24 h after now or `send_at`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Life in seconds.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 2_592_000)]
    pub ttl_s: Option<Duration>,
    #[schema(required = false)]
    pub priority: Lane,
    /// What to do when WeChat's answer is lost; the default is the account's.
    pub on_unknown: Option<OnUnknown>,
    /// What to do when a limit is met: `reject` (429), or `defer`: schedule it for the earliest time that is allowed.
    pub on_limit: Option<OnLimit>,
    /// Flat object of strings, at most 2 KiB; comes back in views.
    #[schema(required = false, value_type = std::collections::HashMap<String, String>)]
    pub metadata: Vec<(String, String)>,
    /// Everything but the keeping and the sending.
    #[schema(required = false, default = false)]
    pub dry_run: bool,
    /// A warning is a fault: 422 `invalid_message` instead of `warnings`.
    #[schema(required = false, default = false)]
    pub strict: bool,
    #[schema(ignore)]
    pub warnings: Vec<Warning>,
}

/// A keyword: its text, a number (sent as it was written), or WeChat's form.
#[derive(Clone, Debug, serde::Serialize, ToSchema)]
#[serde(untagged)]
pub enum KeywordValue {
    Text(String),
    Number(f64),
    Full { value: String, color: Option<String> },
}

/// The mini program that opens on a tap.
#[derive(Clone, Debug, ToSchema)]
pub struct MiniProgramValue {
    pub appid: String,
    pub pagepath: Option<String>,
}

impl FromJson for SendRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let request = Fields::open(json, "", &mut faults).map(|fields| Self::read(fields, &mut faults));
        faults.check()?;
        Ok(request.unwrap_or_default())
    }
}

impl SendRequest {
    pub(super) fn read(mut fields: Fields, faults: &mut Faults) -> Self {
        let request = Self {
            account: fields.string("account", faults),
            touser: fields.string("touser", faults),
            user_id: fields.string("user_id", faults),
            template_id: fields.string("template_id", faults).unwrap_or_default(),
            data: data(&mut fields, faults),
            url: fields.string("url", faults),
            miniprogram: fields.object("miniprogram", faults).map(|inner| mini_program(inner, faults)),
            client_msg_id: fields.string("client_msg_id", faults),
            r#async: fields.boolean("async", faults).unwrap_or(false),
            send_at: fields.time("send_at", faults),
            expires_at: fields.time("expires_at", faults),
            ttl_s: fields.integer("ttl_s", 1..=MAX_TTL_SECONDS, faults).map(Duration::from_secs),
            priority: fields.choice("priority", &["urgent", "normal", "bulk"], Lane::parse, faults).unwrap_or_default(),
            on_unknown: fields.choice("on_unknown", &["retry", "hold"], OnUnknown::parse, faults),
            on_limit: fields.choice("on_limit", &["reject", "defer"], OnLimit::parse, faults),
            metadata: metadata(&mut fields, faults),
            dry_run: fields.boolean("dry_run", faults).unwrap_or(false),
            strict: fields.boolean("strict", faults).unwrap_or(false),
            warnings: topcolor(&mut fields).into_iter().collect(),
        };
        fields.close(faults);
        request.check(faults);
        request
    }

    /// Rules between fields. What a single field may hold is for the service to say.
    fn check(&self, faults: &mut Faults) {
        match (&self.touser, &self.user_id) {
            (Some(_), Some(_)) => faults.invalid("/user_id", "exclusive", "send touser or user_id, not both"),
            (None, None) => faults.invalid("/touser", "required", "touser or user_id is missing"),
            _ => {}
        }
        if self.template_id.is_empty() {
            faults.invalid("/template_id", "required", "template_id is missing");
        }
        if self.expires_at.is_some() && self.ttl_s.is_some() {
            faults.invalid("/ttl_s", "exclusive", "send expires_at or ttl_s, not both");
        }
    }

    /// What the service takes. The rest is the handler's: `async` and `dry_run`.
    pub fn into_input(self) -> SendInput {
        SendInput {
            account: self.account,
            touser: self.touser,
            user_id: self.user_id,
            template_id: self.template_id,
            data: self.data,
            url: self.url,
            miniprogram: self.miniprogram,
            client_msg_id: self.client_msg_id,
            send_at: self.send_at,
            expires_at: self.expires_at,
            ttl: self.ttl_s,
            lane: self.priority,
            on_unknown: self.on_unknown,
            on_limit: self.on_limit.unwrap_or_default(),
            metadata: self.metadata,
            strict: self.strict,
            warnings: self.warnings,
            ..SendInput::default()
        }
    }
}

fn data(fields: &mut Fields, faults: &mut Faults) -> Vec<(String, Keyword)> {
    let members = match fields.take("data") {
        Some(Json::Object(members)) => members,
        Some(other) => {
            wrong_type(faults, "/data", "an object", &other);
            return Vec::new();
        }
        None => {
            faults.invalid("/data", "required", "data is missing");
            return Vec::new();
        }
    };
    let keyword = |(name, value): (String, Json)| {
        let keyword = keyword(value, &place("/data", &name), faults);
        (name, keyword)
    };
    members.into_iter().map(keyword).collect()
}

/// The JSON pointer of a member with a name of the caller's own.
fn place(parent: &str, name: &str) -> String {
    let mut path = parent.to_owned();
    push(&mut path, name);
    path
}

fn keyword(json: Json, path: &str, faults: &mut Faults) -> Keyword {
    match json {
        Json::String(value) | Json::Number(value) => Keyword { value, color: None },
        Json::Object(_) => {
            let Some(mut fields) = Fields::open(json, path, faults) else {
                return Keyword::default();
            };
            let value = match fields.take("value") {
                Some(Json::String(value) | Json::Number(value)) => value,
                Some(other) => {
                    wrong_type(faults, &fields.path_of("value"), "a string or a number", &other);
                    String::new()
                }
                None => {
                    faults.invalid(fields.path_of("value"), "required", "value is missing");
                    String::new()
                }
            };
            let color = fields.string("color", faults);
            fields.close(faults);
            Keyword { value, color }
        }
        other => {
            wrong_type(faults, path, "a string, a number or {\"value\": …}", &other);
            Keyword::default()
        }
    }
}

fn mini_program(mut fields: Fields, faults: &mut Faults) -> MiniProgram {
    let appid = fields.string("appid", faults);
    if appid.is_none() {
        faults.invalid("/miniprogram/appid", "required", "appid is missing");
    }
    let pagepath = fields.string("pagepath", faults);
    fields.close(faults);
    MiniProgram { appid: appid.unwrap_or_default(), pagepath }
}

fn metadata(fields: &mut Fields, faults: &mut Faults) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (name, value) in fields.free_object("metadata", faults).unwrap_or_default() {
        match value {
            Json::String(text) => texts.push((name, text)),
            other => wrong_type(faults, &place("/metadata", &name), "a string", &other),
        }
    }
    let bytes: usize = texts.iter().map(|(name, text)| name.len() + text.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        let detail = format!("{bytes} bytes: at most {MAX_METADATA_BYTES}");
        faults.invalid("/metadata", "too_long", detail);
    }
    texts
}

/// A field of WeChat's that has done nothing for years.
fn topcolor(fields: &mut Fields) -> Option<Warning> {
    fields.take("topcolor")?;
    let detail = "WeChat ignores topcolor; it was left out".to_owned();
    Some(Warning { path: "/topcolor".to_owned(), code: "ignored", detail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Code;

    fn read(text: &str) -> Result<SendRequest, ApiError> {
        SendRequest::from_json(Json::parse(text).unwrap())
    }

    fn refused(text: &str) -> (Code, Vec<(String, &'static str)>) {
        let error = read(text).unwrap_err();
        let places = error.errors().iter().map(|fault| (fault.path.clone(), fault.code)).collect();
        (error.code(), places)
    }

    #[test]
    fn the_body_that_wechat_documents_works_unchanged() {
        let request = read(
            r##"{"touser":"OPENID","template_id":"TPL","url":"http://weixin.qq.com/download","topcolor":"#FF0000",
                "miniprogram":{"appid":"wx1","pagepath":"index?foo=bar"},"client_msg_id":"MSG_000001",
                "data":{"keyword2":{"value":"巧克力","color":"#173177"},"keyword1":{"value":"39.8"}}}"##,
        )
        .unwrap();
        assert_eq!(request.data[0].0, "keyword2", "the caller's order stays");
        assert_eq!(request.data[0].1, Keyword { value: "巧克力".to_owned(), color: Some("#173177".to_owned()) });
        assert_eq!(request.warnings[0].path, "/topcolor");
        let input = request.into_input();
        assert_eq!(input.miniprogram.unwrap().pagepath.as_deref(), Some("index?foo=bar"));
        assert_eq!(input.client_msg_id.as_deref(), Some("MSG_000001"));
    }

    #[test]
    fn our_own_fields_are_read() {
        let request = read(
            r#"{"account":"shop","user_id":"u7","template_id":"paid","data":{"a":"text","b":12.30,"c":{"value":7}},
                "async":true,"send_at":"2026-01-31T08:00:00+08:00","ttl_s":60,"priority":"urgent","on_unknown":"hold",
                "on_limit":"defer","metadata":{"order":"7"},"dry_run":true,"strict":true}"#,
        )
        .unwrap();
        let values: Vec<_> = request.data.iter().map(|(_, keyword)| keyword.value.as_str()).collect();
        assert_eq!(values, ["text", "12.30", "7"]);
        assert!(request.r#async && request.dry_run);
        assert_eq!(request.on_limit, Some(OnLimit::Defer));
        let input = request.into_input();
        assert_eq!(input.send_at, Timestamp::parse("2026-01-31T00:00:00Z"));
        assert_eq!((input.ttl, input.lane), (Some(Duration::from_secs(60)), Lane::Urgent));
        assert_eq!(input.metadata, [("order".to_owned(), "7".to_owned())]);
        assert!(input.strict);
    }

    #[test]
    fn what_cannot_be_read_is_400_with_its_place() {
        for (text, path) in [
            (r#"[]"#, ""),
            (r#"{"touser":7,"template_id":"t","data":{}}"#, "/touser"),
            (r#"{"touser":"o","template_id":"t","data":[]}"#, "/data"),
            (r#"{"touser":"o","template_id":"t","data":{"a":true}}"#, "/data/a"),
            (r#"{"touser":"o","template_id":"t","data":{"a":null}}"#, "/data/a"),
            (r#"{"touser":"o","template_id":"t","data":{"a/b":["x"]}}"#, "/data/a~1b"),
            (r#"{"touser":"o","template_id":"t","data":{"a":{"value":{}}}}"#, "/data/a/value"),
            (r#"{"touser":"o","template_id":"t","data":{"a":{"value":"x","colour":"y"}}}"#, "/data/a/colour"),
            (r#"{"touser":"o","templat_id":"t","data":{}}"#, "/templat_id"),
            (
                r#"{"touser":"o","template_id":"t","data":{},"miniprogram":{"appid":"w","path":"p"}}"#,
                "/miniprogram/path",
            ),
            (r#"{"touser":"o","template_id":"t","data":{},"metadata":{"a":1}}"#, "/metadata/a"),
            (r#"{"touser":"o","template_id":"t","data":{},"priority":"high"}"#, "/priority"),
            (r#"{"touser":"o","template_id":"t","data":{},"ttl_s":"60"}"#, "/ttl_s"),
        ] {
            assert_eq!(refused(text).0, Code::MalformedRequest, "{text}");
            assert_eq!(refused(text).1[0].0, path, "{text}");
        }
    }

    #[test]
    fn broken_rules_are_422_and_all_are_named() {
        let (code, places) = refused(r#"{"touser":"o","user_id":"u","ttl_s":0,"data":{"a":{}}}"#);
        assert_eq!(code, Code::InvalidMessage);
        let expected = [
            ("/data/a/value", "required"),
            ("/ttl_s", "out_of_range"),
            ("/user_id", "exclusive"),
            ("/template_id", "required"),
        ];
        assert_eq!(places, expected.map(|(path, code)| (path.to_owned(), code)));
        let both = r#"{"touser":"o","template_id":"t","data":{},"ttl_s":5,"expires_at":"2026-01-31T08:00:00Z"}"#;
        assert_eq!(refused(both).1[0].0, "/ttl_s");
        let long =
            format!(r#"{{"touser":"o","template_id":"t","data":{{}},"metadata":{{"a":"{}"}}}}"#, "x".repeat(2048));
        assert_eq!(refused(&long).1[0], ("/metadata".to_owned(), "too_long"));
        assert_eq!(refused("{}").0, Code::InvalidMessage);
    }
}
