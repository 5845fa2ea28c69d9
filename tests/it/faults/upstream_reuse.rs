//! Kept-alive connections that end at the wrong moment: the HTTP client may go to another one only while nothing has left.
//! What has left is repeated by the queue, by the same `client_msg_id`, or not at all.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;

use super::upstream_wechat::{Act, RawWechat, Seen, with_length};
use crate::harness::{TestApp, order_notice};

const TAKEN: &str = r#"{"errcode":0,"errmsg":"ok","msgid":3487542469355618313}"#;

/// A gateway with a token and an idle connection to WeChat.
async fn warm(wechat: &RawWechat) -> TestApp {
    let app = wechat.gateway("").await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app
}

#[tokio::test]
async fn what_had_left_on_a_reused_connection_is_not_sent_again_by_the_client() {
    for (name, act) in [("reset", Act::Reset), ("closed", Act::SayAndClose(Vec::new()))] {
        let wechat = RawWechat::start().await;
        let app = warm(&wechat).await;
        wechat.next_send(act);
        let before = wechat.connections();
        let mut body = order_notice("oREUSED");
        body["on_unknown"] = json!("hold");
        let reply = app.post("/send-template").json(&body).send().await;
        assert_eq!((reply.status, reply.field("state").as_str()), (202, "unknown"), "{name}: {}", reply.text);
        let sends = wechat.sends();
        assert_eq!(sends.len(), 2, "{name}: one before, and this one once");
        assert!(sends[1].connection < before, "{name}: it was a reused one");
        assert_eq!(wechat.connections(), before, "{name}: and no other was opened");
        assert_eq!(app.send("oNEXT").await.status, 200, "{name}");
        assert_ne!(wechat.sends()[2].connection, sends[1].connection, "{name}");
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_costs_nothing() {
    let wechat = RawWechat::start().await;
    let app = warm(&wechat).await;
    wechat.hang_up().await;
    let before = wechat.connections();
    let reply = app.send("oAFTER").await;
    assert_eq!((reply.status, reply.field("attempts").as_str()), (200, "1"), "{}", reply.text);
    let sends = wechat.sends();
    assert_eq!((sends.len(), sends[1].connection), (2, before));
}

/// The end and the next request meet on the way, again and again. Whichever is first: WeChat never sees more than the message
/// says of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_the_end_and_the_next_request_meet_no_attempt_is_seen_twice() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    let mut ids = Vec::new();
    for number in 0..150 {
        // The answer is whole, so this message is `sent`; the next one finds a connection that is just ending.
        let answer = with_length("200 OK", "", TAKEN);
        wechat.next_send(if number % 2 == 0 { Act::SayAndClose(answer) } else { Act::SayAndReset(answer) });
        ids.push(app.send_async(&format!("oRACE{number}")).await.field("message_id"));
        app.app.settled().await;
    }
    for _ in 0..5 {
        app.advance(Duration::from_secs(20)).await;
        app.run_until_idle().await;
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for id in wechat.sends().iter().map(Seen::client_msg_id) {
        *seen.entry(id).or_default() += 1;
    }
    let mut ambiguous = 0;
    for id in ids {
        let message = app.message(&id).await;
        assert_eq!(message["state"], "sent", "{message}");
        let attempts = message["attempts"].as_array().unwrap();
        let seen = seen[id.strip_prefix("msg_").unwrap()];
        assert!(seen <= attempts.len(), "seen {seen} times: {message}");
        for attempt in &attempts[..attempts.len() - 1] {
            assert!(["ambiguous", "not_sent"].contains(&attempt["outcome"].as_str().unwrap()), "{message}");
            ambiguous += usize::from(attempt["outcome"] == "ambiguous");
        }
    }
    assert!(ambiguous < 150, "most connections are found ended in time: {ambiguous}");
}

/// A second answer on one request belongs to nobody. Taken for the next one's it would call a message sent that was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    let refusal = with_length("200 OK", "", r#"{"errcode":43004,"errmsg":"require subscribe"}"#);
    for number in 0..50 {
        let forged = with_length("200 OK", "", TAKEN);
        wechat.next_send(Act::Say([with_length("200 OK", "", TAKEN), forged].concat()));
        assert_eq!(app.send("oTWICE").await.status, 200, "{number}");
        wechat.next_send(Act::Say(refusal.clone()));
        let mut body = order_notice(&format!("oREFUSED{number}"));
        body["on_unknown"] = json!("hold");
        let reply = app.post("/send-template").json(&body).send().await;
        // Its own answer, or none: never the one that was left over.
        let is_own = reply.status == 422 || reply.field("state") == "unknown";
        assert!(is_own, "{number}: {} {}", reply.status, reply.text);
        wechat.forget_acts();
    }
}
