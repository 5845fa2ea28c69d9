//! Recorded bodies in both forms, labels, and which callbacks are one.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::wechat::message::Place;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wechat/");
const FROM: &str = "oTEST000000000000000000000001";

fn recorded(file: &str) -> (Vec<u8>, Inbound) {
    let body = std::fs::read(format!("{FIXTURES}{file}")).unwrap();
    let inbound = Inbound::parse(&body).unwrap();
    (body, inbound)
}

fn key_of(body: &str) -> String {
    Inbound::parse(body.as_bytes()).unwrap().dedupe_key(body.as_bytes())
}

fn owned(text: &str) -> String {
    text.to_owned()
}

#[test]
fn every_recorded_file_is_read_and_named_after_its_label() {
    let mut read = 0;
    for entry in std::fs::read_dir(FIXTURES).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let Some((label, form)) = file.rsplit_once('.').filter(|(_, form)| ["xml", "json"].contains(form)) else {
            continue;
        };
        let (_, inbound) = recorded(&file);
        assert_eq!(inbound.label(), label, "{file}");
        assert_eq!(inbound.format, if form == "xml" { Format::Xml } else { Format::Json }, "{file}");
        if label != "other" {
            assert_eq!((inbound.to_user_name.as_str(), inbound.from_user_name.as_str()), ("gh_0123456789ab", FROM));
            assert_eq!(inbound.create_time, 1_700_000_000);
        }
        read += 1;
    }
    assert_eq!(read, 110);
}

#[rstest]
#[case("text", Message::Text { content: owned("你好，wxgate 😀 <&>"), menu_id: None })]
#[case("image", Message::Image { pic_url: owned("http://mmbiz.example.com/pic/1"), media_id: owned("MEDIA-ID-0001") })]
#[case("voice", Message::Voice {
    media_id: owned("MEDIA-ID-0001"),
    format: owned("amr"),
    recognition: Some(owned("腾讯微信团队")),
    media_id_16k: Some(owned("MEDIA-ID-0001-16K")),
})]
#[case("video", Message::Video { media_id: owned("MEDIA-ID-0001"), thumb_media_id: owned("THUMB-0001") })]
#[case("shortvideo", Message::ShortVideo { media_id: owned("MEDIA-ID-0001"), thumb_media_id: owned("THUMB-0001") })]
#[case("location", Message::Location(Place {
    latitude: Some(23.134_521),
    longitude: Some(113.358_803),
    scale: Some(20),
    label: Some(owned("广州市海珠区")),
    poi_name: None,
}))]
#[case("link", Message::Link {
    title: owned("公众平台官网链接"),
    description: owned("公众平台官网链接"),
    url: owned("https://example.com/a?b=1&c=2"),
})]
#[case("file", Message::Unknown { msg_type: owned("file") })]
fn every_message_is_read_in_both_forms(#[case] name: &str, #[case] expected: Message) {
    for form in ["xml", "json"] {
        let (_, inbound) = recorded(&format!("{name}.{form}"));
        // Beyond 2^53, and odd: a double would have lost it.
        let msg_id = Some(owned("31007199254740993"));
        assert_eq!(inbound.kind, Kind::Message { msg_id, message: expected.clone() }, "{form}");
        assert!(inbound.delivery_reports().is_empty());
    }
}

#[test]
fn blanks_and_another_order_of_the_tags_change_nothing() {
    let (tidy_body, tidy) = recorded("text.xml");
    let (loose_body, loose) = recorded("variants/text.loose.xml");
    assert_eq!(tidy.kind, loose.kind);
    assert_eq!(tidy.dedupe_key(&tidy_body), loose.dedupe_key(&loose_body));
}

#[test]
fn the_article_of_a_message_is_told() {
    let article = Article { msg_data_id: owned("2247483649"), index: Some(2) };
    assert_eq!(recorded("variants/text.article.xml").1.article(), Some(article));
    assert_eq!(recorded("text.xml").1.article(), None);
    let (_, menu) = recorded("variants/text.menu.json");
    let Kind::Message { message: Message::Text { menu_id, .. }, .. } = menu.kind else { panic!("a text") };
    assert_eq!(menu_id.as_deref(), Some("101"));
}

#[test]
fn a_probe_of_the_console_is_something_else() {
    let (_, probe) = recorded("other.json");
    assert_eq!((probe.kind, probe.create_time), (Kind::Other, 0));
}

