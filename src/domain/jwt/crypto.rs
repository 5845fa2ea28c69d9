//! ring as the cryptography of `jsonwebtoken`, which brings either a second C library or slower code of its own.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use ring::{error::Unspecified, hmac};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// The codec asks for one process-wide choice; the second call finds it made.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A key of another family (an RSA key as an HMAC secret) is refused here, whatever the caller has checked.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() }))
}

impl RingVerifier {
    fn check(&self, message: &[u8], mac: &[u8]) -> std::result::Result<(), Unspecified> {
        let by =
            |way: &'static dyn VerificationAlgorithm, key: &[u8]| UnparsedPublicKey::new(way, key).verify(message, mac);
        match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, mac)
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => by(&RSA_PKCS1_2048_8192_SHA256, der),
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, mac)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => by(&ECDSA_P256_SHA256_FIXED, point),
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => by(&ED25519, point),
            _ => Err(Unspecified),
        }
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], mac: &Vec<u8>) -> std::result::Result<(), Error> {
        self.check(message, mac).map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
