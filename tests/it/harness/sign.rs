//! Credentials made by hand, as a caller that never saw our code would make them from the documents.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::{digest, hmac, signature};
use serde_json::Value;

/// A key that signs: its id and the 64 hex digits.
#[derive(Clone, Debug)]
pub(crate) struct SigningKey {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// One request, signed as documented; what is sent may differ.
#[derive(Clone, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) timestamp: i64,
    pub(crate) nonce: String,
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) body: &'a str,
}

impl SigningKey {
    /// `wxg_<id>_<secret>`
    pub(crate) fn of(text: &str) -> Self {
        let (id, secret) = text.strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap();
        Self { id: id.to_owned(), secret: secret.to_owned() }
    }

    /// The four headers.
    pub(crate) fn headers(&self, signed: &Signed<'_>) -> Vec<(&'static str, String)> {
        vec![
            ("X-Wxgate-Key", self.id.clone()),
            ("X-Wxgate-Timestamp", signed.timestamp.to_string()),
            ("X-Wxgate-Nonce", signed.nonce.clone()),
            ("X-Wxgate-Signature", format!("v1={}", self.mac(signed))),
        ]
    }

    pub(crate) fn mac(&self, signed: &Signed<'_>) -> String {
        let Signed { timestamp, nonce, method, target, body } = signed;
        let hash = hex::encode(digest::digest(&digest::SHA256, body.as_bytes()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        hex::encode(hmac::sign(&key, format!("{timestamp}.{nonce}.{method}.{target}.{hash}").as_bytes()))
    }
}

pub(crate) fn nonce() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// header.claims.signature, whatever they say.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let mac = encode(&sign(message.as_bytes()));
    format!("{message}.{mac}")
}

pub(crate) fn by_secret(secret: &str) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// By `tests/fixtures/jwt/rsa.pem`.
pub(crate) fn by_rsa(message: &[u8]) -> Vec<u8> {
    let key = signature::RsaKeyPair::from_pkcs8(&der("rsa")).unwrap();
    let mut mac = vec![0; key.public().modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut mac).unwrap();
    mac
}

/// By `tests/fixtures/jwt/ed25519.pem`.
pub(crate) fn by_ed25519(message: &[u8]) -> Vec<u8> {
    signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der("ed25519")).unwrap().sign(message).as_ref().to_vec()
}

pub(crate) fn pem_path(name: &str) -> String {
    format!("{}/tests/fixtures/jwt/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

/// What a PEM file holds.
pub(crate) fn der(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(pem_path(name)).unwrap();
    STANDARD.decode(text.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}
