//! A JSON body as a tree: every key once, numbers by their literal, the caller's order kept. And its canonical hash.

use axum::body::HttpBody;
use axum::extract::{FromRef, FromRequest, OptionalFromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::http::body::{self, BodyLimits};
use crate::http::error::{ApiError, Code};
use crate::http::extract::idempotency::IDEMPOTENCY_KEY;
use crate::services::accept::FieldError;

/// It acts as the idempotency key when there is no header.
const CLIENT_MSG_ID: &str = "client_msg_id";
/// Nothing of ours is nested deeper; it bounds the work, which is bytes × depth.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// As it was written: `12.30` stays `12.30`.
    Number(String),
    String(String),
    Array(Vec<Json>),
    /// In the order of the text; no key twice.
    Object(Vec<(String, Json)>),
}

/// A body that a type reads itself from.
pub trait FromJson: Sized {
    fn from_json(json: Json) -> Result<Self, ApiError>;
}

/// The body of a request, read and checked for its shape. Goes last in a handler.
pub struct ApiJson<T> {
    pub value: T,
    /// SHA-256 of the canonical text, in hex: equal for bodies that differ only in blanks and the order of keys. Empty when
    /// the request has no key to compare it by.
    pub hash: String,
}

impl<T, S> FromRequest<S> for ApiJson<T>
where
    T: FromJson,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        check_content_encoding(request.headers())?;
        let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
        let limits = BodyLimits::from_ref(state);
        let bytes = body::read(request.into_body(), &limits).await.map_err(|error| error.refuse(&limits))?;
        let json = read(&bytes)?;
        let hash = if has_key || json.has(CLIENT_MSG_ID) { json.canonical_hash() } else { String::new() };
        Ok(Self { value: T::from_json(json)?, hash })
    }
}

/// Where a body may be left out: none, and no length of one.
impl<T, S> OptionalFromRequest<S> for ApiJson<T>
where
    T: FromJson,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let only = values.next().filter(|_| values.next().is_none());
    let text = only.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    let charset = |part: &str| part.to_ascii_lowercase().strip_prefix("charset=").map(|name| name.replace('"', ""));
    let is_utf8 = parts.filter_map(charset).all(|name| name == "utf-8" || name == "utf8");
    if is_json && is_utf8 {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, "send Content-Type: application/json, in UTF-8"))
}

/// A small compressed body could hold a very large one: none is unpacked.
fn check_content_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(ApiError::new(Code::UnsupportedMediaType, "send the body as it is, without a Content-Encoding"))
}

fn read(bytes: &Bytes) -> Result<Json, ApiError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| malformed(fault("", "utf8", format!("not UTF-8 at byte {}", error.valid_up_to()))))?;
    Json::parse(text).map_err(malformed)
}

fn malformed(error: FieldError) -> ApiError {
    ApiError::with_errors(Code::MalformedRequest, vec![error])
}

fn fault(path: &str, code: &'static str, detail: impl Into<String>) -> FieldError {
    FieldError { path: path.to_owned(), code, detail: detail.into() }
}

impl Json {
    fn has(&self, name: &str) -> bool {
        matches!(self, Self::Object(members) if members.iter().any(|(written, _)| written == name))
    }

    /// Text → tree. Refuses what is not JSON, a key that comes twice in one object, and nesting that no request needs.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        // Nearly all is right, and read in one go. What is not, and numbers with a point, are looked at piece by piece.
        serde_json::from_str::<Whole>(text).map(|Whole(json)| json).or_else(|_| Self::parse_slowly(text))
    }

    fn parse_slowly(text: &str) -> Result<Self, FieldError> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| fault("", "json", format!("not JSON: {error}")))?;
        Self::grow(raw.get(), &mut String::new(), 0)
    }

    fn grow(text: &str, path: &mut String, depth: usize) -> Result<Self, FieldError> {
        if depth > MAX_DEPTH {
            return Err(fault(path, "too_deep", format!("nested deeper than {MAX_DEPTH}")));
        }
        // The syntax was checked when the raw text was cut out; what may still fail is an escape in a string.
        let broken = |path: &str, error: serde_json::Error| fault(path, "json", format!("not JSON: {error}"));
        match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(|error| broken(path, error))?;
                let mut object = Vec::with_capacity(members.len());
                if let Some(name) = doubled(&members) {
                    push(path, name);
                    return Err(fault(path, "duplicate", "this key comes twice"));
                }
                for (name, raw) in members {
                    let parent = path.len();
                    push(path, &name);
                    object.push((name, Self::grow(raw.get(), path, depth + 1)?));
                    path.truncate(parent);
                }
                Ok(Self::Object(object))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| broken(path, error))?;
                let mut array = Vec::with_capacity(items.len());
                for (index, raw) in items.into_iter().enumerate() {
                    let parent = path.len();
                    push(path, &index.to_string());
                    array.push(Self::grow(raw.get(), path, depth + 1)?);
                    path.truncate(parent);
                }
                Ok(Self::Array(array))
            }
            Some(b'"') => Ok(Self::String(serde_json::from_str(text).map_err(|error| broken(path, error))?)),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'n') => Ok(Self::Null),
            _ => Ok(Self::Number(text.to_owned())),
        }
    }

    /// The word for what this is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    pub fn canonical_hash(&self) -> String {
        let mut text = String::with_capacity(512);
        self.write_canonical(&mut text);
        hex::encode(Sha256::digest(text))
    }

    /// Keys sorted, no blanks, numbers by their literal.
    fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(literal) => out.push_str(literal),
            Self::String(text) => out.push_str(&quoted(text)),
            Self::Array(items) => {
                out.push('[');
                for item in items {
                    item.write_canonical(out);
                    out.push(',');
                }
                out.push(']');
            }
            Self::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
                out.push('{');
                for (name, value) in sorted {
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write_canonical(out);
                    out.push(',');
                }
                out.push('}');
            }
        }
    }
}

