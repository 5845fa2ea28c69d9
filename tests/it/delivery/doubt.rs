//! When bytes left and no answer came: repeated inside WeChat's memory, held when asked to, settled by receipts.

use std::time::Duration;

use serde_json::json;
use wxgate::sandbox::{Fault, FaultKind};

use crate::harness::{TestApp, order_notice};

const SEND_API: &str = "/cgi-bin/message/template/send";

#[tokio::test]
async fn a_message_on_hold_becomes_unknown_and_is_not_repeated() {
    let app = TestApp::start().await;
    let mut body = order_notice("sim-reset");
    body["on_unknown"] = json!("hold");
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "unknown"), "{}", reply.text);
    app.advance(Duration::from_secs(60)).await;
    app.run_until_idle().await;
    let id = reply.field("message_id");
    assert_eq!(app.state_of(&id).await, "unknown");
    assert_eq!(app.sandbox.deliveries_to("sim-reset"), 1);
    // The receipt names a msgid that we never saw, but nothing else can be meant.
    app.sandbox.deliver_receipts().await;
    assert_eq!(app.state_of(&id).await, "delivered");
}

#[tokio::test]
async fn nothing_in_doubt_is_repeated_after_wechat_has_forgotten_it() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-reset").await.field("message_id");
    app.run_until_idle().await;
    let calls = app.sandbox.calls(SEND_API);
    app.advance(Duration::from_secs(11 * 60)).await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.calls(SEND_API), calls, "due within the window, but lent after it");
    assert_eq!(app.state_of(&id).await, "unknown");
    assert_eq!(app.sandbox.deliveries_to("sim-reset"), 1);
}

#[tokio::test]
async fn an_operator_settles_what_is_unknown() {
    let app = TestApp::start().await;
    let mut body = order_notice("sim-reset");
    body["on_unknown"] = json!("hold");
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    let path = format!("/v1/messages/{id}/resolve");
    app.post(&path).json(&json!({"state": "delivered"})).send().await.is_problem(400, "malformed_request");
    let reply = app.post(&path).json(&json!({"state": "failed"})).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (200, "failed"), "{}", reply.text);
    assert_eq!(app.post(&path).json(&json!({"state": "sent"})).send().await.status, 409);
}

#[tokio::test]
async fn a_duplicate_answered_with_40241_counts_as_sent() {
    let app = TestApp::start().await;
    app.sandbox.change_settings(|settings| settings.duplicate_answer = wxgate::sandbox::DuplicateAnswer::Refuse);
    let id = app.send_async("sim-reset").await.field("message_id");
    app.run_until_idle().await;
    app.advance(Duration::from_secs(5)).await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    app.sandbox.deliver_receipts().await;
    assert_eq!(app.state_of(&id).await, "delivered");
    assert_eq!(app.sandbox.deliveries_to("sim-reset"), 1);
}

#[tokio::test]
async fn a_receipt_that_overtakes_the_answer_settles_the_message() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::of(FaultKind::ReceiptBefore));
    let reply = app.send("oEARLY").await;
    assert_eq!((reply.status, reply.field("state").as_str()), (200, "delivered"), "{}", reply.text);
    let message = app.message(&reply.field("message_id")).await;
    let states: Vec<_> = message["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["queued", "sending", "sent", "delivered"]);
}

#[tokio::test]
async fn a_clock_that_was_seen_to_run_backwards_repeats_nothing() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-reset").await.field("message_id");
    app.run_until_idle().await;
    let calls = app.sandbox.calls(SEND_API);
    let later = wxgate::domain::clock::Clock::now(&*app.clock).plus(Duration::from_secs(30));
    app.clock.set(later.minus(Duration::from_secs(3600)));
    app.run_until_idle().await;
    assert_eq!(app.sandbox.calls(SEND_API), calls);
    app.clock.set(later);
    app.run_until_idle().await;
    let message = app.message(&id).await;
    let expected = (json!("unknown"), json!("repeat_window_over"));
    assert_eq!(
        (&message["state"], &message["state_reason"]),
        (&expected.0, &expected.1),
        "how old the doubt is nobody knows"
    );
    assert_eq!(app.sandbox.calls(SEND_API), calls);
}

#[tokio::test]
async fn a_message_is_retried_once_however_often_that_is_asked() {
    let app = TestApp::start().await;
    let mut body = order_notice("sim-reset");
    body["on_unknown"] = json!("hold");
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    let path = format!("/v1/messages/{id}/retry");
    let first = app.post(&path).send().await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = app.post(&path).send().await;
    assert_eq!(again.field("message_id"), first.field("message_id"), "{}", again.text);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}

#[tokio::test]
async fn a_busy_line_is_not_repeated_after_the_window_either() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::errcode(-1).on(SEND_API));
    let id = app.send_async("oBUSY").await.field("message_id");
    app.run_until_idle().await;
    app.advance(Duration::from_secs(11 * 60)).await;
    app.run_until_idle().await;
    let message = app.message(&id).await;
    assert_eq!((&message["state"], &message["state_reason"]), (&json!("unknown"), &json!("repeat_window_over")));
}

#[tokio::test]
async fn used_up_tries_of_a_busy_wechat_end_as_failed() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::errcode(-1).on(SEND_API));
    let id = app.send_async("oBUSY").await.field("message_id");
    for _ in 0..6 {
        app.run_until_idle().await;
        app.advance(Duration::from_secs(65)).await;
    }
    let message = app.message(&id).await;
    assert_eq!(message["state"], "failed", "{message}");
    assert_eq!(message["attempts"].as_array().unwrap().len(), 5);
}
