//! A callback as WeChat posts it in safe mode.

use wxgate::domain::clock::Timestamp;
use wxgate::wechat::crypt::{self, EncodingAesKey};
use wxgate::wechat::signature;

use super::place::{AES_KEY, APP_ID, TOKEN};

/// What is posted: the query, and the body.
pub(crate) struct Letter {
    pub(crate) query: String,
    pub(crate) body: String,
}

/// Signs and seals. `number` makes nonce and padding different for each.
pub(crate) fn seal(plain: &str, number: usize, now: Timestamp) -> anyhow::Result<Letter> {
    let key = EncodingAesKey::parse(AES_KEY)?;
    let (timestamp, nonce) = (now.as_seconds().to_string(), format!("n{number}"));
    let random = u128::try_from(number)?.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes();
    let encrypt = crypt::encrypt(&key, random, plain.as_bytes(), APP_ID);
    let signed = signature::sign(&[TOKEN, &timestamp, &nonce]);
    let sealed = signature::sign(&[TOKEN, &timestamp, &nonce, &encrypt]);
    let query =
        format!("signature={signed}&timestamp={timestamp}&nonce={nonce}&encrypt_type=aes&msg_signature={sealed}");
    let body = format!(
        "<xml><ToUserName><![CDATA[gh_de0000000001]]></ToUserName><Encrypt><![CDATA[{encrypt}]]></Encrypt></xml>"
    );
    Ok(Letter { query, body })
}

/// The receipt of a template message.
pub(crate) fn receipt(openid: &str, msgid: &str, now: Timestamp) -> String {
    format!(
        "<xml><ToUserName><![CDATA[gh_de0000000001]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>\
         <CreateTime>{}</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event>\
         <MsgID>{msgid}</MsgID><Status><![CDATA[success]]></Status></xml>",
        now.as_seconds()
    )
}

/// A text with this id.
pub(crate) fn text(openid: &str, msg_id: u64, now: Timestamp) -> String {
    format!(
        "<xml><ToUserName><![CDATA[gh_de0000000001]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>\
         <CreateTime>{}</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[在吗？我的订单到哪里了]]></Content>\
         <MsgId>{msg_id}</MsgId></xml>",
        now.as_seconds()
    )
}
