//! The keys that tokens are checked with: a secret, a public key, or a set of public keys (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use super::{Algorithm, crypto};
use crate::domain::secret::Secret;

/// An RSA key of 2048 bits has a modulus of so many bytes; shorter keys are refused.
const RSA_BYTES: usize = 256;
/// An uncompressed point of P-256.
const P256_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;

#[derive(Clone)]
pub struct Keys(Kind);

#[derive(Clone)]
enum Kind {
    /// Whatever `kid` a token names.
    One(DecodingKey),
    /// By `kid`.
    Set(Vec<(Option<String>, DecodingKey)>),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.count())
    }
}

impl Keys {
    /// For HS256: the bytes of the text.
    pub fn from_secret(secret: &Secret) -> Self {
        crypto::install();
        Self(Kind::One(DecodingKey::from_secret(secret.expose().as_bytes())))
    }

    /// `-----BEGIN PUBLIC KEY-----` (or `RSA PUBLIC KEY`) → the key; `Err` says what is wrong with it.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, String> {
        crypto::install();
        if pem.contains("PRIVATE KEY") {
            return Err("is a private key; only its public half belongs here (openssl pkey -pubout)".to_owned());
        }
        if !pem.contains("PUBLIC KEY-----") {
            return Err("is no public key in PEM (-----BEGIN PUBLIC KEY-----)".to_owned());
        }
        let bytes = pem.trim().as_bytes();
        let key = match algorithm {
            Algorithm::Hs256 => return Err("HS256 takes a secret, never a public key".to_owned()),
            Algorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
            Algorithm::Es256 => DecodingKey::from_ec_pem(bytes),
            Algorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
        };
        let key = key.map_err(|_| not_a_key_for(algorithm))?;
        check(algorithm, &key)?;
        Ok(Self(Kind::One(key)))
    }

    /// A JWK set → its keys that fit the algorithm; `Err` says why there is none. Keys for other purposes are left out.
    pub fn from_jwks(algorithm: Algorithm, text: &str) -> Result<Self, String> {
        crypto::install();
        let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("is no JWK set: {error}"))?;
        let mut keys: Vec<(Option<String>, DecodingKey)> = Vec::new();
        for jwk in set.keys.iter().filter(|jwk| is_for(algorithm, jwk)) {
            let name = jwk.common.key_id.as_deref().unwrap_or("without kid");
            let key = DecodingKey::from_jwk(jwk).map_err(|_| format!("key {name}: {}", not_a_key_for(algorithm)))?;
            check(algorithm, &key).map_err(|problem| format!("key {name}: {problem}"))?;
            if keys.iter().any(|(id, _)| *id == jwk.common.key_id) {
                return Err(format!("two keys have the same kid ({name})"));
            }
            keys.push((jwk.common.key_id.clone(), key));
        }
        if keys.is_empty() {
            return Err(format!("has no key for {}", algorithm.as_str()));
        }
        Ok(Self(Kind::Set(keys)))
    }

    pub fn count(&self) -> usize {
        match &self.0 {
            Kind::One(_) => 1,
            Kind::Set(keys) => keys.len(),
        }
    }

    /// A token without `kid` finds the only key of a set, never one of several.
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        match (&self.0, kid) {
            (Kind::One(key), _) => Some(key),
            (Kind::Set(keys), None) => keys.first().filter(|_| keys.len() == 1).map(|(_, key)| key),
            (Kind::Set(keys), Some(kid)) => keys.iter().find(|(id, _)| id.as_deref() == Some(kid)).map(|(_, key)| key),
        }
    }
}

fn is_for(algorithm: Algorithm, jwk: &Jwk) -> bool {
    let is_kind = match (&jwk.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::Rs256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::Es256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDsa) => key.curve == EllipticCurve::Ed25519,
        // A shared secret has no place in a file of public keys.
        _ => false,
    };
    let common = &jwk.common;
    let is_meant = common.key_algorithm.is_none_or(|meant| meant == KeyAlgorithm::from(algorithm.of_codec()));
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|verbs| verbs.contains(&KeyOperations::Verify));
    is_kind && is_meant && signs && verifies
}

/// What ring would refuse with every token is told now.
fn check(algorithm: Algorithm, key: &DecodingKey) -> Result<(), String> {
    match (algorithm, key.kind()) {
        (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, .. }) if n.len() >= RSA_BYTES => Ok(()),
        (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(der)) if der.len() >= RSA_BYTES => Ok(()),
        (Algorithm::Rs256, _) => Err("is an RSA key of less than 2048 bits".to_owned()),
        (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) if point.len() == P256_BYTES => Ok(()),
        (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(point)) if point.len() == ED25519_BYTES => Ok(()),
        _ => Err(not_a_key_for(algorithm)),
    }
}

fn not_a_key_for(algorithm: Algorithm) -> String {
    let wanted = match algorithm {
        Algorithm::Hs256 => "a secret",
        Algorithm::Rs256 => "an RSA key",
        Algorithm::Es256 => "a key on the curve P-256",
        Algorithm::EdDsa => "an Ed25519 key",
    };
    format!("is not {wanted}, which {} needs", algorithm.as_str())
}
