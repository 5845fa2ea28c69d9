//! How a subscriber knows that a delivery is ours: `v1,base64(hmac-sha256(secret, "{id}.{timestamp}.{body}"))`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;

/// The event's id, the same in every try: subscribers tell a repeat by it.
pub const ID: &str = "webhook-id";
/// Seconds since 1970 of this try.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// One signature for each secret, separated by blanks.
pub const SIGNATURE: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
const MADE_BYTES: usize = 32;
/// What Standard Webhooks allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
pub const SECRET_RULE: &str =
    "has to be `whsec_` and then 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)";

/// `whsec_…`, what we and one subscriber share. Never printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookSecret(Secret);

impl WebhookSecret {
    pub fn generate() -> Self {
        let key: [u8; MADE_BYTES] = rand::random();
        Self(Secret::new(format!("{PREFIX}{}", STANDARD.encode(key))))
    }

    /// `None`: see [`SECRET_RULE`].
    pub fn parse(text: &str) -> Option<Self> {
        key_of(text).map(|_| Self(Secret::new(text)))
    }

    pub fn text(&self) -> &Secret {
        &self.0
    }
}

/// The bytes behind the prefix: they are the key, not their text.
fn key_of(text: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

/// Signs with one secret, or with two while they are changed. Made once for many deliveries.
#[derive(Clone)]
pub struct Signer(Vec<hmac::Key>);

impl Signer {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a WebhookSecret>) -> Self {
        let keys = secrets.into_iter().filter_map(|secret| key_of(secret.0.expose()));
        Self(keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)).collect())
    }

    /// The value of [`SIGNATURE`]. `id` holds no full stop: ours never do.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let mut mac = hmac::Context::with_key(key);
            mac.update(format!("{id}.{}.", at.as_seconds()).as_bytes());
            mac.update(body);
            format!("{VERSION}{}", STANDARD.encode(mac.sign()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use standardwebhooks::Webhook;

    use super::*;
    use crate::domain::clock::{Clock, SystemClock};

    const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SECOND: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn sign(secrets: &[&str], id: &str, seconds: i64, body: &str) -> String {
        let secrets: Vec<_> = secrets.iter().map(|text| WebhookSecret::parse(text).unwrap()).collect();
        Signer::new(&secrets).sign(id, Timestamp::from_millis(seconds * 1000 + 999), body.as_bytes())
    }

    /// From the tests of the reference libraries.
    #[test]
    fn the_published_vectors_are_met() {
        assert_eq!(
            sign(&[FIRST], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        assert_eq!(
            sign(&[SECOND], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body),
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
        );
    }

    #[test]
    fn the_reference_library_takes_either_secret_of_a_rotation() {
        let (made, body) = (WebhookSecret::generate(), r#"{"text":"您好 🎉"}"#);
        let now = SystemClock.now().as_seconds();
        let signature = sign(&[FIRST, made.text().expose()], "evt_1", now, body);
        let headers = |signature: &str, at: i64| {
            let mut headers = HeaderMap::new();
            headers.insert(ID, HeaderValue::from_static("evt_1"));
            headers.insert(TIMESTAMP, HeaderValue::from(at));
            headers.insert(SIGNATURE, HeaderValue::from_str(signature).unwrap());
            headers
        };
        let takes = |secret: &str, body: &str, at: i64| {
            Webhook::new(secret).unwrap().verify(body.as_bytes(), &headers(&signature, at)).is_ok()
        };
        assert!(takes(FIRST, body, now) && takes(made.text().expose(), body, now));
        assert!(!takes(SECOND, body, now));
        assert!(!takes(FIRST, "{}", now));
        assert!(!takes(FIRST, body, now - 1));
    }

    #[test]
    fn a_secret_has_its_form_and_never_shows_itself() {
        for length in [24, 32, 64] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; length]));
            assert_eq!(WebhookSecret::parse(&text).unwrap().text().expose(), text);
        }
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for text in ["", "whsec_", "secret", &FIRST[6..], "whsec_MfKQ*r8GKYqrTwjUPD8ILPZIo2LaLaSw", &short, &long] {
            assert_eq!(WebhookSecret::parse(text), None, "{text}");
        }
        let made = WebhookSecret::generate();
        assert_eq!(format!("{made:?}"), "WebhookSecret(***)");
        assert_ne!(made, WebhookSecret::generate());
        assert_eq!(WebhookSecret::parse(made.text().expose()), Some(made));
    }
}
