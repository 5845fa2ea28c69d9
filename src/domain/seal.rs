//! Sealing secrets at rest: AES-256-GCM, a fresh nonce for each, the row's name as associated data.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::secret::Secret;

const NONCE_BYTES: usize = 12;

/// Seals and opens text under `secrets.key`.
#[derive(Clone)]
pub struct Sealer {
    cipher: Aes256Gcm,
}

/// The sealed text is of another key or row, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed under another secrets.key, or changed")]
pub struct Broken;

impl Sealer {
    pub fn new(key: [u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(&key.into()) }
    }

    /// → `base64(nonce ‖ ciphertext)`. `row` says where it stands, so that a sealed text cannot be moved.
    pub fn seal(&self, text: &Secret, row: &str) -> Result<String, Broken> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: text.expose().as_bytes(), aad: row.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| Broken)?;
        Ok(STANDARD.encode([nonce.as_slice(), &sealed].concat()))
    }

    pub fn open(&self, sealed: &str, row: &str) -> Result<Secret, Broken> {
        let bytes = STANDARD.decode(sealed).map_err(|_| Broken)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(Broken)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| Broken)?;
        let payload = Payload { msg: sealed, aad: row.as_bytes() };
        let text = self.cipher.decrypt(&Nonce::from(nonce), payload).map_err(|_| Broken)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_row_and_under_its_key() {
        let sealer = Sealer::new([7; 32]);
        let sealed = sealer.seal(&Secret::new("token"), "token/shop").unwrap();
        assert!(!sealed.contains("token"));
        assert_eq!(sealer.open(&sealed, "token/shop").unwrap().expose(), "token");
        assert!(sealer.open(&sealed, "token/other").is_err());
        assert!(Sealer::new([8; 32]).open(&sealed, "token/shop").is_err());
        assert!(sealer.open("", "token/shop").is_err());
    }
}