/// A string as JSON writes it. (Writing a string cannot fail.)
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// One step of a JSON pointer.
pub(in crate::http) fn push(path: &mut String, name: &str) {
    path.push('/');
    match name.bytes().any(|b| matches!(b, b'~' | b'/')) {
        true => path.push_str(&name.replace('~', "~0").replace('/', "~1")),
        false => path.push_str(name),
    }
}

fn doubled<T>(members: &[(String, T)]) -> Option<&str> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// A tree that is read in one pass. An error says only that there is something to be looked at.
struct Whole(Json);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Branch { depth: 0 }.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct Branch {
    depth: usize,
}

impl Branch {
    fn next<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH { Err(E::custom("too deep")) } else { Ok(Self { depth }) }
    }
}

impl<'de> DeserializeSeed<'de> for Branch {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Branch {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without fractions")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.next()?)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object: Vec<(String, Json)> = Vec::with_capacity(8);
        while let Some(name) = members.next_key()? {
            object.push((name, members.next_value_seed(self.next()?)?));
        }
        match doubled(&object) {
            Some(_) => Err(serde::de::Error::custom("a key comes twice")),
            None => Ok(Json::Object(object)),
        }
    }
}

/// The members of one object, unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use proptest::prelude::*;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn hash(text: &str) -> String {
        Json::parse(text).unwrap().canonical_hash()
    }

    #[test]
    fn order_literals_and_texts_are_kept() {
        let json = Json::parse(r#" {"b":12.30,"a":["\u4f60",true,null,1e5]} "#).unwrap();
        let items = vec![Json::String("你".to_owned()), Json::Bool(true), Json::Null, Json::Number("1e5".to_owned())];
        let members = vec![("b".to_owned(), Json::Number("12.30".to_owned())), ("a".to_owned(), Json::Array(items))];
        assert_eq!(json, Json::Object(members));
    }

    #[test]
    fn a_key_that_comes_twice_is_named() {
        for (text, path) in [
            (r#"{"a":1,"a":2}"#, "/a"),
            (r#"{"data":{"x":{"value":"1","v\u0061lue":"2"}}}"#, "/data/x/value"),
            (r#"{"a":[{"b/c":1,"b/c":2}]}"#, "/a/0/b~1c"),
        ] {
            let error = Json::parse(text).unwrap_err();
            assert_eq!((error.path.as_str(), error.code), (path, "duplicate"));
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{}x", "{'a':1}", "{\"a\":01}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "nul", "{\"a\":NaN}"]
        {
            assert_eq!(Json::parse(text).unwrap_err().code, "json", "{text}");
        }
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert_eq!(Json::parse(&deep).unwrap_err().code, "too_deep");
    }

    #[test]
    fn a_hash_is_of_the_meaning() {
        assert_eq!(
            hash(r#"{"a":1,"b":{"c":"x","d":[1,2]}}"#),
            hash("{ \"b\": {\"d\":[1, 2],\"c\":\"\\u0078\"},\n\"a\":1}")
        );
        for other in [r#"{"a":1.0,"b":{"c":"x","d":[1,2]}}"#, r#"{"a":1,"b":{"c":"x","d":[2,1]}}"#, r#"{"a":1}"#] {
            assert_ne!(hash(r#"{"a":1,"b":{"c":"x","d":[1,2]}}"#), hash(other));
        }
        assert_ne!(hash(r#"["a,b"]"#), hash(r#"["a","b"]"#));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\",:0-9a-z\\\\ .eE+-]{0,40}") {
            let ours = Json::parse(&text).is_ok();
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert!(theirs || !ours, "taken, but not JSON: {}", text);
        }

        #[test]
        fn in_one_go_or_piece_by_piece_is_the_same(
            text in r#"[\[\]{}",:0-2a-c\\ .eE+-]{0,24}|("[ab]":(-?[0-9]{1,22}(\.0)?|\[1,"x\\u00e9",true,null\]|\{\}),?){0,3}"#
        ) {
            let wrapped = format!("{{{text}}}");
            for text in [&text, &wrapped] {
                prop_assert_eq!(Json::parse(text), Json::parse_slowly(text), "{}", text);
            }
        }
    }

    struct Any(Json);

    impl FromJson for Any {
        fn from_json(json: Json) -> Result<Self, ApiError> {
            Ok(Self(json))
        }
    }

    async fn extract(content_type: &str, body: impl Into<Body>) -> Result<Json, Code> {
        let request = Request::post("/").header(CONTENT_TYPE, content_type).body(body.into()).unwrap();
        let limits = BodyLimits { bytes: 16, time: Duration::from_secs(60), stopping: CancellationToken::new() };
        <ApiJson<Any> as FromRequest<_>>::from_request(request, &limits)
            .await
            .map(|json| json.value.0)
            .map_err(|error| error.code())
    }

    #[tokio::test]
    async fn only_json_in_utf8_within_the_limit_is_taken() {
        for content_type in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert_eq!(extract(content_type, "[]").await, Ok(Json::Array(Vec::new())));
        }
        for content_type in ["", "text/plain", "application/xml", "application/json; charset=gbk", "application/jsonp"]
        {
            assert_eq!(extract(content_type, "[]").await, Err(Code::UnsupportedMediaType), "{content_type}");
        }
        assert_eq!(extract("application/json", "\"aaaaaaaaaaaaaaaaaaa\"").await, Err(Code::PayloadTooLarge));
        assert_eq!(extract("application/json", vec![b'"', 0xff, b'"']).await, Err(Code::MalformedRequest));
        assert_eq!(extract("application/json", "").await, Err(Code::MalformedRequest));
    }
}
