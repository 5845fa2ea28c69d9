//! Quiet hours: only what is urgent goes out; everything else waits for their end.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::clock::{Clock, Timestamp};
use wxgate::sandbox::Fault;

use crate::harness::{Reply, Setup, TestApp, World, order_notice};

const SEND: &str = "/cgi-bin/message/template/send";
const EVENING: &str = "2026-01-31T23:30:00+08:00";
const MORNING: &str = "2026-02-01T00:00:00.000Z";

async fn app_at(now: &str) -> TestApp {
    let world = World::starting_at(Timestamp::parse(now).unwrap()).await;
    let account = "quiet_hours = \"22:00-08:00\"".to_owned();
    TestApp::start_with(Setup { account, world: Some(world), ..Setup::default() }).await
}

async fn send(app: &TestApp, more: Value) -> Reply {
    let mut body = order_notice("oX");
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.post("/send-template").json(&body).send().await
}

/// 202, and it waits until then.
fn waits(reply: &Reply, until: &str) -> String {
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "scheduled"), "{}", reply.text);
    assert_eq!(reply.field("next_attempt_at"), until, "{}", reply.text);
    assert_eq!(reply.field("state_reason"), "quiet_hours", "{}", reply.text);
    reply.field("message_id")
}

#[tokio::test]
async fn what_is_accepted_at_night_goes_out_in_the_morning() {
    let app = app_at(EVENING).await;
    let mut ids = Vec::new();
    for priority in ["normal", "bulk"] {
        ids.push(waits(&send(&app, json!({"priority": priority})).await, MORNING));
    }
    assert_eq!(send(&app, json!({"priority": "urgent"})).await.status, 200);
    assert_eq!(app.sandbox.message_count(), 1);
    app.advance(Duration::from_secs(8 * 3600 + 29 * 60)).await;
    app.tick().await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.message_count(), 1, "a minute too early");
    app.advance(Duration::from_secs(60)).await;
    app.run_until_idle().await;
    for id in ids {
        let message = app.message(&id).await;
        assert_eq!(message["state"], "sent", "{message}");
        let history = message["history"].as_array().unwrap();
        assert_eq!((&history[0]["state"], &history[0]["reason"]), (&json!("scheduled"), &json!("quiet_hours")));
    }
    assert_eq!(send(&app, json!({})).await.status, 200, "the day has begun");
}

#[tokio::test]
async fn what_was_scheduled_for_the_night_is_moved_and_what_was_not_is_left_alone() {
    let app = app_at("2026-01-31T12:00:00+08:00").await;
    waits(&send(&app, json!({"send_at": "2026-01-31T23:00:00+08:00"})).await, MORNING);
    let kept = send(&app, json!({"send_at": "2026-01-31T21:00:00+08:00"})).await;
    assert_eq!(
        (kept.field("next_attempt_at").as_str(), kept.field("state_reason").as_str()),
        ("2026-01-31T13:00:00.000Z", "null")
    );
    let urgent = send(&app, json!({"send_at": "2026-01-31T23:00:00+08:00", "priority": "urgent"})).await;
    assert_eq!(urgent.field("next_attempt_at"), "2026-01-31T15:00:00.000Z");
}

#[tokio::test]
async fn what_would_not_live_to_see_the_morning_is_refused() {
    let app = app_at(EVENING).await;
    for more in [json!({"ttl_s": 3600}), json!({"expires_at": "2026-02-01T08:00:00+08:00"})] {
        let reply = send(&app, more).await;
        assert!(reply.is_problem(422, "would_expire").field("detail").contains(MORNING), "{}", reply.text);
    }
    waits(&send(&app, json!({"expires_at": "2026-02-01T08:00:01+08:00"})).await, MORNING);
    assert_eq!(send(&app, json!({"ttl_s": 3600, "priority": "urgent"})).await.status, 200);
}

#[tokio::test]
async fn batches_and_dry_runs_tell_it_too() {
    let app = app_at(EVENING).await;
    let mut batch = order_notice("x");
    batch.as_object_mut().unwrap().remove("touser");
    batch["messages"] =
        json!([{"touser": "oA"}, {"touser": "oB", "priority": "urgent"}, {"touser": "oC", "ttl_s": 60}]);
    let reply = app.post("/send-template/batch").json(&batch).send().await;
    assert_eq!((reply.status, reply.field("accepted").as_str()), (202, "2"), "{}", reply.text);
    assert_eq!(reply.json()["rejected"][0]["error"]["code"], "would_expire");
    app.run_until_idle().await;
    let ids = reply.json()["message_ids"].clone();
    let states = [app.message(ids[0].as_str().unwrap()).await, app.message(ids[1].as_str().unwrap()).await];
    assert_eq!((&states[0]["state"], &states[0]["state_reason"]), (&json!("scheduled"), &json!("quiet_hours")));
    assert_eq!((&states[0]["next_attempt_at"], &states[1]["state"]), (&json!(MORNING), &json!("sent")));

    let dry = send(&app, json!({"dry_run": true})).await;
    assert_eq!((dry.status, dry.field("send_at").as_str()), (200, MORNING), "{}", dry.text);
    assert_eq!(dry.field("state_reason"), "quiet_hours");
    send(&app, json!({"dry_run": true, "ttl_s": 60})).await.is_problem(422, "would_expire");
}

#[tokio::test]
async fn a_backlog_and_a_retry_stop_when_the_night_begins() {
    let app = app_at("2026-01-31T21:59:30+08:00").await;
    // WeChat asks for a minute's patience, and the minute ends at night.
    app.sandbox.set_fault(Fault::errcode(45011).on(SEND));
    let retried = send(&app, json!({"async": true})).await.field("message_id");
    app.run_until_idle().await;
    app.sandbox.clear_faults();
    let later = send(&app, json!({"send_at": "2026-01-31T21:59:59+08:00", "async": true})).await.field("message_id");
    let urgent = send(&app, json!({"send_at": "2026-01-31T21:59:59+08:00", "async": true, "priority": "urgent"})).await;
    app.advance(Duration::from_secs(120)).await;
    app.run_until_idle().await;
    for id in [&retried, &later] {
        let message = app.message(id).await;
        assert_eq!(
            (&message["state"], &message["state_reason"]),
            (&json!("scheduled"), &json!("quiet_hours")),
            "{message}"
        );
        assert_eq!(message["next_attempt_at"], MORNING);
    }
    assert_eq!(app.state_of(&urgent.field("message_id")).await, "sent");
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
    app.clock.set(Timestamp::parse(MORNING).unwrap());
    app.run_until_idle().await;
    for id in [&retried, &later] {
        assert_eq!(app.state_of(id).await, "sent");
    }
    assert_eq!(app.message(&retried).await["attempts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_repeat_in_doubt_is_not_held_up() {
    let app = app_at("2026-01-31T21:59:59+08:00").await;
    let mut body = order_notice("sim-reset");
    body["async"] = json!(true);
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "queued");
    app.advance(Duration::from_secs(5)).await;
    assert!(app.clock.now() > Timestamp::parse("2026-01-31T22:00:00+08:00").unwrap());
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent", "later, WeChat would not know the repeat for one");
    assert_eq!(app.sandbox.deliveries_to("sim-reset"), 1);
}
