//! The outer body of a callback, before anything is decrypted: bytes → wire form, `Encrypt`, and the tree.
//!
//! Plain mode has no `Encrypt`, compatible mode has it beside the plain tags, safe mode has little else.

use super::tree::{self, Format, Node, ParseError};

/// What is seen before anything is decrypted.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub format: Format,
    /// The cipher text without blanks around it, as `msg_signature` covers it. Its decryption is the only part of
    /// a compatible body to be believed.
    pub encrypt: Option<String>,
    pub root: Node,
}

/// A body with two `Encrypt` is refused: signed and opened must be the same one.
pub fn parse(body: &[u8]) -> Result<Envelope, ParseError> {
    let (root, format) = tree::parse(body)?;
    if root.all("Encrypt").count() > 1 {
        return Err(ParseError::new("two Encrypt"));
    }
    let encrypt = root.text_of("Encrypt").map(str::to_owned);
    Ok(Envelope { format, encrypt, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_text_is_found_in_both_forms() {
        let xml = parse(b"<xml><ToUserName>gh</ToUserName><Encrypt> <![CDATA[QUJD]]>\n</Encrypt></xml>").unwrap();
        assert_eq!((xml.format, xml.encrypt.as_deref()), (Format::Xml, Some("QUJD")));
        let json = parse(br#"{"ToUserName":"gh","Encrypt":"QUJD"}"#).unwrap();
        assert_eq!((json.format, json.encrypt.as_deref()), (Format::Json, Some("QUJD")));
    }

    #[test]
    fn a_plain_body_has_none() {
        let plain = parse(b"<xml><MsgType>text</MsgType><Encrypt/></xml>").unwrap();
        assert_eq!(plain.encrypt, None);
        assert_eq!(plain.root.text_of("MsgType"), Some("text"));
    }

    #[test]
    fn two_cipher_texts_are_refused() {
        assert!(parse(b"<xml><Encrypt>QQ==</Encrypt><Encrypt>Qg==</Encrypt></xml>").is_err());
    }
}
