//! Whole requests, made before the clock runs: 2,000 different ones, in turn.

use std::time::Duration;

use serde_json::json;
use wxgate::domain::clock::{Clock, SystemClock};
use wxgate::wechat::crypt::{EncodingAesKey, encrypt};
use wxgate::wechat::signature::sign;

use crate::What;
use crate::processes::{AES_KEY, APP_ID, Gateway, TOKEN};

const DIFFERENT: usize = 2_000;
/// Every one of them is answered once and then known: a callback that comes again is another matter.
const DIFFERENT_CALLBACKS: usize = 200_000;

pub(crate) fn requests(what: What, gateway: &Gateway) -> Vec<Vec<u8>> {
    match what {
        What::Send => (0..DIFFERENT).map(|n| send(gateway, n, json!({}))).collect(),
        What::Accept => (0..DIFFERENT).map(|n| send(gateway, n, json!({"async": true}))).collect(),
        What::Keep => {
            let tomorrow = SystemClock.now().plus(Duration::from_secs(24 * 3600));
            let more = json!({"async": true, "send_at": tomorrow.to_string()});
            (0..DIFFERENT).map(|n| send(gateway, n, more.clone())).collect()
        }
        What::Callback => (0..DIFFERENT_CALLBACKS).map(callback).collect(),
        What::Mixed => (0..DIFFERENT_CALLBACKS)
            .map(|n| match n % 4 {
                0 => callback(n),
                1 => send(gateway, n % DIFFERENT, json!({"async": true})),
                _ => send(gateway, n % DIFFERENT, json!({})),
            })
            .collect(),
    }
}

fn send(gateway: &Gateway, n: usize, more: serde_json::Value) -> Vec<u8> {
    let mut body = json!({
        "touser": format!("oLOAD00000000000000{n:08}"),
        "template_id": "TPL-ORDER-PAID",
        "url": format!("https://shop.example.com/orders/{n:010}?from=wx"),
        "miniprogram": {"appid": "wx3f6f51e5f7d5a0c1", "pagepath": format!("pages/order/detail?id={n:010}")},
        "data": {
            "character_string1": {"value": format!("2026{n:010}")},
            "thing2": {"value": "云南高山小粒咖啡豆 500g"},
            "amount3": {"value": "￥128.00"},
            "time4": {"value": "2026年06月11日 18:30"},
            "thing5": {"value": "您的订单已发货，请注意查收"},
        },
    });
    if let (Some(body), serde_json::Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    let head = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", gateway.key);
    post("/send-template", &head, &body.to_string())
}

/// A receipt of somebody else's message.
fn callback(n: usize) -> Vec<u8> {
    let plain = format!(
        "<xml><ToUserName><![CDATA[gh_load]]></ToUserName><FromUserName><![CDATA[oLOAD00000000000000{:08}]]></FromUserName>\
         <CreateTime>1395658984</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event>\
         <MsgID>{}</MsgID><Status><![CDATA[success]]></Status></xml>",
        n % 5_000,
        4_000_000_000_000 + n
    );
    let random = u128::try_from(n).unwrap_or(0).to_be_bytes();
    let sealed = EncodingAesKey::parse(AES_KEY).map(|key| encrypt(&key, random, plain.as_bytes(), APP_ID));
    let sealed = sealed.unwrap_or_default();
    let (timestamp, nonce) = ("1395658984", n.to_string());
    let signature = sign(&[TOKEN, timestamp, &nonce, &sealed]);
    let path = format!(
        "/wechat/load?signature=x&timestamp={timestamp}&nonce={nonce}&encrypt_type=aes&msg_signature={signature}"
    );
    let body =
        format!("<xml><ToUserName><![CDATA[gh_load]]></ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>");
    post(&path, "Content-Type: text/xml\r\n", &body)
}

fn post(path: &str, head: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
