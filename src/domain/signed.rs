//! Signed requests: a caller shows that it has the secret without sending it.
//!
//! `hmac-sha256(secret, "{timestamp}.{nonce}.{METHOD}.{path?query}.{hex sha256(body)}")`, written `v1=<hex>`.

use ring::hmac;
use sha2::{Digest, Sha256};

use super::clock::Timestamp;
use super::secret::Secret;

/// How far a caller's clock may be from ours, in seconds, either way.
pub const WINDOW_SECONDS: i64 = 300;

const SCHEME: &str = "v1=";
const MAC_BYTES: usize = 32;
const MAX_TEXT: usize = 128;

/// The four headers as they came.
#[derive(Clone, Copy)]
pub struct SignedHeaders<'a> {
    pub key: &'a str,
    pub timestamp: &'a str,
    pub nonce: &'a str,
    pub signature: &'a str,
}

/// The same, well-formed. Nothing is proven.
#[derive(Clone, Debug)]
pub struct SignedHead {
    pub key_id: String,
    /// In seconds since 1970.
    pub signed_at: i64,
    timestamp: String,
    nonce: String,
    mac: [u8; MAC_BYTES],
}

/// What one signed request is known by: a hash of its key and nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NonceId(pub [u8; 16]);

/// What the signature covers, byte for byte as it came.
#[derive(Clone, Copy)]
pub struct SignedContent<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    pub body: &'a [u8],
}

impl SignedHead {
    /// `None` when one of them has not the form that it must have. There is one way to write each.
    pub fn parse(headers: SignedHeaders<'_>) -> Option<Self> {
        let mut mac = [0; MAC_BYTES];
        let digits = headers.signature.strip_prefix(SCHEME)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        hex::decode_to_slice(digits, &mut mac).ok()?;
        let is_number =
            (1..=12).contains(&headers.timestamp.len()) && headers.timestamp.bytes().all(|b| b.is_ascii_digit());
        (is_number && is_key_id(headers.key) && is_nonce(headers.nonce)).then_some(())?;
        Some(Self {
            key_id: headers.key.to_owned(),
            signed_at: headers.timestamp.parse().ok()?,
            timestamp: headers.timestamp.to_owned(),
            nonce: headers.nonce.to_owned(),
            mac,
        })
    }

    pub fn is_fresh(&self, now: Timestamp) -> bool {
        (now.as_seconds() - self.signed_at).abs() <= WINDOW_SECONDS
    }

    pub fn nonce_id(&self) -> NonceId {
        // A key id holds no dot.
        let hash: [u8; 32] = Sha256::digest(format!("{}.{}", self.key_id, self.nonce)).into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        NonceId(id)
    }

    /// In constant time. The key is the secret's text.
    pub fn is_of(&self, secret: &Secret, content: SignedContent<'_>) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        content.is_plain() && hmac::verify(&key, self.text(content).as_bytes(), &self.mac).is_ok()
    }

    /// What was signed. No two requests have the same text: the time has no dot, the method is capital letters, the path
    /// begins with the first slash (see [`is_nonce`]), and the hash has a fixed length.
    fn text(&self, content: SignedContent<'_>) -> String {
        let SignedContent { method, target, body } = content;
        let hash = hex::encode(Sha256::digest(body));
        format!("{}.{}.{method}.{target}.{hash}", self.timestamp, self.nonce)
    }
}

impl SignedContent<'_> {
    /// Another method could be read as a part of the nonce.
    fn is_plain(&self) -> bool {
        !self.method.is_empty() && self.method.bytes().all(|b| b.is_ascii_uppercase()) && self.target.starts_with('/')
    }
}

