//! The token call goes wrong: no message is tried meanwhile, none is lost, and a living token goes on to serve.

use std::time::Duration;

use futures_util::future::join_all;

use super::upstream_wechat::{Act, RawWechat, keeps_no_secret, tells_no_secret, with_length};
use crate::harness::TestApp;

/// No token, so no send; then the fault is over, and the message goes out, once. `pause`: the longest that WeChat is left
/// alone after one such fault.
async fn holds_up_and_passes(head: &str, pause: Duration, faults: Vec<(&str, Act)>) {
    for (name, act) in faults {
        let wechat = RawWechat::start().await;
        let app = wechat.gateway(head).await;
        wechat.next_token(act);
        let id = app.send_async("oWAITS").await.field("message_id");
        app.run_until_idle().await;
        let message = app.message(&id).await;
        assert_eq!(
            (message["state"].as_str(), message["state_reason"].as_str()),
            (Some("queued"), Some("no_token")),
            "{name}: {message}"
        );
        assert_eq!(message["attempts"], serde_json::json!([]), "{name}: no attempt was made");
        assert_eq!(wechat.token_calls().len(), 1, "{name}: one call, whoever asks");
        let asked = app.get("/v1/accounts/shop/token").send().await;
        assert!([502, 503].contains(&asked.status), "{name}: {}", asked.text);
        let ready = app.get("/ready").send().await;
        assert_eq!(ready.status, 200, "{name}: WeChat's faults do not make us unready");
        tells_no_secret(&format!("{message}{}{}", asked.text, ready.text));
        keeps_no_secret(&app);
        assert_eq!((wechat.token_calls().len(), wechat.sends().len()), (1, 0), "{name}");
        app.advance(pause).await;
        app.tick().await;
        for _ in 0..3 {
            app.run_until_idle().await;
            app.advance(Duration::from_secs(6)).await;
        }
        let message = app.message(&id).await;
        assert_eq!(message["state"], "sent", "{name}: {message}");
        assert_eq!((wechat.token_calls().len(), wechat.sends().len()), (2, 1), "{name}");
    }
}

