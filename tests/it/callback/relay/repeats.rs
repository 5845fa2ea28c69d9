//! WeChat asks three times; the person gets one answer.

use wxgate::sandbox::CallbackRequest;

use super::backend::{BackEnd, Say, text};
use super::{kept, relayed, shown};
use crate::binary::process::until;
use crate::harness::{Setup, TestApp};

fn question() -> CallbackRequest {
    CallbackRequest::text("oASKS", "hi").msg_id(77).create_time(1_767_400_000)
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_the_back_end_is_asked_once() {
    let backend = BackEnd::start(Say::Numbered).await;
    let app = relayed(&backend, "safe", "").await;
    for _ in 0..3 {
        let reply = shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap();
        assert!(reply.contains("answer 1"), "{reply}");
    }
    assert_eq!(backend.asked().len(), 1);
}

#[tokio::test]
async fn repeats_join_what_is_under_way() {
    let backend = BackEnd::start(Say::Held(text("the one answer"))).await;
    let app = relayed(&backend, "safe", "").await;
    let repeats = (0..50).map(|_| app.sandbox.send_callback(question()));
    let release = async {
        backend.until_asked(1).await;
        let seen = r#"wxgate_callbacks_total{account="shop",result="repeat",type="text"}"#;
        until("all are in", async || app.metric(seen).await == 49.0).await;
        backend.release(50);
    };
    let (results, ()) = tokio::join!(futures_util::future::join_all(repeats), release);
    for result in results {
        assert!(shown(&result.unwrap()).unwrap().contains("the one answer"));
    }
    assert_eq!(backend.asked().len(), 1);
    assert_eq!(kept(&app), [Some("answered".to_owned())]);
}

#[tokio::test]
async fn a_repeat_behind_the_budget_gets_the_first_answer_too() {
    let backend = BackEnd::start(Say::Held(text("too late"))).await;
    let app = relayed(&backend, "safe", "timeout = \"100ms\"\nlate_reply = \"custom\"").await;
    for _ in 0..2 {
        // The default reply, by the name of the account.
        assert!(shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap().contains("收到"));
    }
    assert_eq!(backend.asked().len(), 1);
}

/// WeChat has hung up before there was an answer: it is still asked for, once, and the repeat gets it.
#[tokio::test]
async fn a_caller_that_leaves_takes_nothing_with_it() {
    let backend = BackEnd::start(Say::Held(text("the one answer"))).await;
    let app = relayed(&backend, "plain", "").await;
    let body = "<xml><ToUserName>gh_de0000000001</ToUserName><FromUserName>oASKS</FromUserName><CreateTime>1767400000</CreateTime>\
                <MsgType>text</MsgType><Content>hi</Content><MsgId>77</MsgId></xml>";
    let now = "1767400000";
    let signature = wxgate::wechat::signature::sign(&[crate::harness::CALLBACK_TOKEN, now, "n"]);
    let url = format!("{}/wechat/shop?signature={signature}&timestamp={now}&nonce=n", app.url);
    let leaves = tokio::spawn(reqwest::Client::builder().no_proxy().build().unwrap().post(url).body(body).send());
    backend.until_asked(1).await;
    leaves.abort();
    assert!(leaves.await.is_err_and(|error| error.is_cancelled()));
    backend.release(1);
    until("it is kept", async || kept(&app) == [Some("answered".to_owned())]).await;
    let again = app.sandbox.send_callback(CallbackRequest::raw(body)).await.unwrap();
    assert!(shown(&again).unwrap().contains("the one answer"));
    assert_eq!(backend.asked().len(), 1);
}

/// As after a crash between keeping and answering: the row says `pending`, and nobody is asking.
#[tokio::test]
async fn a_repeat_after_a_crash_asks_again() {
    let backend = BackEnd::start(Say::Numbered).await;
    let app = relayed(&backend, "safe", "").await;
    assert!(shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap().contains("answer 1"));
    let forget = |app: &TestApp| {
        let conn = rusqlite::Connection::open(app.database()).unwrap();
        conn.execute("UPDATE callbacks SET relay = 'pending', reply = NULL", []).unwrap();
    };
    forget(&app);
    assert!(shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap().contains("answer 2"));
    assert!(shown(&app.sandbox.send_callback(question()).await.unwrap()).unwrap().contains("answer 2"));
    // The relay was taken out of the configuration meanwhile: nobody is left to ask.
    forget(&app);
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    assert_eq!(shown(&app.sandbox.send_callback(question()).await.unwrap()), None);
    assert_eq!(backend.asked().len(), 2);
}
