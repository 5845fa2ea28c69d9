//! Back ends that are slow, broken, talkative or away. WeChat gets its answer in time, whatever they do.

use std::time::{Duration, Instant};

use wxgate::sandbox::CallbackRequest;

use super::backend::{BackEnd, Say, text};
use super::{kept, relayed, relays, says, shown};
use crate::binary::process::until;
use crate::harness::{Logs, Setup, TestApp};

/// With a fallback among the configured replies, and without.
async fn is_done_without(say: Say, state: &str) {
    let backend = BackEnd::start(say).await;
    let app = relayed(&backend, "safe", "").await;
    let menu = CallbackRequest::new("view", "oA").field("event_key", "https://x");
    assert_eq!(shown(&app.sandbox.send_callback(menu).await.unwrap()), None);
    assert!(says(&app, "oA", "help").await.unwrap().contains("How can we help?"));
    assert_eq!(kept(&app), [Some(state.to_owned()), Some(state.to_owned())]);
    assert_eq!(relays(&app, state).await, 2.0);
}

#[tokio::test]
async fn an_error_of_it() {
    is_done_without(Say::Text(500, "<xml>".to_owned()), "failed").await;
}

#[tokio::test]
async fn a_connection_that_is_cut() {
    is_done_without(Say::Cut, "failed").await;
}

#[tokio::test]
async fn a_page_instead_of_an_answer() {
    is_done_without(Say::Text(200, "<html><body>Welcome</body></html>".to_owned()), "invalid").await;
}

#[tokio::test]
async fn an_answer_to_somebody_else() {
    let body = "<xml><ToUserName>oSOMEBODY</ToUserName><FromUserName><from></FromUserName><CreateTime>1</CreateTime>\
                <MsgType>text</MsgType><Content>not for you</Content></xml>";
    is_done_without(Say::Text(200, body.to_owned()), "invalid").await;
}

#[tokio::test]
async fn an_answer_as_another_account() {
    let body = "<xml><ToUserName><to></ToUserName><FromUserName>gh_other</FromUserName><CreateTime>1</CreateTime>\
                <MsgType>text</MsgType><Content>not mine</Content></xml>";
    is_done_without(Say::Text(200, body.to_owned()), "invalid").await;
}

#[tokio::test]
async fn an_answer_that_is_too_long() {
    is_done_without(Say::Reply(text(&"x".repeat(64 * 1024))), "invalid").await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = BackEnd::start(Say::Reply(text("elsewhere"))).await;
    is_done_without(Say::Redirect(elsewhere.url.clone()), "failed").await;
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test]
async fn one_that_hangs_costs_its_budget_and_no_more() {
    let backend = BackEnd::start(Say::Held(text("too late"))).await;
    let app = relayed(&backend, "safe", "timeout = \"200ms\"").await;
    let begun = Instant::now();
    assert!(says(&app, "oA", "help").await.unwrap().contains("How can we help?"));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(kept_soon(&app, "late").await, 1);
}

/// What WeChat does not wait for is kept a moment later.
async fn kept_soon(app: &TestApp, state: &str) -> usize {
    let count = || kept(app).iter().filter(|kept| kept.as_deref() == Some(state)).count();
    until(state, async || count() > 0).await;
    count()
}

#[tokio::test]
async fn one_that_is_down_is_no_longer_asked_until_a_probe_succeeds() {
    let backend = BackEnd::start(Say::Held(text("held"))).await;
    let app = relayed(&backend, "safe", "timeout = \"100ms\"").await;
    for n in 0..5 {
        says(&app, &format!("o{n}"), "hi").await;
    }
    // What came of the fifth is known when it is kept.
    until("five are late", async || relays(&app, "late").await == 5.0).await;
    assert!(says(&app, "o5", "help").await.unwrap().contains("How can we help?"));
    assert_eq!((backend.asked().len(), relays(&app, "skipped").await), (5, 1.0));
    assert_eq!(kept_soon(&app, "skipped").await, 1);

    backend.say(Say::Reply(text("here again")));
    app.advance(Duration::from_secs(10)).await;
    assert!(says(&app, "o6", "hi").await.unwrap().contains("here again"));
    assert!(says(&app, "o7", "hi").await.unwrap().contains("here again"));
}

#[tokio::test]
async fn nobody_there_is_told_by_host_and_no_log_names_a_person_or_a_secret_path() {
    let logs = Logs::catch();
    let port = crate::harness::free_port();
    let account = format!("[accounts.shop.relay]\nurl = \"http://127.0.0.1:{port}/s3cr3t?key=k3y\"\n");
    let app = TestApp::start_with(Setup { account, ..Setup::default() }).await;
    assert!(says(&app, "oSOMEONE_IN_PARTICULAR", "s4id").await.is_some());
    assert_eq!(kept(&app), [Some("failed".to_owned())]);
    let line = logs.with("a back end gave no answer").remove(0);
    assert!(line.contains(&format!("127.0.0.1:{port}")) && line.contains("not connected"), "{line}");
    for word in ["s3cr3t", "k3y", "oSOMEONE_IN_PARTICULAR", "s4id"] {
        assert_eq!(logs.with(word), Vec::<String>::new(), "{word}");
    }
}

#[tokio::test]
async fn a_store_that_fails_is_not_relayed_from() {
    let backend = BackEnd::start(Say::Reply(text("no"))).await;
    let app = relayed(&backend, "safe", "").await;
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.execute_batch("ALTER TABLE callbacks RENAME TO elsewhere").unwrap();
    let result = app.sandbox.send_callback(CallbackRequest::text("oA", "hi")).await.unwrap();
    assert_eq!((result.status, backend.asked().len()), (500, 0), "kept first: {result:?}");
}

/// Keeping a callback is part of its budget: what is left of that is the back end's.
#[tokio::test]
async fn a_store_that_takes_the_whole_budget_leaves_none() {
    let backend = BackEnd::start(Say::Reply(text("at once"))).await;
    let app = relayed(&backend, "safe", "timeout = \"200ms\"").await;
    let other = rusqlite::Connection::open(app.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let block = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    let (result, ()) = tokio::join!(app.sandbox.send_callback(CallbackRequest::text("oA", "help")), block);
    assert!(shown(&result.unwrap()).unwrap().contains("How can we help?"));
    assert_eq!(kept_soon(&app, "late").await, 1);
}
