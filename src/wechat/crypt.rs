//! Encrypted bodies (page "Message encryption and decryption", WXBizMsgCrypt): `Encrypt` text ⇄ message bytes.
//!
//! Inside AES-256-CBC, with the first half of the key as IV, lies
//! `16 random bytes ‖ length of the message (32 bits, big endian) ‖ message ‖ receive id`,
//! padded as PKCS#7 does, but to blocks of **32**: no un-padder made for AES takes it off.

use std::borrow::Cow;
use std::fmt;

use aes::Aes256;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use subtle::ConstantTimeEq;

const CIPHER_BLOCK: usize = 16;
const PAD_BLOCK: usize = 32;
const RANDOM: usize = 16;
/// Random bytes and length: what stands before the message.
const HEAD: usize = RANDOM + 4;

/// 43 characters are 258 bits. The last two bits are whatever the console drew, so they must not be checked.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A parsed EncodingAESKey (43 characters). Debug never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodingAesKey([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an EncodingAESKey has 43 characters A–Z a–z 0–9")]
pub struct IllegalAesKey;

/// Why a cipher text was not opened. The sample library's number for it is [`DecryptError::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// `Encrypt` is not base64.
    #[error("not base64")]
    Base64,
    /// No whole number of cipher blocks, or none at all.
    #[error("length")]
    Length,
    /// The last bytes are no padding: another key, or changed on the way.
    #[error("padding")]
    Padding,
    /// Too short, or the length inside points beyond the end.
    #[error("layout")]
    Layout,
    /// The message is for another app.
    #[error("receive id differs")]
    ReceiveId,
}

impl DecryptError {
    /// The sample library's number for the same fault, for logs.
    pub const fn code(self) -> i32 {
        match self {
            Self::Base64 => -40010,
            Self::Length | Self::Padding => -40007,
            Self::Layout => -40008,
            Self::ReceiveId => -40005,
        }
    }
}

impl EncodingAesKey {
    /// The console's 43 letters and digits; blanks are not trimmed.
    pub fn parse(text: &str) -> Result<Self, IllegalAesKey> {
        if text.len() != 43 || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(IllegalAesKey);
        }
        let bytes = TOLERANT.decode(text).map_err(|_| IllegalAesKey)?;
        bytes.try_into().map(Self).map_err(|_| IllegalAesKey)
    }

    fn iv(&self) -> [u8; CIPHER_BLOCK] {
        let mut iv = [0; CIPHER_BLOCK];
        iv.copy_from_slice(&self.0[..CIPHER_BLOCK]);
        iv
    }
}

impl fmt::Debug for EncodingAesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodingAesKey(***)")
    }
}

/// → base64 text for `Encrypt`. `receive_id` is the appid; `random` must be fresh for each call.
pub fn encrypt(key: &EncodingAesKey, random: [u8; 16], message: &[u8], receive_id: &str) -> String {
    // A message of 4 GiB cannot come from here; were there one, no receiver could open it.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD + message.len() + receive_id.len() + PAD_BLOCK);
    bytes.extend_from_slice(&random);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.extend_from_slice(receive_id.as_bytes());
    pad(&mut bytes);
    let mut cipher = cbc::Encryptor::<Aes256>::new(&key.0.into(), &key.iv().into());
    for block in bytes.as_chunks_mut::<CIPHER_BLOCK>().0 {
        cipher.encrypt_block(block.into());
    }
    general_purpose::STANDARD.encode(bytes)
}

/// base64 text → the message part. Blanks in and around the text are ignored.
pub fn decrypt(key: &EncodingAesKey, encrypt: &str, receive_id: &str) -> Result<Vec<u8>, DecryptError> {
    // WeChat writes none; to look for them is cheaper than to leave out none one by one.
    let has_blanks = encrypt.bytes().fold(false, |found, b| found | b.is_ascii_whitespace());
    let text: Cow<'_, [u8]> = match has_blanks {
        true => encrypt.bytes().filter(|b| !b.is_ascii_whitespace()).collect(),
        false => encrypt.as_bytes().into(),
    };
    let mut bytes = TOLERANT.decode(text).map_err(|_| DecryptError::Base64)?;
    let (blocks, rest) = bytes.as_chunks_mut::<CIPHER_BLOCK>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(DecryptError::Length);
    }
    let mut cipher = cbc::Decryptor::<Aes256>::new(&key.0.into(), &key.iv().into());
    for block in blocks {
        cipher.decrypt_block(block.into());
    }
    let full = strip(&bytes).ok_or(DecryptError::Padding)?;
    let (message, tail) = split(full).ok_or(DecryptError::Layout)?;
    if bool::from(tail.ct_eq(receive_id.as_bytes())) { Ok(message.to_vec()) } else { Err(DecryptError::ReceiveId) }
}

fn pad(bytes: &mut Vec<u8>) {
    let count = PAD_BLOCK - bytes.len() % PAD_BLOCK;
    let byte = u8::try_from(count).unwrap_or_default();
    bytes.resize(bytes.len() + count, byte);
}

/// Takes 1–32 equal bytes off the end, each of which tells their count.
fn strip(bytes: &[u8]) -> Option<&[u8]> {
    let byte = *bytes.last()?;
    let count = usize::from(byte);
    if !(1..=PAD_BLOCK).contains(&count) {
        return None;
    }
    let (full, padding) = bytes.split_at_checked(bytes.len().checked_sub(count)?)?;
    padding.iter().all(|b| *b == byte).then_some(full)
}

/// → message and receive id.
fn split(full: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = full.split_at_checked(HEAD)?;
    let length: [u8; 4] = head.get(RANDOM..)?.try_into().ok()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(length)).ok()?)
}

#[cfg(test)]
mod tests;
