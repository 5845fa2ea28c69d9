//! What WeChat's API answers (page "API calling"): bytes → [`Answer`], whatever the content type said.
//!
//! Business errors come with HTTP 200 and an `errcode`; some successes come without one. Anything that is no JSON
//! object is a gateway or network fault: what was sent may have been accepted all the same.

use std::fmt;

use serde_json::Value;

use super::errcode;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One answer. Debug shows neither the token nor the body.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// 0 when it did not come. A caller that needs a field besides must see that it is there.
    pub errcode: i64,
    /// Empty when it did not come. Never to be compared: its tail differs each time.
    pub errmsg: String,
    /// WeChat's id of the call, out of `errmsg`; kept seven days there.
    pub rid: Option<String>,
    /// `msgid` (or `msg_id`), to the last digit: it may be beyond 2^53.
    pub msgid: Option<String>,
    pub access_token: Option<String>,
    /// Seconds.
    pub expires_in: Option<i64>,
    pub body: Value,
}

/// The answer says nothing: it counts as transient, and the outcome as uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer is empty")]
    Empty,
    /// HTML, cut off, not UTF-8.
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer is not a JSON object")]
    NotAnObject,
    #[error("the answer's errcode is not a number")]
    Errcode,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
        if bytes.trim_ascii().is_empty() {
            return Err(AnswerError::Empty);
        }
        let body: Value = serde_json::from_slice(bytes).map_err(|_| AnswerError::NotJson)?;
        if !body.is_object() {
            return Err(AnswerError::NotAnObject);
        }
        let errcode = match body.get("errcode") {
            None => 0,
            Some(value) => integer(value).ok_or(AnswerError::Errcode)?,
        };
        let errmsg = body.get("errmsg").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            errcode,
            rid: errcode::rid(&errmsg).map(str::to_owned),
            errmsg,
            msgid: body.get("msgid").or_else(|| body.get("msg_id")).and_then(id),
            access_token: body.get("access_token").and_then(Value::as_str).map(str::to_owned),
            expires_in: body.get("expires_in").and_then(integer),
            body,
        })
    }

    pub const fn is_ok(&self) -> bool {
        self.errcode == 0
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("errcode", &self.errcode)
            .field("errmsg", &self.errmsg)
            .field("msgid", &self.msgid)
            .field("access_token", &self.access_token.as_ref().map(|_| "***"))
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// A whole number, or text that is one.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A 64-bit id as text; what does not fit one is no id, however it is written.
fn id(value: &Value) -> Option<String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    (text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Answer {
        Answer::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_msgid_beyond_the_doubles_is_exact() {
        for id in ["200228332", "3487542469355618313", "9007199254740993", "18446744073709551615", "-1"] {
            let answer = parse(&format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{id}}}"#));
            assert!(answer.is_ok());
            assert_eq!(answer.msgid.as_deref(), Some(id));
            assert_eq!(parse(&format!(r#"{{"errcode":0,"msg_id":"{id}"}}"#)).msgid.as_deref(), Some(id));
        }
        assert_eq!(parse(r#"{"errcode":0,"msgid":null}"#).msgid, None);
        for id in
            ["99999999999999999999", "\"99999999999999999999\"", "1.5", "1e3", "\"\"", "\"soon\"", "[7]", "{}", "true"]
        {
            assert_eq!(parse(&format!(r#"{{"errcode":0,"msgid":{id}}}"#)).msgid, None, "{id}");
        }
    }

    #[test]
    fn an_errcode_is_read_as_number_and_as_text_and_missing_means_zero() {
        assert_eq!(parse(r#"{"errcode":-1,"errmsg":"system error"}"#).errcode, -1);
        assert_eq!(parse(r#"{"errcode":"40001"}"#).errcode, 40001);
        let token = parse(r#"{"access_token":"ACCESS","expires_in":7200}"#);
        assert_eq!((token.errcode, token.access_token.as_deref(), token.expires_in), (0, Some("ACCESS"), Some(7200)));
        assert_eq!(parse(r#"{"access_token":"A","expires_in":"345"}"#).expires_in, Some(345));
        assert_eq!(parse("\u{feff}{}\n").errcode, 0);
    }

    #[test]
    fn the_rid_is_taken_out_of_the_errmsg() {
        let answer = parse(r#"{"errcode":43004,"errmsg":"require subscribe rid: 61725984-6126f6f9-040f19c4"}"#);
        assert_eq!(answer.rid.as_deref(), Some("61725984-6126f6f9-040f19c4"));
        assert_eq!(parse(r#"{"errcode":40013,"errmsg":"invalid appid hint: [abc]"}"#).rid, None);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for (body, fault) in [
            (b"".as_slice(), AnswerError::Empty),
            (b" \r\n", AnswerError::Empty),
            (b"<html><body>502 Bad Gateway</body></html>", AnswerError::NotJson),
            (br#"{"errcode":0,"errmsg":"o"#, AnswerError::NotJson),
            (b"{\"errmsg\":\"\xff\"}", AnswerError::NotJson),
            (br#"{"errcode":0}{"errcode":1}"#, AnswerError::NotJson),
            (b"[]", AnswerError::NotAnObject),
            (b"0", AnswerError::NotAnObject),
            (br#"{"errcode":"none"}"#, AnswerError::Errcode),
            (br#"{"errcode":null}"#, AnswerError::Errcode),
            (br#"{"errcode":1.5}"#, AnswerError::Errcode),
        ] {
            assert_eq!(Answer::parse(body).unwrap_err(), fault, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(Answer::parse("[".repeat(1_000_000).as_bytes()).unwrap_err(), AnswerError::NotJson);
    }

    #[test]
    fn an_answer_never_shows_its_token() {
        let shown = format!("{:?}", parse(r#"{"access_token":"s3cr3t","expires_in":7200}"#));
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Answer::parse(&bytes);
        }
    }
}
