//! Callbacks that come again, late, early, or with a query that means two things.

use std::time::Duration;

use futures_util::future::join_all;
use wxgate::sandbox::DEMO_APP_ID;
use wxgate::wechat::signature::sign;

use super::hostile_letter::{
    NONCE, app, envelope, is_refused, kept, now, plain_query, post, receipt, sealed, sealed_query, text,
};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp};

#[tokio::test]
async fn the_very_same_request_again_gets_the_first_answer_and_does_nothing() {
    let app = app("safe").await;
    for (number, message) in [
        text("oAGAIN", 1, "help"),
        receipt("oAGAIN", "3487542469355618313", "success"),
        "<xml><FromUserName>oAGAIN</FromUserName><CreateTime>1767400000</CreateTime><MsgType>event</MsgType>\
         <Event>subscribe</Event></xml>"
            .to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let encrypt = sealed(&message);
        let query = sealed_query(&now(&app), NONCE, &encrypt);
        let first = post(&app, &query, envelope(&encrypt)).await;
        assert_eq!(first.status, 200, "{}", first.text);
        for _ in 0..3 {
            let again = post(&app, &query, envelope(&encrypt)).await;
            assert_eq!(again.status, 200, "{}", again.text);
        }
        assert_eq!(kept(&app), i64::try_from(number).unwrap() + 1, "{message}");
        app.advance(Duration::from_secs(601)).await;
        is_refused(&post(&app, &query, envelope(&encrypt)).await, 401, "ten minutes later");
    }
}

#[tokio::test]
async fn fifty_copies_at_once_are_one() {
    let app = app("safe").await;
    for message in
        [text("oFIFTY", 1, "hi"), receipt("oFIFTY", "1", "success"), receipt("oFIFTY", "2", "failed:user block")]
    {
        let before = kept(&app);
        let encrypt = sealed(&message);
        let query = sealed_query(&now(&app), NONCE, &encrypt);
        let copies = (0..50).map(|_| post(&app, &query, envelope(&encrypt)));
        for reply in join_all(copies).await {
            assert_eq!(reply.status, 200, "{}", reply.text);
        }
        assert_eq!(kept(&app) - before, 1);
    }
    assert_eq!(app.metric(r#"wxgate_receipts_total{account="shop",status="unmatched"}"#).await, 2.0);
}

#[tokio::test]
async fn a_timestamp_is_near_enough_or_it_is_not() {
    let app = app("plain").await;
    let at = |offset: i64| (now(&app).parse::<i64>().unwrap() + offset).to_string();
    for (number, offset) in [0, -599, -600, 599, 600].into_iter().enumerate() {
        let body = text("oNEAR", 100 + number as u64, "hi");
        assert_eq!(post(&app, &plain_query(&at(offset), NONCE), body).await.status, 200, "{offset}");
    }
    let mut far: Vec<String> = [-601, 601, -3_600, 3_600, 86_400 * 365].map(at).to_vec();
    far.extend(
        [
            "",
            "0",
            "-1",
            "now",
            "1767400000.5",
            "1767400000000",
            "0x6957d940",
            "99999999999999999999",
            "9223372036854775807",
            "-9223372036854775808",
            "１７６７４０００００",
            "1767400000 ",
        ]
        .map(str::to_owned),
    );
    for timestamp in far {
        let signature = sign(&[CALLBACK_TOKEN, &timestamp, NONCE]);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("signature", &*signature), ("timestamp", &timestamp), ("nonce", NONCE)])
            .finish();
        is_refused(&post(&app, &query, text("oFAR", 1, "hi")).await, 401, &timestamp);
    }
    assert_eq!(kept(&app), 5);
}

/// The signature is over the parts, sorted and run together: moving digits from one part to its neighbour keeps it.
#[tokio::test]
async fn digits_that_move_between_the_signed_parts_do_not_make_an_old_signature_new() {
    let app = app("plain").await;
    let stale = (now(&app).parse::<i64>().unwrap() - 3_600).to_string();
    let signature = sign(&[CALLBACK_TOKEN, &stale, NONCE]);
    let joined = format!("{NONCE}{stale}");
    let mut kept_their_signature = 0;
    for cut in 1..joined.len() {
        let (first, second) = joined.split_at(cut);
        for (nonce, timestamp) in [(first, second), (second, first)] {
            kept_their_signature += usize::from(sign(&[CALLBACK_TOKEN, timestamp, nonce]) == signature);
            let query = format!("signature={signature}&timestamp={timestamp}&nonce={nonce}");
            is_refused(&post(&app, &query, text("oMOVED", 1, "hi")).await, 401, &query);
        }
    }
    assert!(kept_their_signature > 2, "{kept_their_signature}");
    assert_eq!(kept(&app), 0);
}