fn is_key_id(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A dot and a slash together could pass for the end of a nonce and the beginning of a path: who gets a caller to sign a
/// path of his choice would have a signature for another one.
fn is_nonce(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !(text.contains('.') && text.contains('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    /// By `openssl dgst -sha256 -hmac`, over the text that [`example`] signs.
    const SIGNATURE: &str = "v1=be37277b327693e56c7265288d1d4409074b3d5c19c7c98b0e2fa1311f68c4e4";

    fn headers() -> SignedHeaders<'static> {
        SignedHeaders { key: "order-service", timestamp: "1767400000", nonce: "n-1", signature: SIGNATURE }
    }

    fn example() -> SignedContent<'static> {
        SignedContent { method: "POST", target: "/send-template?a=1", body: br#"{"touser":"o1"}"# }
    }

    #[test]
    fn the_signature_is_the_one_that_openssl_makes() {
        let head = SignedHead::parse(headers()).unwrap();
        assert_eq!((head.key_id.as_str(), head.signed_at), ("order-service", 1_767_400_000));
        assert!(head.is_of(&Secret::new(SECRET), example()));
    }

    #[test]
    fn everything_in_it_counts() {
        let head = SignedHead::parse(headers()).unwrap();
        let secret = Secret::new(SECRET);
        for content in [
            SignedContent { method: "PUT", ..example() },
            SignedContent { target: "/send-template?a=2", ..example() },
            SignedContent { target: "/send-template", ..example() },
            SignedContent { body: b"{\"touser\":\"o1\"} ", ..example() },
            SignedContent { body: b"", ..example() },
        ] {
            assert!(!head.is_of(&secret, content), "{}", head.text(content));
        }
        assert!(!head.is_of(&Secret::new(SECRET.replace('0', "1")), example()));
        for other in [
            SignedHeaders { timestamp: "1767400001", ..headers() },
            SignedHeaders { timestamp: "01767400000", ..headers() },
            SignedHeaders { nonce: "n-2", ..headers() },
        ] {
            assert!(!SignedHead::parse(other).unwrap().is_of(&secret, example()));
        }
    }

    #[test]
    fn each_header_has_one_form() {
        let upper = SIGNATURE.to_uppercase().replace("V1", "v1");
        let (short, long) = (&SIGNATURE[..SIGNATURE.len() - 2], format!("{SIGNATURE}00"));
        let wide = "x".repeat(129);
        for wrong in [
            SignedHeaders { signature: &upper, ..headers() },
            SignedHeaders { signature: short, ..headers() },
            SignedHeaders { signature: &long, ..headers() },
            SignedHeaders { signature: &SIGNATURE[3..], ..headers() },
            SignedHeaders { signature: "v1=", ..headers() },
            SignedHeaders { signature: "", ..headers() },
            SignedHeaders { timestamp: "", ..headers() },
            SignedHeaders { timestamp: "-1767400000", ..headers() },
            SignedHeaders { timestamp: "+1767400000", ..headers() },
            SignedHeaders { timestamp: "1767400000.5", ..headers() },
            SignedHeaders { timestamp: " 1767400000", ..headers() },
            SignedHeaders { timestamp: "1767400000000000000", ..headers() },
            SignedHeaders { nonce: "", ..headers() },
            SignedHeaders { nonce: "a b", ..headers() },
            SignedHeaders { nonce: "n.POST./v1/messages", ..headers() },
            SignedHeaders { nonce: &wide, ..headers() },
            SignedHeaders { key: "", ..headers() },
            SignedHeaders { key: "a.b", ..headers() },
            SignedHeaders { key: &wide, ..headers() },
        ] {
            assert!(
                SignedHead::parse(wrong).is_none(),
                "{:?}",
                (wrong.key, wrong.timestamp, wrong.nonce, wrong.signature)
            );
        }
        for nonce in ["1", "0.8444218515250481", "kGh+/8Zf=="] {
            assert!(SignedHead::parse(SignedHeaders { nonce, ..headers() }).is_some(), "{nonce}");
        }
    }

    #[test]
    fn a_nonce_belongs_to_its_key() {
        let id = |key, nonce| SignedHead::parse(SignedHeaders { key, nonce, ..headers() }).unwrap().nonce_id();
        assert_eq!(id("a", "n"), id("a", "n"));
        assert_ne!(id("a", "n"), id("b", "n"));
        assert_ne!(id("a", "n"), id("a", "m"));
        let later = SignedHead::parse(SignedHeaders { key: "a", nonce: "n", timestamp: "1767400001", ..headers() });
        assert_eq!(later.unwrap().nonce_id(), id("a", "n"), "another time does not make it a new one");
    }

    #[test]
    fn the_window_is_five_minutes_either_way() {
        let head = SignedHead::parse(headers()).unwrap();
        for (offset, fresh) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(head.is_fresh(Timestamp::from_seconds(1_767_400_000 + offset)), fresh, "{offset}");
        }
    }

    proptest! {
        /// Whoever gets a caller to sign a path of his choice has no signature for another request.
        #[test]
        fn a_text_can_be_read_in_one_way_only(pieces in prop::collection::vec("[aA./]|\\.A\\.|\\.A\\./", 1..7)) {
            let middle = pieces.concat();
            let dots: Vec<usize> = middle.match_indices('.').map(|(at, _)| at).collect();
            let mut readings = Vec::new();
            for (first, second) in dots.iter().flat_map(|first| dots.iter().map(move |second| (*first, *second))) {
                if first >= second {
                    continue;
                }
                let (nonce, method, target) = (&middle[..first], &middle[first + 1..second], &middle[second + 1..]);
                let is_head = SignedHead::parse(SignedHeaders { nonce, ..headers() }).is_some();
                if is_head && (SignedContent { method, target, body: b"" }).is_plain() {
                    readings.push((nonce, method, target));
                }
            }
            prop_assert!(readings.len() <= 1, "{readings:?}");
        }
    }
}
