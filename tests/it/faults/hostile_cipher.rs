//! Sealed callbacks with a right signature and a wrong inside: one answer for all of them, so that nobody can ask the gateway
//! what lies in a cipher text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wxgate::sandbox::DEMO_APP_ID;

use super::hostile_letter::{
    NONCE, app, cipher, envelope, frame, is_refused, kept, now, padded, post, sealed, sealed_query, text,
};
use crate::harness::TestApp;

async fn post_cipher(app: &TestApp, encrypt: &str) -> crate::harness::Reply {
    post(app, &sealed_query(&now(app), NONCE, encrypt), envelope(encrypt)).await
}

/// A frame with these bytes behind it, filled up in front so that it is whole blocks.
fn ending_with(padding: &[u8]) -> Vec<u8> {
    let message = text("oPAD", 1, "#");
    let make = |fill: usize| {
        let message = message.replace('#', &"x".repeat(fill));
        let length = u32::try_from(message.len()).unwrap();
        [frame(length, message.as_bytes(), DEMO_APP_ID), padding.to_vec()].concat()
    };
    let fill = (0..16).find(|fill| make(*fill).len().is_multiple_of(16)).unwrap();
    make(fill)
}

#[tokio::test]
async fn padding_that_is_none_is_refused_like_everything_else() {
    let app = app("safe").await;
    for (name, padding) in [
        ("nought", vec![0; 16]),
        ("beyond 32", vec![33; 33]),
        ("255", vec![255; 16]),
        ("one byte that lies", [vec![9; 15], vec![16]].concat()),
        ("the first byte lies", [vec![1], vec![16; 15]].concat()),
        ("more than there is", vec![32]),
        ("none", Vec::new()),
    ] {
        is_refused(&post_cipher(&app, &cipher(&ending_with(&padding))).await, 401, name);
    }
    assert_eq!(kept(&app), 0);
    for count in 1..=32_u8 {
        let whole = ending_with(&vec![count; usize::from(count)]);
        let reply = post_cipher(&app, &cipher(&whole)).await;
        assert_eq!(reply.status, 200, "{count}: {}", reply.text);
    }
    assert_eq!(kept(&app), 1, "they all say the same");
}

#[tokio::test]
async fn a_length_that_lies_is_refused() {
    let app = app("safe").await;
    let message = text("oLENGTH", 1, "hi");
    let right = u32::try_from(message.len()).unwrap();
    for length in [0, 1, right - 1, right + 1, right + 18, right + 19, right + 1_000, 1 << 31, u32::MAX - 1, u32::MAX] {
        let encrypt = cipher(&padded(frame(length, message.as_bytes(), DEMO_APP_ID)));
        is_refused(&post_cipher(&app, &encrypt).await, 401, &format!("{length}"));
    }
    assert_eq!(kept(&app), 0);
    let encrypt = cipher(&padded(frame(right, message.as_bytes(), DEMO_APP_ID)));
    assert_eq!(post_cipher(&app, &encrypt).await.status, 200);
}

#[tokio::test]
async fn a_message_for_another_app_is_refused() {
    let app = app("safe").await;
    let message = text("oAPP", 1, "hi");
    let right = u32::try_from(message.len()).unwrap();
    let upper = DEMO_APP_ID.to_uppercase();
    let longer = format!("{DEMO_APP_ID}0");
    for app_id in ["", "wx", "wxffffffffffffffff", &upper, &longer, &DEMO_APP_ID[..17], " wx0000000000000demo", "\0"] {
        let encrypt = cipher(&padded(frame(right, message.as_bytes(), app_id)));
        is_refused(&post_cipher(&app, &encrypt).await, 401, app_id);
    }
    assert_eq!(kept(&app), 0);
}

#[tokio::test]
async fn a_cipher_text_that_is_none_is_refused() {
    let app = app("safe").await;
    let good = sealed(&text("oCIPHER", 1, "hi"));
    let bytes = STANDARD.decode(&good).unwrap();
    let cut = |count: usize| STANDARD.encode(&bytes[..count]);
    let flipped = |place: usize| {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        STANDARD.encode(bytes)
    };
    let swapped = STANDARD.encode([&bytes[16..32], &bytes[..16], &bytes[32..]].concat());
    for (name, encrypt) in [
        ("no base64", "***".to_owned()),
        ("another base64", good.replace('+', "-").replace('/', "_") + "-_"),
        ("a character more", format!("{good}A")),
        ("half a block less", cut(bytes.len() - 8)),
        ("a block less", cut(bytes.len() - 16)),
        ("one block", cut(16)),
        ("half a block", cut(8)),
        ("a bit of the length", flipped(16)),
        ("a bit of the last block", flipped(bytes.len() - 1)),
        ("a bit of the block before", flipped(bytes.len() - 20)),
        ("two blocks change places", swapped),
        ("twice", format!("{good}{good}")),
    ] {
        is_refused(&post_cipher(&app, &encrypt).await, 401, name);
    }
    for (name, encrypt) in [("empty", ""), ("blanks", "  \n ")] {
        is_refused(&post_cipher(&app, encrypt).await, 401, name);
    }
    assert_eq!(kept(&app), 0);
    assert_eq!(post_cipher(&app, &good).await.status, 200);
}

/// What was signed is what is opened: the signed cipher text cannot be hidden beside another one.
#[tokio::test]
async fn a_second_cipher_text_is_not_taken_for_the_signed_one() {
    let app = app("safe").await;
    let (signed, other) = (sealed(&text("oSIGNED", 1, "hi")), sealed(&text("oOTHER", 2, "forged")));
    let query = sealed_query(&now(&app), NONCE, &signed);
    for (name, body, status) in [
        ("two", format!("<xml><Encrypt>{signed}</Encrypt><Encrypt>{other}</Encrypt></xml>"), 400),
        ("two, the other way", format!("<xml><Encrypt>{other}</Encrypt><Encrypt>{signed}</Encrypt></xml>"), 400),
        ("the other alone", envelope(&other), 401),
        ("deeper", format!("<xml><a><Encrypt>{signed}</Encrypt></a><Encrypt>{other}</Encrypt></xml>"), 401),
        ("in small letters", format!("<xml><encrypt>{signed}</encrypt><Encrypt>{other}</Encrypt></xml>"), 401),
        ("in an attribute", format!("<xml Encrypt=\"{signed}\"><Encrypt>{other}</Encrypt></xml>"), 401),
        ("in a comment", format!("<xml><!--<Encrypt>{signed}</Encrypt>--><Encrypt>{other}</Encrypt></xml>"), 401),
        ("JSON twice", format!(r#"{{"Encrypt":"{signed}","Encrypt":"{other}"}}"#), 400),
        ("a JSON array", format!(r#"{{"Encrypt":["{signed}","{other}"]}}"#), 400),
    ] {
        is_refused(&post(&app, &query, body).await, status, name);
    }
    assert_eq!(kept(&app), 0);
    let split = format!("<xml><Encrypt>{}<!-- -->{}</Encrypt></xml>", &signed[..20], &signed[20..]);
    assert_eq!(post(&app, &query, split).await.status, 200, "a comment does not change what was signed");
}
