//! A gateway that dies and comes back: what it owned goes on.

use std::time::Duration;

use serde_json::json;
use wxgate::domain::state::Lane;

use crate::harness::{Setup, TestApp, order_notice};

const HOLD: Duration = Duration::from_secs(60);

#[tokio::test]
async fn orphans_of_a_dead_process_are_sent_again_at_the_first_tick_and_show_once() {
    let app = TestApp::start().await;
    let mut body = order_notice("oORPHAN");
    body["send_at"] = json!(soon(&app, 1));
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    app.advance(Duration::from_secs(2)).await;
    // Leased, and then nobody settles it: the process dies here.
    let leased = app.app.stores().queue.lease(Lane::Normal, &shop(), 10, now(&app), HOLD).await.unwrap();
    assert_eq!(leased.len(), 1);
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    app.tick().await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.sandbox.deliveries_to("oORPHAN"), 1);
}

#[tokio::test]
async fn an_orphan_on_hold_or_too_old_becomes_unknown() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for on_unknown in ["hold", "retry"] {
        let mut body = order_notice("oORPHAN");
        body["send_at"] = json!(soon(&app, 1));
        body["on_unknown"] = json!(on_unknown);
        ids.push(app.post("/send-template").json(&body).send().await.field("message_id"));
    }
    app.advance(Duration::from_secs(2)).await;
    assert_eq!(app.app.stores().queue.lease(Lane::Normal, &shop(), 10, now(&app), HOLD).await.unwrap().len(), 2);
    let (folder, world) = app.stop().await;
    world.clock.advance(Duration::from_secs(10 * 60));
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    app.tick().await;
    app.run_until_idle().await;
    for id in ids {
        let message = app.message(&id).await;
        assert_eq!((&message["state"], &message["state_reason"]), (&json!("unknown"), &json!("crash")));
    }
    assert_eq!(app.sandbox.deliveries_to("oORPHAN"), 0);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_cannot_settle() {
    let app = TestApp::start().await;
    let mut body = order_notice("oLATE");
    body["send_at"] = json!(soon(&app, 1));
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    app.advance(Duration::from_secs(2)).await;
    let queue = app.app.stores().queue.clone();
    let stale = queue.lease(Lane::Normal, &shop(), 1, now(&app), HOLD).await.unwrap().remove(0);
    app.advance(HOLD + Duration::from_secs(1)).await;
    app.tick().await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    let settlement = wxgate::domain::settlement::Settlement {
        attempts: Vec::new(),
        next: wxgate::domain::settlement::Next::Failed { reason: "late".to_owned() },
    };
    assert!(!queue.settle(stale, settlement, now(&app)).await.unwrap().applied);
    assert_eq!(app.state_of(&id).await, "sent");
}

#[tokio::test]
async fn the_kept_token_serves_after_a_restart() {
    let app = TestApp::start().await;
    assert_eq!(app.send("sim-ok").await.status, 200);
    let calls = app.sandbox.token_calls();
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    app.tick().await;
    assert_eq!(app.send("sim-ok").await.status, 200);
    assert_eq!(app.sandbox.token_calls(), calls);
}

fn now(app: &TestApp) -> wxgate::domain::clock::Timestamp {
    wxgate::domain::clock::Clock::now(&*app.clock)
}

fn soon(app: &TestApp, seconds: u64) -> String {
    now(app).plus(Duration::from_secs(seconds)).to_string()
}

fn shop() -> [wxgate::store::OpenAccount; 1] {
    [wxgate::store::OpenAccount { name: "shop".into(), room: usize::MAX }]
}
