//! Every kind in both forms, hostile text, and the sealed body.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::wechat::tree::{self, Node};

const TO: &str = "oTEST000000000000000000000001";
const FROM: &str = "gh_0123456789ab";

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn article(number: usize) -> Article {
    Article {
        title: format!("T{number}"),
        description: format!("D{number}"),
        pic_url: format!("https://example.com/{number}.png"),
        url: format!("https://example.com/{number}"),
    }
}

fn read(body: &str) -> Node {
    tree::parse(body.as_bytes()).unwrap().0
}

#[rstest]
#[case::text(Reply::Text { content: "你好\n<b>".into() }, "<Content><![CDATA[你好\n<b>]]></Content>")]
#[case::image(Reply::Image { media_id: "M".into() }, "<Image><MediaId><![CDATA[M]]></MediaId></Image>")]
#[case::voice(Reply::Voice { media_id: "M".into() }, "<Voice><MediaId><![CDATA[M]]></MediaId></Voice>")]
#[case::video(
    Reply::Video { media_id: "M".into(), title: some("T"), description: None },
    "<Video><MediaId><![CDATA[M]]></MediaId><Title><![CDATA[T]]></Title></Video>"
)]
#[case::music(
    Reply::Music { title: None, description: some("D"), music_url: some("U"), hq_music_url: some("H"), thumb_media_id: "M".into() },
    "<Music><Description><![CDATA[D]]></Description><MusicUrl><![CDATA[U]]></MusicUrl><HQMusicUrl><![CDATA[H]]></HQMusicUrl>\
     <ThumbMediaId><![CDATA[M]]></ThumbMediaId></Music>"
)]
#[case::news(
    Reply::News { articles: vec![article(1)] },
    "<ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[T1]]></Title><Description><![CDATA[D1]]></Description>\
     <PicUrl><![CDATA[https://example.com/1.png]]></PicUrl><Url><![CDATA[https://example.com/1]]></Url></item></Articles>"
)]
#[case::transfer(Reply::TransferCustomerService { kf_account: None }, "")]
#[case::transfer_to(
    Reply::TransferCustomerService { kf_account: some("a@b") },
    "<TransInfo><KfAccount><![CDATA[a@b]]></KfAccount></TransInfo>"
)]
fn every_kind_is_written(#[case] reply: Reply, #[case] inner: &str) {
    let head = format!(
        "<xml><ToUserName><![CDATA[{TO}]]></ToUserName><FromUserName><![CDATA[{FROM}]]></FromUserName>\
         <CreateTime>1700000000</CreateTime><MsgType><![CDATA[{}]]></MsgType>",
        reply.msg_type()
    );
    let xml = render(&reply, TO, FROM, 1_700_000_000, Format::Xml);
    assert_eq!(xml, format!("{head}{inner}</xml>"));
    let json = render(&reply, TO, FROM, 1_700_000_000, Format::Json);
    assert_eq!(read(&json).text_of("MsgType"), Some(reply.msg_type()));
    if !matches!(reply, Reply::News { .. }) {
        assert_eq!(read(&json), read(&xml));
    }
}

#[test]
fn json_is_ordered_and_articles_are_an_array() {
    let json = render(&Reply::News { articles: vec![article(1), article(2)] }, TO, FROM, 5, Format::Json);
    assert!(json.starts_with(r#"{"ToUserName":"oTEST000000000000000000000001","FromUserName":"gh_0123456789ab","CreateTime":5,"MsgType":"news","ArticleCount":2,"Articles":{"item":[{"Title":"T1","#), "{json}");
}

#[test]
fn news_beyond_eight_are_left_out() {
    let reply = Reply::News { articles: (0..12).map(article).collect() };
    for format in [Format::Xml, Format::Json] {
        let root = read(&render(&reply, TO, FROM, 5, format));
        assert_eq!(root.text_of("ArticleCount"), Some("8"));
        assert_eq!(root.child("Articles").unwrap().all("item").count(), 8);
    }
}

#[test]
fn the_end_of_a_section_inside_a_text_is_split() {
    let content = "a]]>b]]]]>]]\u{0}>".to_owned();
    let xml = render(&Reply::Text { content }, TO, FROM, 5, Format::Xml);
    assert!(xml.contains("<![CDATA[a]]]]><![CDATA[>b]]]]]]><![CDATA[>]]]]><![CDATA[>]]>"), "{xml}");
    assert_eq!(read(&xml).text_of("Content"), Some("a]]>b]]]]>]]>"));
}

#[test]
fn characters_that_xml_forbids_are_dropped() {
    let content = "a\u{0}\u{8}\u{b}\u{1f}\u{fffe}\u{ffff}b\tc\nd😀".to_owned();
    for format in [Format::Xml, Format::Json] {
        let body = render(&Reply::Text { content: content.clone() }, TO, FROM, 5, format);
        assert_eq!(read(&body).text_of("Content"), Some("ab\tc\nd😀"));
    }
}

#[rstest]
fn a_sealed_reply_is_signed_and_opens_again(#[values(Format::Xml, Format::Json)] format: Format) {
    let key = EncodingAesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
    let with = SealWith {
        token: "token",
        key: &key,
        app_id: "wx0000000000000001",
        random: *b"0123456789abcdef",
        timestamp: 1_700_000_000,
        nonce: "n]]>\u{1}once",
    };
    let root = read(&seal("plain 文", &with, format));
    let part = |name: &str| root.text_of(name).unwrap();
    assert!(signature::verify(part("MsgSignature"), &["token", part("TimeStamp"), part("Nonce"), part("Encrypt")]));
    assert_eq!((part("TimeStamp"), part("Nonce")), ("1700000000", "n]]>once"));
    assert_eq!(crypt::decrypt(&key, part("Encrypt"), "wx0000000000000001").unwrap(), "plain 文".as_bytes());
}

#[test]
fn the_published_sealed_reply_is_reproduced() {
    let key = EncodingAesKey::parse(&"A".repeat(43)).unwrap();
    let with = SealWith {
        token: "AAAAA",
        key: &key,
        app_id: "wxba5fad812f8e6fb9",
        random: *b"707722b803182950",
        timestamp: 1_713_424_427,
        nonce: "415670741",
    };
    let encrypt = "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==";
    let signature = "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1";
    assert_eq!(
        seal(r#"{"demo_resp":"good luck"}"#, &with, Format::Json),
        format!(r#"{{"Encrypt":"{encrypt}","MsgSignature":"{signature}","TimeStamp":1713424427,"Nonce":"415670741"}}"#)
    );
    assert_eq!(
        seal(r#"{"demo_resp":"good luck"}"#, &with, Format::Xml),
        format!(
            "<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt><MsgSignature><![CDATA[{signature}]]></MsgSignature>\
             <TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[415670741]]></Nonce></xml>"
        )
    );
}

proptest! {
    #[test]
    fn any_text_comes_back_out_of_both_forms(content in "[\\]><a-c&\"\\\\中😀 ]{0,60}") {
        let expected = content.trim();
        for format in [Format::Xml, Format::Json] {
            let root = read(&render(&Reply::Text { content: content.clone() }, TO, FROM, 1, format));
            prop_assert_eq!(root.text_of("Content").unwrap_or_default(), expected);
        }
    }
}
