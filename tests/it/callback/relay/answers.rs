//! What the back end gets, and what the person sees.

use wxgate::domain::account::CallbackMode;
use wxgate::sandbox::CallbackRequest;
use wxgate::wechat::reply::{Article, Reply};
use wxgate::wechat::signature;

use super::backend::{BackEnd, Say, text};
use super::{kept, relayed, relays, says, shown};
use crate::harness::{CALLBACK_TOKEN, Setup, TestApp};

/// In every mode the back end sees the same plain request, byte for byte.
async fn it_gets_what_was_inside(mode: &'static str, callback_mode: CallbackMode, format: &str, media: &str) {
    let backend = BackEnd::start(Say::Reply(text("from the back end"))).await;
    let app = relayed(&backend, mode, "").await;
    let body = match format {
        "xml" => {
            "<xml>\n<ToUserName><![CDATA[gh_de0000000001]]></ToUserName> <FromUserName>oA</FromUserName>\
                  <CreateTime>1767400000</CreateTime><MsgType>text</MsgType><Content>茶 &amp; so</Content><MsgId>7</MsgId><New/></xml>"
        }
        _ => {
            r#"{"ToUserName":"gh_de0000000001", "FromUserName":"oA","CreateTime":1767400000,"MsgType":"text","Content":"茶","MsgId":7}"#
        }
    };
    let request = CallbackRequest::raw(body).mode(callback_mode).format(format);
    let result = app.sandbox.send_callback(request).await.unwrap();
    assert_eq!(result.decrypted_reply.is_some(), callback_mode != CallbackMode::Plain, "{result:?}");
    let reply = shown(&result).unwrap();
    assert!(reply.contains("from the back end") && reply.contains("oA"), "{reply}");
    let asked = backend.asked().remove(0);
    assert_eq!(String::from_utf8(asked.body).unwrap(), body);
    assert_eq!(asked.content_type, media);
    let mut names: Vec<_> = asked.query.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["app", "nonce", "openid", "signature", "timestamp"]);
    assert_eq!(asked.query["openid"], "oA");
    let parts = [CALLBACK_TOKEN, asked.query["timestamp"].as_str(), asked.query["nonce"].as_str()];
    assert!(signature::verify(&asked.query["signature"], &parts));
    assert_eq!(kept(&app), [Some("answered".to_owned())]);
    assert_eq!(relays(&app, "answered").await, 1.0);
    assert_eq!(app.metric("wxgate_relay_duration_seconds_count{account=\"shop\"}").await, 1.0);
}

#[tokio::test]
async fn in_safe_mode_as_xml() {
    it_gets_what_was_inside("safe", CallbackMode::Safe, "xml", "text/xml").await;
}

#[tokio::test]
async fn in_safe_mode_as_json() {
    it_gets_what_was_inside("safe", CallbackMode::Safe, "json", "application/json").await;
}

#[tokio::test]
async fn in_plain_mode_as_xml() {
    it_gets_what_was_inside("plain", CallbackMode::Plain, "xml", "text/xml").await;
}

#[tokio::test]
async fn in_plain_mode_as_json() {
    it_gets_what_was_inside("plain", CallbackMode::Plain, "json", "application/json").await;
}

#[tokio::test]
async fn in_compatible_mode_it_gets_the_sealed_part_alone() {
    it_gets_what_was_inside("compatible", CallbackMode::Safe, "xml", "text/xml").await;
    let backend = BackEnd::start(Say::Reply(text("both"))).await;
    let app = relayed(&backend, "compatible", "").await;
    let request = CallbackRequest::text("oA", "hi").mode(CallbackMode::Compatible);
    assert!(shown(&app.sandbox.send_callback(request).await.unwrap()).unwrap().contains("both"));
    let body = String::from_utf8(backend.asked().remove(0).body).unwrap();
    assert!(body.contains("hi") && !body.contains("<Encrypt>"), "{body}");
}

#[tokio::test]
async fn every_type_of_reply_comes_through() {
    let backend = BackEnd::start(Say::Reply(text(""))).await;
    let app = relayed(&backend, "safe", "").await;
    let id = || "M-1".to_owned();
    let article = Article {
        title: "t".to_owned(),
        description: "d".to_owned(),
        pic_url: "https://p".to_owned(),
        url: "https://u".to_owned(),
    };
    for reply in [
        text("words ]]> & <b>"),
        Reply::Image { media_id: id() },
        Reply::Voice { media_id: id() },
        Reply::Video { media_id: id(), title: Some("t".to_owned()), description: None },
        Reply::Music {
            title: None,
            description: None,
            music_url: Some("https://m".to_owned()),
            hq_music_url: None,
            thumb_media_id: id(),
        },
        Reply::News { articles: vec![article.clone(), article] },
        Reply::TransferCustomerService { kf_account: Some("a@b".to_owned()) },
        Reply::TransferBizAiIvr,
    ] {
        backend.say(Say::Reply(reply.clone()));
        let shown = says(&app, "oA", "hi").await.unwrap();
        assert!(shown.contains(&format!("<MsgType><![CDATA[{}]]></MsgType>", reply.msg_type())), "{shown}");
    }
    assert_eq!(relays(&app, "answered").await, 8.0);
}

#[tokio::test]
async fn its_own_words_are_handed_on_as_it_wrote_them() {
    let backend = BackEnd::start(Say::Text(
        200,
        "\n<xml><FromUserName><from></FromUserName><ToUserName><to></ToUserName><CreateTime>5</CreateTime>\
         <MsgType>text</MsgType><Content>  two blanks  </Content><Odd>1</Odd></xml> "
            .to_owned(),
    ))
    .await;
    let app = relayed(&backend, "safe", "").await;
    let shown = says(&app, "oA", "hi").await.unwrap();
    assert!(shown.starts_with("<xml><FromUserName>") && shown.ends_with("<Odd>1</Odd></xml>"), "{shown}");
    assert!(shown.contains("<Content>  two blanks  </Content>"), "{shown}");
}

#[tokio::test]
async fn one_that_has_nothing_to_say_is_taken_at_its_word() {
    let backend = BackEnd::start(Say::Text(200, "success".to_owned())).await;
    let app = relayed(&backend, "safe", "").await;
    assert_eq!(says(&app, "oA", "help").await, None, "no configured reply either: it has answered");
    backend.say(Say::Text(204, String::new()));
    assert_eq!(says(&app, "oA", "help").await, None);
    assert_eq!(kept(&app), [Some("silent".to_owned()), Some("silent".to_owned())]);
}

#[tokio::test]
async fn a_token_of_its_own_signs() {
    let backend = BackEnd::with_token(Say::Reply(text("own")), "another1").await;
    let app = relayed(&backend, "safe", "token = \"another1\"").await;
    assert!(says(&app, "oA", "hi").await.unwrap().contains("own"));
}

#[tokio::test]
async fn the_check_of_the_url_stays_ours_and_without_a_relay_nobody_is_asked() {
    let backend = BackEnd::start(Say::Reply(text("no"))).await;
    let app = relayed(&backend, "safe", "").await;
    assert!(app.sandbox.send_callback(CallbackRequest::verify()).await.unwrap().accepted);
    assert_eq!(backend.asked().len(), 0);
    let app = TestApp::start_with(Setup::default()).await;
    assert!(says(&app, "oA", "help").await.unwrap().contains("How can we help?"));
    assert_eq!(kept(&app), [None]);
}
