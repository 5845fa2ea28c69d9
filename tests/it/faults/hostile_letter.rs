//! Callbacks by hand: every byte of the query and the body as the test wants it, signed with the right token or not.

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use wxgate::domain::clock::Clock;
use wxgate::sandbox::DEMO_APP_ID;
use wxgate::wechat::signature::sign;

use crate::harness::{AES_KEY, CALLBACK_TOKEN, Reply, Setup, TestApp};

pub(super) const NONCE: &str = "1514711492";

pub(super) async fn app(mode: &'static str) -> TestApp {
    TestApp::start_with(Setup { mode, ..Setup::default() }).await
}

pub(super) fn now(app: &TestApp) -> String {
    app.clock.now().as_seconds().to_string()
}

/// A text message of a user.
pub(super) fn text(from: &str, msg_id: u64, content: &str) -> String {
    format!(
        "<xml><ToUserName>gh_1</ToUserName><FromUserName>{from}</FromUserName><CreateTime>1767400000</CreateTime>\
         <MsgType>text</MsgType><Content>{content}</Content><MsgId>{msg_id}</MsgId></xml>"
    )
}

/// A receipt.
pub(super) fn receipt(from: &str, msgid: &str, status: &str) -> String {
    format!(
        "<xml><ToUserName>gh_1</ToUserName><FromUserName>{from}</FromUserName><CreateTime>1767400000</CreateTime>\
         <MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>{msgid}</MsgID><Status>{status}</Status></xml>"
    )
}

/// The query of a plain callback, rightly signed.
pub(super) fn plain_query(timestamp: &str, nonce: &str) -> String {
    let signature = sign(&[CALLBACK_TOKEN, timestamp, nonce]);
    format!("signature={signature}&timestamp={timestamp}&nonce={nonce}&openid=o")
}

/// The query of a sealed callback, rightly signed.
pub(super) fn sealed_query(timestamp: &str, nonce: &str, encrypt: &str) -> String {
    let msg_signature = sign(&[CALLBACK_TOKEN, timestamp, nonce, encrypt]);
    format!("{}&encrypt_type=aes&msg_signature={msg_signature}", plain_query(timestamp, nonce))
}

pub(super) fn envelope(encrypt: &str) -> String {
    format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>")
}

/// What lies inside the cipher text before it is padded.
pub(super) fn frame(length: u32, message: &[u8], app_id: &str) -> Vec<u8> {
    [&[7; 16], &length.to_be_bytes()[..], message, app_id.as_bytes()].concat()
}

/// As the protocol pads.
pub(super) fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    let count = 32 - frame.len() % 32;
    frame.resize(frame.len() + count, u8::try_from(count).unwrap());
    frame
}

/// Whole cipher blocks → the text for `Encrypt`, whatever is in them.
pub(super) fn cipher(blocks: &[u8]) -> String {
    // 43 characters are 258 bits, and the last two mean nothing.
    let tolerant = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let key = GeneralPurpose::new(&base64::alphabet::STANDARD, tolerant).decode(format!("{AES_KEY}="));
    let key: [u8; 32] = key.unwrap().try_into().unwrap();
    let iv: [u8; 16] = key[..16].try_into().unwrap();
    let mut bytes = blocks.to_vec();
    let mut encryptor = cbc::Encryptor::<Aes256>::new(&key.into(), &iv.into());
    let (chunks, rest) = bytes.as_chunks_mut::<16>();
    assert!(rest.is_empty(), "whole blocks");
    for block in chunks {
        encryptor.encrypt_block(block.into());
    }
    STANDARD.encode(bytes)
}

/// A message sealed as the protocol says.
pub(super) fn sealed(message: &str) -> String {
    let length = u32::try_from(message.len()).unwrap();
    cipher(&padded(frame(length, message.as_bytes(), DEMO_APP_ID)))
}

pub(super) async fn post(app: &TestApp, query: &str, body: impl Into<reqwest::Body>) -> Reply {
    post_to(app, "shop", query, body).await
}

pub(super) async fn post_to(app: &TestApp, account: &str, query: &str, body: impl Into<reqwest::Body>) -> Reply {
    app.anonymous(reqwest::Method::POST, &format!("/wechat/{account}?{query}")).body("text/xml", body).send().await
}

/// Sealed, signed and posted as WeChat would.
pub(super) async fn post_sealed(app: &TestApp, message: &str) -> Reply {
    let encrypt = sealed(message);
    post(app, &sealed_query(&now(app), NONCE, &encrypt), envelope(&encrypt)).await
}

/// How many callbacks are on the disk.
pub(super) fn kept(app: &TestApp) -> i64 {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.query_row("SELECT count(*) FROM callbacks", [], |row| row.get(0)).unwrap()
}

/// Refused in few words, which do not say why.
#[track_caller]
pub(super) fn is_refused(reply: &Reply, status: u16, what: &str) {
    let word = match status {
        400 => "bad request",
        401 => "unauthorized",
        413 => "too large",
        other => panic!("no refusal: {other}"),
    };
    assert_eq!((reply.status, reply.text.as_str()), (status, word), "{what}");
}