#[tokio::test]
async fn a_query_that_says_a_thing_twice_is_none() {
    let app = app("plain").await;
    let good = plain_query(&now(&app), NONCE);
    let signature = sign(&[CALLBACK_TOKEN, &now(&app), NONCE]);
    for (name, query, status) in [
        ("two signatures", format!("{good}&signature={signature}"), 400),
        ("a wrong one and a right one", format!("signature=x&{good}"), 400),
        ("an empty one and a right one", format!("signature=&{good}"), 400),
        ("a right one and an empty one", format!("{good}&signature="), 400),
        ("two timestamps", format!("{good}&timestamp=1"), 400),
        ("an empty timestamp before", format!("timestamp=&{good}"), 400),
        ("two nonces", format!("{good}&nonce=1"), 400),
        ("two encrypt types", format!("{good}&encrypt_type=raw&encrypt_type=aes"), 400),
        ("the same name in disguise", format!("{good}&sign%61ture=x"), 400),
        ("an array", good.replace("signature=", "signature[]="), 401),
        ("an array with a place", good.replace("signature=", "signature[0]="), 401),
        ("another case", good.replace("signature=", "Signature="), 401),
        ("semicolons", good.replace('&', ";"), 401),
        ("the signature in capitals", good.replace(&signature, &signature.to_uppercase()), 401),
        ("a blank behind it", good.replace(&signature, &format!("{signature}%20")), 401),
        ("a zero byte behind it", good.replace(&signature, &format!("{signature}%00")), 401),
        ("half of it", good.replace(&signature, &signature[..20]), 401),
        ("nothing", String::new(), 401),
    ] {
        is_refused(&post(&app, &query, text("oTWICE", 1, "hi")).await, status, name);
    }
    assert_eq!(kept(&app), 0);
    assert_eq!(
        post(&app, &format!("{good}&more=1&more=2"), text("oTWICE", 1, "hi")).await.status,
        200,
        "other names are WeChat's"
    );
}

#[tokio::test]
async fn a_safe_account_cannot_be_talked_down_to_plaintext() {
    let app = app("safe").await;
    let (body, encrypt) = (text("oDOWN", 1, "help"), sealed(&text("oDOWN", 1, "help")));
    let (plain, sealed) = (plain_query(&now(&app), NONCE), sealed_query(&now(&app), NONCE, &encrypt));
    let both = body.replace("</xml>", &format!("<Encrypt>{encrypt}</Encrypt></xml>"));
    for (name, query, body) in [
        ("plaintext, signed as such", plain.clone(), body.clone()),
        ("encrypt_type raw", format!("{plain}&encrypt_type=raw"), body.clone()),
        ("encrypt_type AES", format!("{plain}&encrypt_type=AES"), body.clone()),
        ("encrypt_type empty", format!("{plain}&encrypt_type="), body.clone()),
        ("aes without a cipher text", sealed.clone(), body.clone()),
        ("aes with an empty one", sealed.clone(), body.replace("</xml>", "<Encrypt></Encrypt></xml>")),
        ("a cipher text without aes", plain.clone(), envelope(&encrypt)),
        ("both, without aes", plain.clone(), both.clone()),
        ("both, signed for plaintext", format!("{plain}&encrypt_type=aes"), both.clone()),
        (
            "the plain signature as msg_signature",
            format!("{plain}&encrypt_type=aes&msg_signature={}", sign(&[CALLBACK_TOKEN, &now(&app), NONCE])),
            both,
        ),
    ] {
        is_refused(&post(&app, &query, body).await, 401, name);
    }
    assert_eq!(kept(&app), 0);
}

#[tokio::test]
async fn a_callback_of_one_account_is_none_of_another() {
    let config = format!(
        "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\ntoken = \"othertoken\"\n\
         encoding_aes_key = \"{AES_KEY}\"\n[accounts.twin]\napp_id = \"wx000000000000twin\"\napp_secret = \"twin-secret\"\n\
         token = \"{CALLBACK_TOKEN}\"\nencoding_aes_key = \"{AES_KEY}\"\n"
    );
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let encrypt = sealed(&text("oOURS", 1, "hi"));
    let query = sealed_query(&now(&app), NONCE, &encrypt);
    for account in ["other", "twin"] {
        let reply = super::hostile_letter::post_to(&app, account, &query, envelope(&encrypt)).await;
        is_refused(&reply, 401, &format!("{account}: another token, or the same and another {DEMO_APP_ID}"));
    }
    assert_eq!(kept(&app), 0);
    assert_eq!(post(&app, &query, envelope(&encrypt)).await.status, 200);
}
