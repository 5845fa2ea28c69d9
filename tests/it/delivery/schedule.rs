//! Time to send, time to live, priorities, cancel and retry.

use std::time::Duration;

use serde_json::json;
use wxgate::domain::clock::Clock;

use crate::harness::{Setup, TestApp, order_notice};

#[tokio::test]
async fn a_scheduled_message_waits_for_its_time() {
    let app = TestApp::start().await;
    let at = app.clock.now().plus(Duration::from_secs(3600));
    let mut body = order_notice("oLATER");
    body["send_at"] = json!(at.to_string());
    let reply = app.post("/send-template").header("prefer", "wait=0").json(&body).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "scheduled"), "{}", reply.text);
    assert_eq!(reply.field("next_attempt_at"), at.to_string());
    app.run_until_idle().await;
    assert_eq!(app.sandbox.deliveries_to("oLATER"), 0);
    app.advance(Duration::from_secs(3600)).await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&reply.field("message_id")).await, "sent");
}

#[tokio::test]
async fn a_message_that_nobody_took_in_time_expires() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(wxgate::sandbox::Fault::errcode(45011).on("/cgi-bin/message/template/send"));
    let mut body = order_notice("oEXPIRES");
    body["ttl_s"] = json!(90);
    body["async"] = json!(true);
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "queued");
    app.advance(Duration::from_secs(91)).await;
    app.tick().await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "expired");
    assert_eq!(app.sandbox.deliveries_to("oEXPIRES"), 0);
    // It may be asked for again, as a new message.
    app.sandbox.clear_faults();
    let again = app.post(&format!("/v1/messages/{id}/retry")).send().await;
    assert_eq!(again.status, 202, "{}", again.text);
    app.run_until_idle().await;
    let message = app.message(&again.field("message_id")).await;
    assert_eq!((&message["state"], &message["retry_of"]), (&json!("sent"), &json!(id)));
    assert_eq!(app.sandbox.deliveries_to("oEXPIRES"), 1);
}

#[tokio::test]
async fn what_has_not_begun_can_be_canceled_and_what_has_cannot() {
    let app = TestApp::start().await;
    let mut body = order_notice("oCANCEL");
    body["send_at"] = json!(app.clock.now().plus(Duration::from_secs(60)).to_string());
    let id = app.post("/send-template").json(&body).header("prefer", "wait=0").send().await.field("message_id");
    let reply = app.delete(&format!("/v1/messages/{id}")).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (200, "canceled"), "{}", reply.text);
    app.advance(Duration::from_secs(61)).await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.deliveries_to("oCANCEL"), 0);
    let sent = app.send("oCANCEL").await.field("message_id");
    app.delete(&format!("/v1/messages/{sent}")).send().await.is_problem(409, "already_sending");
}

#[tokio::test]
async fn urgent_messages_go_first() {
    let app =
        TestApp::start_with(Setup { config: "\n[queue]\nconcurrency = 1\n".to_owned(), ..Setup::default() }).await;
    let at = app.clock.now().plus(Duration::from_secs(60));
    for (touser, priority) in [("oBULK", "bulk"), ("oNORMAL", "normal"), ("oURGENT", "urgent")] {
        let mut body = order_notice(touser);
        body["priority"] = json!(priority);
        body["send_at"] = json!(at.to_string());
        assert_eq!(app.post("/send-template").header("prefer", "wait=0").json(&body).send().await.status, 202);
    }
    app.advance(Duration::from_secs(60)).await;
    app.run_until_idle().await;
    let order: Vec<_> = app.sandbox.messages().into_iter().map(|message| message.openid).collect();
    assert_eq!(order, ["oURGENT", "oNORMAL", "oBULK"]);
}

#[tokio::test]
async fn no_lane_is_shut_out_by_an_urgent_backlog() {
    let app =
        TestApp::start_with(Setup { config: "\n[queue]\nconcurrency = 1\n".to_owned(), ..Setup::default() }).await;
    let at = app.clock.now().plus(Duration::from_secs(60));
    for n in 0..40 {
        let priority = if n < 20 { "urgent" } else { "bulk" };
        let mut body = order_notice(&format!("o{priority}"));
        body["priority"] = json!(priority);
        body["send_at"] = json!(at.to_string());
        assert_eq!(app.post("/send-template").header("prefer", "wait=0").json(&body).send().await.status, 202);
    }
    app.advance(Duration::from_secs(60)).await;
    app.run_until_idle().await;
    let order: Vec<_> = app.sandbox.messages().into_iter().map(|message| message.openid).collect();
    let first_bulk = order.iter().position(|openid| openid == "obulk").unwrap();
    assert!(first_bulk < 10, "{order:?}");
}
