//! Answers that come when WeChat has had its `success` already.

use wxgate::sandbox::{CallbackRequest, Channel, Fault};
use wxgate::wechat::reply::{Article, Reply};

use super::backend::{BackEnd, Say, text};
use super::{kept, relayed, relays, shown};
use crate::binary::process::until;
use crate::harness::TestApp;

const CUSTOM: &str = "timeout = \"150ms\"\nlate_reply = \"custom\"";
const SEND: &str = "/cgi-bin/message/custom/send";

async fn ends(app: &TestApp, state: &str) {
    until(state, async || relays(app, state).await == 1.0).await;
    until("it is kept", async || kept(app) == [Some(state.to_owned())]).await;
}

/// Bodies of the customer-service messages that WeChat took.
fn sent(app: &TestApp) -> Vec<serde_json::Value> {
    let messages = app.sandbox.messages().into_iter().filter(|message| message.channel == Channel::Custom);
    messages.map(|message| serde_json::from_str(&message.raw_body).unwrap()).collect()
}

/// An event without a configured reply.
async fn taps(app: &TestApp, kind: &str) {
    let result = app.sandbox.send_callback(CallbackRequest::new(kind, "oA").field("event_key", "k")).await.unwrap();
    assert_eq!(shown(&result), None);
}

#[tokio::test]
async fn a_late_answer_is_dropped_and_counted() {
    let backend = BackEnd::start(Say::Held(text("late"))).await;
    let app = relayed(&backend, "safe", "timeout = \"150ms\"").await;
    taps(&app, "click").await;
    ends(&app, "late").await;
    backend.release(1);
    assert_eq!(app.sandbox.calls(SEND), 0);
}

#[tokio::test]
async fn a_late_answer_becomes_one_customer_service_message() {
    let backend = BackEnd::start(Say::Held(text("late 茶"))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    taps(&app, "click").await;
    backend.release(1);
    ends(&app, "late_sent").await;
    let body = serde_json::json!({"touser": "oA", "msgtype": "text", "text": {"content": "late 茶"}});
    assert_eq!((sent(&app), app.sandbox.calls(SEND)), (vec![body], 1));
    assert_eq!(app.metric(r#"wxgate_wechat_requests_total{account="shop",api="custom_send",errcode="0"}"#).await, 1.0);
    let events = app.get("/v1/events?types=relay.late_reply").send().await.json();
    let data = &events["data"][0]["data"];
    assert_eq!((&data["state"], &data["openid"]), (&"late_sent".into(), &"oA".into()), "{events}");
    assert!(data["callback_id"].as_str().unwrap().starts_with("cbk_"), "{events}");
}

#[tokio::test]
async fn every_type_that_can_be_sent_is_sent_and_the_others_are_late() {
    let backend = BackEnd::start(Say::Held(text(""))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    let id = || "M-1".to_owned();
    let article = |title: &str| Article {
        title: title.to_owned(),
        description: String::new(),
        pic_url: String::new(),
        url: "https://u".to_owned(),
    };
    for (n, reply) in [
        Reply::Image { media_id: id() },
        Reply::Voice { media_id: id() },
        Reply::Video { media_id: id(), title: None, description: None },
        Reply::Music { title: None, description: None, music_url: None, hq_music_url: None, thumb_media_id: id() },
        Reply::News { articles: vec![article("one"), article("two")] },
    ]
    .into_iter()
    .enumerate()
    {
        backend.say(Say::Held(reply.clone()));
        // A message of its own for each: five may follow on one.
        shown(&app.sandbox.send_callback(CallbackRequest::text(&format!("o{n}"), "hi")).await.unwrap());
        backend.release(1);
        until("it is sent", async || sent(&app).len() == n + 1).await;
        assert_eq!(sent(&app)[n]["msgtype"], reply.msg_type());
    }
    assert_eq!(sent(&app)[4]["news"]["articles"].as_array().unwrap().len(), 1);
    backend.say(Say::Held(Reply::TransferCustomerService { kf_account: None }));
    shown(&app.sandbox.send_callback(CallbackRequest::text("oA", "hi")).await.unwrap());
    backend.release(1);
    until("it is late", async || relays(&app, "late").await == 1.0).await;
    assert_eq!(app.sandbox.calls(SEND), 5);
}

#[tokio::test]
async fn what_opens_no_window_is_not_waited_for() {
    let backend = BackEnd::start(Say::Held(text("late"))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    taps(&app, "view").await;
    ends(&app, "late").await;
    backend.release(1);
    assert_eq!(app.sandbox.calls(SEND), 0);
}

#[tokio::test]
async fn what_wechat_refuses_is_told_and_never_sent_again() {
    let backend = BackEnd::start(Say::Held(text("late"))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    app.sandbox.set_fault(Fault::errcode(45015).on(SEND));
    taps(&app, "click").await;
    backend.release(1);
    ends(&app, "late_refused").await;
    let events = app.get("/v1/events?types=relay.late_reply").send().await.json();
    assert_eq!(events["data"][0]["data"]["result"], "45015", "{events}");
    assert_eq!(app.sandbox.calls(SEND), 1);
}

#[tokio::test]
async fn what_may_have_been_shown_is_unknown_and_never_sent_again() {
    let backend = BackEnd::start(Say::Held(text("late"))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    app.sandbox.set_fault(Fault::of(wxgate::sandbox::FaultKind::Reset).on(SEND));
    taps(&app, "click").await;
    backend.release(1);
    ends(&app, "late_unknown").await;
    assert_eq!(app.sandbox.calls(SEND), 1);
}

#[tokio::test]
async fn a_stale_token_is_renewed_once() {
    let backend = BackEnd::start(Say::Held(text("late"))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    assert_eq!(app.send("oFIRST").await.status, 200, "there is a token");
    app.sandbox.revoke_tokens();
    taps(&app, "click").await;
    backend.release(1);
    ends(&app, "late_sent").await;
    assert_eq!((sent(&app).len(), app.sandbox.calls(SEND)), (1, 2));
}

#[tokio::test]
async fn a_late_answer_that_is_none_is_not_sent() {
    let backend = BackEnd::start(Say::Held(text(""))).await;
    let app = relayed(&backend, "safe", CUSTOM).await;
    taps(&app, "click").await;
    backend.release(1);
    ends(&app, "invalid").await;
    assert_eq!(app.sandbox.calls(SEND), 0);
}

/// The back end was in time, the store was not: WeChat has had its answer when the reply could be kept.
#[tokio::test]
async fn an_answer_that_could_not_be_kept_in_time_is_a_late_one() {
    let backend = BackEnd::start(Say::Held(text("in time"))).await;
    let app = relayed(&backend, "safe", "late_reply = \"custom\"").await;
    let other = rusqlite::Connection::open(app.database()).unwrap();
    let block = async {
        backend.until_asked(1).await;
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        backend.release(1);
    };
    let (result, ()) =
        tokio::join!(app.sandbox.send_callback(CallbackRequest::new("click", "oA").field("event_key", "k")), block);
    assert_eq!(shown(&result.unwrap()), None);
    assert_eq!(sent(&app).len(), 0);
    other.execute_batch("COMMIT").unwrap();
    ends(&app, "late_sent").await;
    assert_eq!(sent(&app).len(), 1);
}
