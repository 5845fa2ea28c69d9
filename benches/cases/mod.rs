//! What every message passes, one function a case: `hot` measures their time, the example `instructions` is counted.

use std::hint::black_box;
use std::time::Duration;

use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::MessageId;
use wxgate::http::api::send_request::SendRequest;
use wxgate::http::extract::json::{FromJson, Json};
use wxgate::telemetry::metrics::Metrics;
use wxgate::wechat::answer::Answer;
use wxgate::wechat::crypt::{EncodingAesKey, decrypt, encrypt};
use wxgate::wechat::inbound::Inbound;
use wxgate::wechat::send::{TemplateMessage, template_body};
use wxgate::wechat::{envelope, errcode, signature};

/// A name, and what is done once.
pub(crate) type Case = (&'static str, Box<dyn FnMut()>);

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const APP_ID: &str = "wx0000000000000demo";
const REQUEST: &str = r#"{"touser":"oLOAD0000000000000000000000","template_id":"TPL-ORDER-PAID","url":"https://shop.example.com/orders/7?from=wx",
    "miniprogram":{"appid":"wx3f6f51e5f7d5a0c1","pagepath":"pages/order/detail?id=7"},
    "data":{"character_string1":{"value":"20260611"},"thing2":{"value":"云南高山小粒咖啡豆 500g"},"amount3":{"value":"￥128.00"},
    "time4":{"value":"2026年06月11日 18:30"},"thing5":{"value":"您的订单已发货，请注意查收"}}}"#;
const ANSWER: &[u8] = br#"{"errcode":0,"errmsg":"ok","msgid":3487542469355618313}"#;
const REFUSAL: &[u8] = br#"{"errcode":43004,"errmsg":"require subscribe rid: 61725984-6126f6f9-040f19c4"}"#;
const RECEIPT: &str = "<xml><ToUserName><![CDATA[gh_load]]></ToUserName><FromUserName><![CDATA[oLOAD0000000000000000000000]]></FromUserName>\
    <CreateTime>1395658984</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event>\
    <MsgID>200163840</MsgID><Status><![CDATA[success]]></Status></xml>";

pub(crate) fn all() -> Vec<Case> {
    vec![
        ("request", Box::new(request)),
        ("body", body()),
        ("answer", Box::new(answer)),
        ("callback", callback()),
        ("time", Box::new(time)),
        ("id", Box::new(id)),
        ("metrics", metrics()),
    ]
}

/// The body of a request, read and checked for its shape.
fn request() {
    let json = Json::parse(black_box(REQUEST)).expect("JSON");
    black_box(SendRequest::from_json(json).expect("a request"));
}

/// The exact JSON for WeChat.
fn body() -> Box<dyn FnMut()> {
    let texts = [("thing1", "云南高山小粒咖啡豆 500g"), ("amount2", "￥128.00"), ("time3", "2026年06月11日 18:30")];
    let data: Vec<_> = texts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned(), None)).collect();
    Box::new(move || {
        black_box(template_body(&TemplateMessage {
            touser: "oLOAD0000000000000000000000",
            template_id: "TPL-ORDER-PAID",
            url: Some("https://shop.example.com/orders/7?from=wx"),
            miniprogram: Some(("wx3f6f51e5f7d5a0c1", Some("pages/order/detail?id=7"))),
            client_msg_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            data: black_box(&data),
        }));
    })
}

/// What WeChat answered, and what its code means.
fn answer() {
    for bytes in [ANSWER, REFUSAL] {
        let answer = Answer::parse(black_box(bytes)).expect("an answer");
        black_box(errcode::class(answer.errcode));
    }
}

/// A receipt: envelope, signature, decryption, event, and what keeps it from being taken twice.
fn callback() -> Box<dyn FnMut()> {
    let key = EncodingAesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").expect("a key");
    let sealed = encrypt(&key, [7; 16], RECEIPT.as_bytes(), APP_ID);
    let signed = signature::sign(&["loadToken", "1395658984", "nonce", &sealed]);
    let body = format!("<xml><ToUserName><![CDATA[gh]]></ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>");
    Box::new(move || {
        let envelope = envelope::parse(black_box(body.as_bytes())).expect("an envelope");
        let sealed = envelope.encrypt.expect("a sealed body");
        assert!(signature::verify(&signed, &["loadToken", "1395658984", "nonce", &sealed]));
        let plain = decrypt(&key, &sealed, APP_ID).expect("a plain body");
        let inbound = Inbound::parse(&plain).expect("an event");
        black_box((inbound.delivery_reports(), inbound.dedupe_key(&plain), inbound.told()));
    })
}

fn time() {
    black_box(black_box(NOW).to_string());
}

fn id() {
    black_box(MessageId::generate(black_box(NOW)).to_string());
}

/// All that one send counts.
fn metrics() -> Box<dyn FnMut()> {
    let metrics = Metrics::new();
    let took = Duration::from_micros(700);
    Box::new(move || {
        metrics.http_request("POST", "/send-template", "200", black_box(took));
        metrics.accept_to_attempt(took);
        metrics.wechat_request("shop", "template_send", "0", took);
    })
}
