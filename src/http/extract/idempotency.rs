//! `Idempotency-Key`: 1–255 visible ASCII characters, once.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use crate::http::error::{ApiError, Code};
use crate::services::accept::FieldError;

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The caller's guard against doubles, if there is one.
pub struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        read(&parts.headers).map(Self)
    }
}

fn read(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.as_bytes();
    let legal = (1..=255).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(text) {
        Ok(text) if legal && values.next().is_none() => Ok(Some(text.to_owned())),
        _ => {
            let detail = "Idempotency-Key has 1–255 visible ASCII characters and comes once".to_owned();
            let error = FieldError { path: String::new(), code: "idempotency_key", detail };
            Err(ApiError::with_errors(Code::MalformedRequest, vec![error]))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(values: &[&str]) -> Result<Option<String>, ApiError> {
        let header = |value: &&str| {
            (HeaderName::from_static(IDEMPOTENCY_KEY), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        read(&values.iter().map(header).collect())
    }

    #[test]
    fn a_legal_key_comes_once() {
        assert_eq!(with(&[]).unwrap(), None);
        assert_eq!(with(&["order-7/paid"]).unwrap().as_deref(), Some("order-7/paid"));
        assert!(with(&[&"x".repeat(255)]).is_ok());
        for wrong in [&[""][..], &["a b"], &["键"], &["a", "a"], &[&"x".repeat(256)]] {
            assert_eq!(with(wrong).unwrap_err().code(), Code::MalformedRequest, "{wrong:?}");
        }
    }
}
