//! The sandbox's scripted recipients: each ends in its state, with its HTTP answer.

use std::time::Duration;

use serde_json::json;
use wxgate::worker::Step;

use crate::harness::{TestApp, order_notice};

#[tokio::test]
async fn an_ordinary_send_is_sent_and_then_delivered() {
    let app = TestApp::start().await;
    let reply = app.send("sim-ok").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let body = reply.json();
    assert_eq!((&body["state"], &body["errcode"], &body["attempts"]), (&json!("sent"), &json!(0), &json!(1)));
    assert!(body["msgid"].as_str().unwrap().parse::<u64>().unwrap() > 1 << 53, "a text, to its last digit");
    let id = reply.field("message_id");
    assert_eq!(reply.header("location"), Some(format!("/v1/messages/{id}").as_str()));
    app.sandbox.deliver_receipts().await;
    let message = app.message(&id).await;
    assert_eq!(message["state"], "delivered");
    let states: Vec<_> = message["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["queued", "sending", "sent", "delivered"]);
    assert_eq!(message["attempts"][0]["outcome"], "accepted");
    assert_eq!(app.sandbox.deliveries_to("sim-ok"), 1);
}

#[tokio::test]
async fn a_receipt_may_say_that_it_was_not_delivered() {
    let app = TestApp::start().await;
    for (recipient, reason) in [("sim-user-block", "user_block"), ("sim-system-failed", "system_failed")] {
        let reply = app.send(recipient).await;
        assert_eq!(reply.status, 200, "{recipient}: {}", reply.text);
        app.sandbox.deliver_receipts().await;
        let message = app.message(&reply.field("message_id")).await;
        assert_eq!(message["state"], "undelivered", "{recipient}");
        assert_eq!(message["state_reason"], reason);
    }
}

#[tokio::test]
async fn a_recipient_whom_wechat_refuses_is_told_to_the_caller() {
    let app = TestApp::start().await;
    for (recipient, errcode) in [("sim-not-subscribed", 43004), ("sim-invalid", 40003)] {
        let reply = app.send(recipient).await;
        reply.is_problem(422, "recipient_refused");
        let body = reply.json();
        assert_eq!(body["upstream"]["errcode"], errcode, "{recipient}");
        assert!(body["upstream"]["rid"].as_str().is_some());
        let message = app.message(body["message_id"].as_str().unwrap()).await;
        assert_eq!(message["state"], "rejected");
    }
}

#[tokio::test]
async fn a_busy_wechat_is_asked_again_with_the_same_client_msg_id() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-busy").await.field("message_id");
    for _ in 0..3 {
        app.run_until_idle().await;
        app.advance(Duration::from_secs(5)).await;
    }
    let message = app.message(&id).await;
    assert_eq!(message["state"], "sent");
    let outcomes: Vec<_> =
        message["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect();
    assert_eq!(outcomes, ["busy", "busy", "accepted"]);
    assert_eq!(app.sandbox.deliveries_to("sim-busy"), 1);
}

#[tokio::test]
async fn the_worker_is_woken_for_a_repeat_of_its_own() {
    let app = TestApp::start().await;
    app.send_async("sim-busy").await;
    let bell = app.app.worker().slots.clone();
    // The first attempt was the accepting task's.
    bell.rung().await;
    app.advance(Duration::from_secs(5)).await;
    assert_eq!(app.app.worker().step().await.unwrap(), Step::Started(1));
    let rung = tokio::time::timeout(Duration::from_secs(10), bell.rung()).await;
    assert!(rung.is_ok(), "it would be found by the next poll only, however soon it is due");
}

#[tokio::test]
async fn a_cut_connection_is_repeated_and_shows_once_on_the_phone() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-reset").await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "queued");
    app.advance(Duration::from_secs(5)).await;
    app.run_until_idle().await;
    app.sandbox.deliver_receipts().await;
    let message = app.message(&id).await;
    assert_eq!(message["state"], "delivered", "{message}");
    assert_eq!(message["attempts"][0]["outcome"], "ambiguous");
    assert_eq!(app.sandbox.deliveries_to("sim-reset"), 1);
}

#[tokio::test]
async fn a_used_up_quota_waits_for_the_next_day_of_beijing() {
    let app = TestApp::start().await;
    // The caller learns it at once: nobody waits for what comes tomorrow.
    let request = app.post("/send-template").header("prefer", "wait=30").json(&order_notice("sim-quota"));
    let reply = tokio::time::timeout(Duration::from_secs(20), request.send()).await.unwrap();
    assert_eq!(reply.status, 202, "{}", reply.text);
    assert_eq!(reply.field("state"), "queued");
    let at = reply.field("next_attempt_at");
    assert!(at.contains("T16:05:") || at.contains("T16:06:"), "{at}");
}

#[tokio::test]
async fn a_token_refused_once_is_renewed_once_and_the_message_goes_out() {
    let app = TestApp::start().await;
    let reply = app.send("sim-token-once").await;
    assert_eq!((reply.status, reply.field("attempts").as_str()), (200, "2"), "{}", reply.text);
    assert_eq!(app.sandbox.deliveries_to("sim-token-once"), 1);
}

#[tokio::test]
async fn garbage_for_an_answer_ends_as_unknown_after_every_try() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-garbage").await.field("message_id");
    for _ in 0..6 {
        app.run_until_idle().await;
        app.advance(Duration::from_secs(70)).await;
    }
    let message = app.message(&id).await;
    assert_eq!(message["state"], "unknown", "{message}");
    assert_eq!(message["attempts"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_message_without_a_receipt_stays_sent_and_is_marked_overdue_after_a_day() {
    let app = TestApp::start().await;
    let id = app.send("sim-no-receipt").await.field("message_id");
    app.sandbox.deliver_receipts().await;
    assert_ne!(app.message(&id).await["receipt_overdue"], true);
    app.advance(Duration::from_secs(25 * 3600)).await;
    let message = app.message(&id).await;
    assert_eq!((&message["state"], &message["receipt_overdue"]), (&json!("sent"), &json!(true)));
}

#[tokio::test]
async fn what_wechat_gets_is_raw_utf8_and_carries_the_message_id() {
    let app = TestApp::start().await;
    let mut body = order_notice("sim-ok");
    body["data"]["thing1"]["value"] = json!("茶\u{1F375}\u{7}<&>\"");
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let taken = app.sandbox.messages();
    let raw = &taken.last().unwrap().raw_body;
    assert!(raw.contains("茶\u{1F375}<&>\\\"") && !raw.contains("\\u"), "{raw}");
    let id = reply.field("message_id");
    assert!(raw.contains(&format!("\"client_msg_id\":\"{}\"", id.strip_prefix("msg_").unwrap())), "{raw}");
}