#[rstest]
#[case("<xml><MsgType>event</MsgType></xml>", "event")]
#[case("<xml><MsgType>EVENT</MsgType><Event>SCAN</Event></xml>", "event.SCAN")]
#[case("<xml><MsgType>te xt/../用</MsgType></xml>", "te_xt_..__")]
#[case("<xml><MsgType> </MsgType><Event>SCAN</Event></xml>", "other")]
fn a_label_is_what_wechat_wrote_made_harmless(#[case] body: &str, #[case] label: &str) {
    assert_eq!(Inbound::parse(body.as_bytes()).unwrap().label(), label);
}

#[test]
fn the_debug_form_shows_neither_sender_nor_content() {
    let shown = format!("{:?}", recorded("text.xml").1);
    assert!(!shown.contains(FROM) && !shown.contains("你好") && shown.contains("text"), "{shown}");
}

#[test]
fn keys_have_their_documented_forms() {
    let (body, text) = recorded("text.xml");
    assert_eq!(text.dedupe_key(&body), format!("m:{FROM}:31007199254740993"));
    let (body, receipt) = recorded("event.TEMPLATESENDJOBFINISH.xml");
    assert_eq!(receipt.dedupe_key(&body), format!("r:TEMPLATESENDJOBFINISH:3487542469355618313:{FROM}"));
    let (body, follow) = recorded("event.subscribe.xml");
    let key = follow.dedupe_key(&body);
    assert!(key.starts_with("e:#") && key.len() == 67, "{key}");
}

#[test]
fn the_same_message_in_both_forms_and_modes_is_one() {
    for label in ["text", "event.TEMPLATESENDJOBFINISH", "event.subscribe_msg_sent_event"] {
        let keys = ["xml", "json"].map(|form| {
            let (body, inbound) = recorded(&format!("{label}.{form}"));
            inbound.dedupe_key(&body)
        });
        assert_eq!(keys[0], keys[1], "{label}");
    }
}

#[test]
fn a_message_id_of_two_senders_is_two_messages() {
    let body =
        |from: &str| format!("<xml><FromUserName>{from}</FromUserName><MsgType>text</MsgType><MsgId>7</MsgId></xml>");
    assert_ne!(key_of(&body("o1")), key_of(&body("o2")));
}

#[test]
fn two_receipts_of_one_second_are_two() {
    let body = |msgid: &str| {
        format!(
            "<xml><FromUserName>o1</FromUserName><CreateTime>1700000000</CreateTime><MsgType>event</MsgType>\
             <Event>TEMPLATESENDJOBFINISH</Event><MsgID>{msgid}</MsgID><Status>success</Status></xml>"
        )
    };
    assert_ne!(key_of(&body("7")), key_of(&body("8")));
    assert_eq!(key_of(&body("7")), key_of(&body("7").replace("success", "failed:user block")));
    // Without an id of its own it is told apart by all it says.
    assert_ne!(key_of(&body("0")), key_of(&body("0").replace("1700000000", "1700000001")));
    assert!(key_of(&body("")).starts_with("e:#"));
}

#[test]
fn messages_without_an_id_are_told_apart_by_all_they_say() {
    let body = |text: &str, id: &str| {
        format!(r#"{{"FromUserName":"o1","CreateTime":5,"MsgType":"text","Content":"{text}"{id}}}"#)
    };
    assert_ne!(key_of(&body("a", "")), key_of(&body("b", "")));
    assert_ne!(key_of(&body("a", r#","MsgId":0"#)), key_of(&body("b", r#","MsgId":0"#)));
    assert_eq!(key_of(&body("a", "")), key_of(&body("a", "")));
}

#[test]
fn parts_cannot_run_over_into_each_other() {
    let body = |from: &str, id: &str| format!(r#"{{"FromUserName":"{from}","MsgType":"text","MsgId":"{id}"}}"#);
    assert_ne!(key_of(&body("a:b", "c")), key_of(&body("a", "b:c")));
    assert!(key_of(&body(&"o".repeat(99), "7")).starts_with("m:#"));
}

proptest! {
    #[test]
    fn labels_and_keys_keep_their_bounds(
        msg_type in "(event|text|\\PC{0,80})",
        event in "(SCAN|TEMPLATESENDJOBFINISH|\\PC{0,200})",
        from in "\\PC{0,200}",
        id in "[0-9]{0,120}",
    ) {
        let body = serde_json::json!({
            "MsgType": msg_type, "Event": event, "FromUserName": from, "MsgId": id, "MsgID": id,
        }).to_string();
        let inbound = Inbound::parse(body.as_bytes()).unwrap();
        let label = inbound.label();
        prop_assert!(label.len() <= 64 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)), "{}", label);
        prop_assert!(!label.is_empty());
        let key = inbound.dedupe_key(body.as_bytes());
        prop_assert!(key.len() <= 100 && key.is_ascii(), "{}", key);
        let _ = inbound.delivery_reports();
    }
}
