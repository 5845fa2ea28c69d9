//! WXBizMsgCrypt.

/// A parsed EncodingAESKey (43 characters). Debug never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodingAesKey([u8; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an EncodingAESKey has 43 characters A–Z a–z 0–9")]
pub struct IllegalAesKey;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    #[error("not base64")]
    Base64,
    #[error("length")]
    Length,
    #[error("padding")]
    Padding,
    #[error("layout")]
    Layout,
    #[error("receive id differs")]
    ReceiveId,
}

impl EncodingAesKey {
    pub fn parse(_text: &str) -> Result<Self, IllegalAesKey> {
        todo!()
    }
}

/// → base64 text for `Encrypt`.
pub fn encrypt(_key: &EncodingAesKey, _random: [u8; 16], _message: &[u8], _receive_id: &str) -> String {
    todo!()
}

/// base64 text → the message part.
pub fn decrypt(_key: &EncodingAesKey, _encrypt: &str, _receive_id: &str) -> Result<Vec<u8>, DecryptError> {
    todo!()
}