fn refusal(errcode: i64) -> Act {
    Act::ok(format!(r#"{{"errcode":{errcode},"errmsg":"no token for you rid: 1-2-3"}}"#))
}

#[tokio::test]
async fn an_answer_that_is_none_holds_messages_up_for_a_moment() {
    let html = "<html><body>502</body></html>";
    let token = r#"{"access_token":"T","expires_in":7200}"#;
    let mut faults: Vec<(&str, Act)> = [
        ("no access_token", r#"{"expires_in":7200}"#),
        ("an empty one", r#"{"access_token":"","expires_in":7200}"#),
        ("one that is a number", r#"{"access_token":7,"expires_in":7200}"#),
        ("no expires_in", r#"{"access_token":"T"}"#),
        ("none left", r#"{"access_token":"T","expires_in":0}"#),
        ("less than none left", r#"{"access_token":"T","expires_in":-7200}"#),
        ("HTML", html),
        ("empty", ""),
        ("half of it", &token[..token.len() - 1]),
        ("an array", "[]"),
    ]
    .map(|(name, body)| (name, Act::ok(body)))
    .to_vec();
    faults.extend([
        ("500", Act::Say(with_length("500 Oops", "", html))),
        ("503 with a token", Act::Say(with_length("503 Unavailable", "", token))),
        ("302", Act::Say(with_length("302 Found", "location: http://127.0.0.1:9/\r\n", ""))),
        ("reset", Act::Reset),
        ("closed", Act::SayAndClose(Vec::new())),
        (
            "half a body",
            Act::SayAndClose(format!("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{token}").into_bytes()),
        ),
        ("compressed", Act::Say(with_length("200 OK", "content-encoding: gzip\r\n", b"\x1f\x8b\x08\0\0\0\0\0"))),
        ("-1", refusal(-1)),
        ("-1 in words", Act::ok(r#"{"errcode":"-1","errmsg":"system error"}"#)),
    ]);
    holds_up_and_passes("", Duration::from_secs(2), faults).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_holds_messages_up_for_a_moment() {
    let drip = |head: &[u8]| Act::Drip { head: head.to_vec(), byte: b' ', every: Duration::from_millis(20) };
    let faults = vec![
        ("silence", Act::SayAndHang(Vec::new())),
        ("a dripping body", drip(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{")),
        ("a dripping head", drip(b"HTTP/1.1 200 OK\r\nx-drip: y")),
    ];
    let head = "wechat.timeout = \"1s\"\nwechat.connect_timeout = \"1s\"";
    // Each takes its time, so they take it together.
    join_all(faults.into_iter().map(|fault| holds_up_and_passes(head, Duration::from_secs(2), vec![fault]))).await;
}

#[tokio::test]
async fn a_refusal_holds_messages_up_until_people_or_a_quota_may_have_mended_it() {
    let minute = Duration::from_secs(61);
    let codes = [40001, 40013, 40125, 40164, 40243, 41004, 89503, 45011, 987_654, -987_654, i64::MAX];
    let faults = codes.map(|errcode| ("a refusal", refusal(errcode)));
    holds_up_and_passes("", minute, faults.to_vec()).await;
    holds_up_and_passes("", Duration::from_secs(30 * 60 + 1), vec![("45009", refusal(45009))]).await;
    holds_up_and_passes("", Duration::from_secs(3_600 + 1), vec![("89507", refusal(89507))]).await;
}

#[tokio::test]
async fn who_waits_is_told_of_an_accounts_fault_at_once() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    wechat.next_token(refusal(40164));
    let reply = app.send("oWAITS").await;
    let problem = reply.is_problem(502, "account_refused").json();
    assert_eq!((&problem["retryable"], &problem["upstream"]["errcode"]), (&false.into(), &40164.into()));
    let message = app.message(problem["message_id"].as_str().unwrap()).await;
    assert_eq!((message["state"].as_str(), wechat.sends().len()), (Some("rejected"), 0));
    assert_eq!(message["attempts"][0]["outcome"], "not_sent");
}

/// Whatever a refresh meets, the token that still lives is used.
#[tokio::test]
async fn a_living_token_serves_through_every_fault_of_its_refresh() {
    for (name, act) in [
        ("500", Act::Say(with_length("500 Oops", "", ""))),
        ("reset", Act::Reset),
        ("HTML", Act::ok("<html></html>")),
        ("40164", refusal(40164)),
        ("45009", refusal(45009)),
        ("-1", refusal(-1)),
    ] {
        let wechat = RawWechat::start().await;
        let app = wechat.gateway("").await;
        assert_eq!(app.send("oBEFORE").await.status, 200, "{name}");
        app.advance(Duration::from_secs(7_000)).await;
        wechat.next_token(act);
        app.tick().await;
        failed_refresh(&app).await;
        assert_eq!(app.send("oAFTER").await.status, 200, "{name}");
        assert_eq!((wechat.token_calls().len(), wechat.sends().len()), (2, 2), "{name}");
    }
}

async fn failed_refresh(app: &TestApp) {
    while app.metric(r#"wxgate_token_refreshes_total{account="shop",result="failed"}"#).await == 0.0 {
        tokio::task::yield_now().await;
    }
}

/// A life that nobody can mean is not believed for ever: the token is fetched again.
#[tokio::test]
async fn a_token_that_says_it_lives_for_ever_is_asked_for_again_within_hours() {
    for expires_in in ["9223372036854775807", "\"9223372036854775807\"", "4000000000"] {
        let wechat = RawWechat::start().await;
        let app = wechat.gateway("").await;
        wechat.next_token(Act::ok(format!(r#"{{"access_token":"T","expires_in":{expires_in}}}"#)));
        assert_eq!(app.send("oFIRST").await.status, 200, "{expires_in}");
        app.advance(Duration::from_secs(2 * 3_600 + 1)).await;
        assert_eq!(app.send("oSECOND").await.status, 200, "{expires_in}");
        assert_eq!(wechat.token_calls().len(), 2, "{expires_in}");
    }
}
