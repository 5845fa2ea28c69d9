//! What WeChat shall tell the gateway, in short: type, person, mode, format, and what is broken on purpose.
//! In: the control API or a test. Out: `CallbackRequest`, drafted in `draft`, sealed in `wire`, posted in `sender`.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::account::CallbackMode;

/// Broken on purpose, or merely odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// A DOCTYPE with an entity before the body.
    Doctype,
    /// The sealed text ends with another appid.
    WrongAppid,
    /// `signature` is right, `msg_signature` is not.
    WrongMsgSignature,
    /// Both signatures are wrong.
    WrongSignature,
    /// No signature, timestamp or nonce at all.
    NoQuery,
    /// A plain body whatever the mode.
    Plaintext,
    /// Sealed with the previous EncodingAESKey (or a foreign one when there is none).
    OldKey,
    /// Signed an hour ago.
    StaleTimestamp,
    /// 600 KiB more than needed.
    HugeBody,
    /// 200 KiB more than needed: large, but within every limit.
    LargeBody,
    /// The tags come in reverse.
    ReorderedTags,
    /// Tags that nobody knows.
    UnknownTags,
    /// Blanks and line breaks round the CDATA sections.
    Blanks,
    /// `ToUserName` is another account.
    WrongAccount,
    /// Half of the body.
    CutBody,
    EmptyBody,
    /// Neither XML nor JSON.
    Garbage,
    /// `Encrypt` is no base64.
    BadBase64,
}

/// A callback to send. Its `fields` are named as in the control API (`content`, `event_key` …); what is missing is made up.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CallbackRequest {
    /// Appid; `None`: the default account.
    pub account: Option<String>,
    /// `text`, `image`, `voice`, `video`, `shortvideo`, `location`, `link`, `subscribe`, `unsubscribe`, `scan`,
    /// `location_event`, `click`, `view`, `receipt` (or `template_receipt`), `subscribe_msg_popup_event`, `subscribe_msg_change_event`,
    /// `subscribe_msg_sent_event`, `event` (with `event`), `verify` (the console's GET).
    #[serde(rename = "type", default)]
    pub kind: String,
    pub openid: Option<String>,
    /// `None`: as the target says.
    pub mode: Option<CallbackMode>,
    /// `xml` or `json`; `None`: as the target says.
    pub format: Option<String>,
    pub broken: Option<Broken>,
    /// How often it is tried until it is acknowledged; 1 unless said otherwise, at most 3.
    pub attempts: Option<u32>,
    /// `MsgId` of a message; `None`: a new one.
    #[serde(default, deserialize_with = "digits")]
    pub msg_id: Option<String>,
    /// Seconds since 1970; `None`: now.
    pub create_time: Option<i64>,
    /// Instead of all that: this plain body.
    pub raw: Option<String>,
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// A 64-bit id, as number or text.
fn digits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(serde::de::Error::custom("msg_id is a number or a text")),
    }
}

impl CallbackRequest {
    pub fn new(kind: &str, openid: &str) -> Self {
        Self { kind: kind.to_owned(), openid: Some(openid.to_owned()), ..Self::default() }
    }

    pub fn text(openid: &str, content: &str) -> Self {
        Self::new("text", openid).field("content", content)
    }

    /// `TEMPLATESENDJOBFINISH`.
    pub fn receipt(openid: &str, msgid: i64, status: &str) -> Self {
        Self::new("receipt", openid).field("msgid", &msgid.to_string()).field("status", status)
    }

    /// The GET by which the console checks the URL.
    pub fn verify() -> Self {
        Self { kind: "verify".to_owned(), ..Self::default() }
    }

    pub fn raw(body: &str) -> Self {
        Self { raw: Some(body.to_owned()), ..Self::default() }
    }

    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), Value::from(value));
        self
    }

    #[must_use]
    pub fn for_account(self, app_id: &str) -> Self {
        Self { account: Some(app_id.to_owned()), ..self }
    }

    #[must_use]
    pub fn mode(self, mode: CallbackMode) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// `xml` or `json`.
    #[must_use]
    pub fn format(self, format: &str) -> Self {
        Self { format: Some(format.to_owned()), ..self }
    }

    #[must_use]
    pub fn broken(self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self }
    }

    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    #[must_use]
    pub fn msg_id(self, msg_id: i64) -> Self {
        Self { msg_id: Some(msg_id.to_string()), ..self }
    }

    #[must_use]
    pub fn create_time(self, seconds: i64) -> Self {
        Self { create_time: Some(seconds), ..self }
    }
}
