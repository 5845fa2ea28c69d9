//! The published samples, the traps, and the law that opening undoes sealing.

use proptest::prelude::*;

use super::*;
use crate::wechat::signature;

const VECTORS: &str = include_str!("../../../tests/fixtures/wechat/vectors.jsonl");
const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const APP_ID: &str = "wx0000000000000001";

fn key() -> EncodingAesKey {
    EncodingAesKey::parse(KEY).unwrap()
}

fn vectors() -> Vec<serde_json::Value> {
    VECTORS.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Seals `full` as it is, so that broken layouts and paddings can be made.
fn seal_raw(full: &[u8]) -> String {
    let mut bytes = full.to_vec();
    let key = key();
    let mut cipher = cbc::Encryptor::<Aes256>::new(&key.0.into(), &key.iv().into());
    for block in bytes.as_chunks_mut::<CIPHER_BLOCK>().0 {
        cipher.encrypt_block(block.into());
    }
    general_purpose::STANDARD.encode(bytes)
}

fn layout(length: u32, rest: &[u8]) -> Vec<u8> {
    let mut full = vec![b'r'; RANDOM];
    full.extend_from_slice(&length.to_be_bytes());
    full.extend_from_slice(rest);
    full
}

#[test]
fn there_are_thirteen_samples() {
    let ids: Vec<String> = vectors().iter().map(|v| v["id"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<String> = (1..=13).map(|n| format!("O{n}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn every_sample_signature_is_reproduced() {
    let mut checked = 0;
    for vector in vectors() {
        let text = |name: &str| vector[name].as_str();
        let (Some(token), Some(timestamp), Some(nonce)) = (text("token"), text("timestamp"), text("nonce")) else {
            continue;
        };
        if let Some(given) = text("signature") {
            assert!(signature::verify(given, &[token, timestamp, nonce]), "{}", vector["id"]);
            checked += 1;
        }
        if let Some(given) = text("msg_signature") {
            let encrypt = text("encrypt").unwrap();
            assert!(signature::verify(given, &[token, timestamp, nonce, encrypt]), "{}", vector["id"]);
            assert!(!signature::verify(given, &[token, timestamp, nonce]), "{}", vector["id"]);
            checked += 1;
        }
    }
    assert_eq!(checked, 15);
}

#[test]
fn every_sample_is_opened_and_sealed_again_byte_for_byte() {
    let mut checked = 0;
    for vector in vectors() {
        let text = |name: &str| vector[name].as_str();
        let Some(encrypted) = text("encrypt") else { continue };
        let key = EncodingAesKey::parse(text("encoding_aes_key").unwrap()).unwrap();
        let receive_id = text("receive_id").unwrap();
        let plain = decrypt(&key, encrypted, receive_id).unwrap();
        assert_eq!(str::from_utf8(&plain).unwrap(), text("plaintext").unwrap(), "{}", vector["id"]);
        let random: [u8; 16] = text("random_ascii").unwrap().as_bytes().try_into().unwrap();
        assert_eq!(encrypt(&key, random, &plain, receive_id), encrypted, "{}", vector["id"]);
        assert_eq!(u64::try_from(plain.len()).unwrap(), vector["msg_len"].as_u64().unwrap(), "{}", vector["id"]);
        checked += 1;
    }
    assert_eq!(checked, 10);
}

#[test]
fn a_key_has_43_letters_and_digits() {
    let short = vectors().pop().unwrap();
    assert_eq!(EncodingAesKey::parse(short["encoding_aes_key"].as_str().unwrap()), Err(IllegalAesKey));
    for text in ["", &KEY[..42], &format!("{KEY}="), &format!("{}+", &KEY[..42]), &format!("{}é", &KEY[..41])] {
        assert_eq!(EncodingAesKey::parse(text), Err(IllegalAesKey), "{text:?}");
    }
}

#[test]
fn the_two_spare_bits_of_a_key_are_arbitrary() {
    let stem = &KEY[..42];
    let keys: Vec<_> = ["E", "F", "G", "H"].iter().map(|end| format!("{stem}{end}")).collect();
    for text in &keys {
        assert_eq!(EncodingAesKey::parse(text).unwrap(), key(), "{text}");
    }
    for text in ["jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", KEY] {
        assert!(EncodingAesKey::parse(text).is_ok());
    }
}

#[test]
fn a_key_never_shows_itself() {
    assert_eq!(format!("{:?}", key()), "EncodingAesKey(***)");
}

#[test]
fn every_length_of_padding_is_written_and_read() {
    let mut pads = std::collections::BTreeSet::new();
    for length in 0..64 {
        let message = vec![b'm'; length];
        let sealed = encrypt(&key(), [7; 16], &message, APP_ID);
        let cipher_length = general_purpose::STANDARD.decode(&sealed).unwrap().len();
        assert_eq!(cipher_length % PAD_BLOCK, 0);
        pads.insert(cipher_length - HEAD - length - APP_ID.len());
        assert_eq!(decrypt(&key(), &sealed, APP_ID).unwrap(), message);
    }
    assert_eq!(pads, (1..=32).collect());
}

#[test]
fn an_impossible_padding_is_refused() {
    for (last, pads) in [(0u8, 0usize), (33, 33), (255, 32), (2, 1), (32, 31)] {
        let mut full = layout(0, APP_ID.as_bytes());
        full.resize(96 - pads, b'x');
        full.resize(95, last);
        full.push(last);
        if last == 32 {
            full[96 - 32] = 31;
        }
        assert_eq!(decrypt(&key(), &seal_raw(&full), APP_ID), Err(DecryptError::Padding), "{last}");
    }
    assert_eq!(decrypt(&key(), &seal_raw(&[17; 16]), APP_ID), Err(DecryptError::Padding));
}

#[test]
fn a_layout_that_points_beyond_the_end_is_refused() {
    for (length, rest) in [(19, APP_ID.as_bytes()), (u32::MAX, APP_ID.as_bytes()), (1, b"".as_slice())] {
        let mut full = layout(length, rest);
        pad(&mut full);
        assert_eq!(decrypt(&key(), &seal_raw(&full), APP_ID), Err(DecryptError::Layout), "{length}");
    }
    let mut short = vec![b'r'; 19];
    pad(&mut short);
    assert_eq!(decrypt(&key(), &seal_raw(&short), APP_ID), Err(DecryptError::Layout));
    assert_eq!(decrypt(&key(), &seal_raw(&[32; 32]), APP_ID), Err(DecryptError::Layout));
}

#[test]
fn a_message_for_another_app_is_refused() {
    let sealed = encrypt(&key(), [7; 16], b"hello", APP_ID);
    for other in ["", "wx0000000000000002", "wx000000000000000", "wx00000000000000011"] {
        assert_eq!(decrypt(&key(), &sealed, other), Err(DecryptError::ReceiveId), "{other}");
    }
    assert_eq!(DecryptError::ReceiveId.code(), -40005);
}

#[test]
fn blanks_and_missing_padding_of_base64_are_forgiven() {
    let sealed = encrypt(&key(), [7; 16], b"hello", APP_ID);
    let (head, tail) = sealed.split_at(40);
    assert_eq!(decrypt(&key(), &format!(" \n{head}\r\n{tail}\t"), APP_ID).unwrap(), b"hello");
    assert_eq!(decrypt(&key(), sealed.trim_end_matches('='), APP_ID).unwrap(), b"hello");
}

#[test]
fn what_is_no_cipher_text_is_refused() {
    for (text, fault) in [
        ("", DecryptError::Length),
        ("QUJD", DecryptError::Length),
        ("****", DecryptError::Base64),
        ("用户", DecryptError::Base64),
    ] {
        assert_eq!(decrypt(&key(), text, APP_ID), Err(fault), "{text:?}");
    }
}

proptest! {
    #[test]
    fn opening_undoes_sealing(
        message in prop::collection::vec(any::<u8>(), 0..600),
        random in any::<[u8; 16]>(),
        secret in "[A-Za-z0-9]{43}",
        receive_id in "[A-Za-z0-9]{0,40}",
    ) {
        let key = EncodingAesKey::parse(&secret).unwrap();
        let sealed = encrypt(&key, random, &message, &receive_id);
        prop_assert_eq!(decrypt(&key, &sealed, &receive_id), Ok(message));
    }

    #[test]
    fn a_changed_byte_never_opens_to_the_same(
        message in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let sealed = encrypt(&key(), [9; 16], &message, APP_ID);
        let mut bytes = general_purpose::STANDARD.decode(&sealed).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= flip;
        let changed = general_purpose::STANDARD.encode(&bytes);
        prop_assert_ne!(decrypt(&key(), &changed, APP_ID), Ok(message));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decrypt(&key(), &text, APP_ID);
        let _ = decrypt(&key(), &general_purpose::STANDARD.encode(bytes), APP_ID);
    }
}
