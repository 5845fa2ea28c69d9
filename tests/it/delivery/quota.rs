//! The day's quota of an account: what is used up waits for the next day of Beijing, and one message goes first then.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wxgate::domain::clock::Clock;
use wxgate::sandbox::Fault;

use crate::binary::process::until;
use crate::harness::{Logs, Setup, TestApp, order_notice};

/// As the sandbox has it by default.
const ALL: u64 = 100_000_000;
const QUOTA: &str = "/cgi-bin/openapi/quota/get";
const SEND: &str = "/cgi-bin/message/template/send";

/// Sends until WeChat says that the quota is used up.
async fn use_up(app: &TestApp) -> String {
    assert!(app.sandbox.set_quota_used(None, ALL));
    let id = app.send_async("oLAST").await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.message(&id).await["state_reason"], "quota_45009");
    id
}

async fn parked(app: &TestApp) -> bool {
    app.metric("wxgate_account_parked{account=\"shop\"}").await > 0.0
}

/// What `/ready` says is good for a second.
async fn until_ready_shows(app: &TestApp, is_shown: bool) {
    until("/ready knows it", async || {
        let reply = app.anonymous(Method::GET, "/ready").send().await;
        assert_eq!(reply.status, 200);
        let components = reply.json()["components"].as_array().unwrap().clone();
        components.iter().any(|part| part["name"] == "quota.shop" && part["status"] == "degraded") == is_shown
    })
    .await;
}

/// From the harness's Saturday morning to 00:06 on Sunday, both in Beijing.
async fn until_tomorrow(app: &TestApp) {
    let tomorrow = wxgate::services::verdict::next_quota_day(app.clock.now());
    app.advance(tomorrow.since(app.clock.now()) + Duration::from_secs(61)).await;
}

#[tokio::test]
async fn a_used_up_quota_parks_the_account_until_the_next_day_and_one_message_probes() {
    let logs = Logs::catch();
    let app = TestApp::start().await;
    // They wait in the queue already when the quota ends.
    app.sandbox.set_fault(Fault::errcode(45011).on(SEND).times(6));
    let mut waiting = Vec::new();
    for n in 0..6 {
        waiting.push(app.send_async(&format!("oWAITS{n}")).await.field("message_id"));
    }
    app.run_until_idle().await;
    let last = use_up(&app).await;
    assert!(parked(&app).await);
    until_ready_shows(&app, true).await;
    assert_eq!(logs.with("quota.exhausted").len(), 1);
    until("subscribers are told", async || {
        let told = app.get("/v1/events?types=quota.exhausted&account=shop").send().await.json();
        told["data"].as_array().unwrap().len() == 1 && told["data"][0]["data"]["remaining"] == 0
    })
    .await;
    assert_eq!(app.metric("wxgate_quota_remaining{account=\"shop\"}").await, 0.0);
    app.advance(Duration::from_secs(3600)).await;
    let calls = app.sandbox.calls(SEND);
    app.run_until_idle().await;
    assert_eq!(app.sandbox.calls(SEND), calls, "nothing of the account is tried");

    let refused = app.send("oNEW").await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.field("reason"), "account_quota");
    let wait = wxgate::services::verdict::next_quota_day(app.clock.now()).since(app.clock.now()).as_secs();
    assert_eq!(refused.header("retry-after"), Some(wait.to_string().as_str()));
    let mut body = order_notice("oDEFERRED");
    body["on_limit"] = json!("defer");
    let deferred = app.post("/send-template").json(&body).send().await;
    assert_eq!((deferred.status, deferred.field("state").as_str()), (202, "scheduled"), "{}", deferred.text);
    let deferred = deferred.field("message_id");
    assert!(app.message(&deferred).await["send_at"].as_str().unwrap().contains("T16:05:00"));
    body["dry_run"] = json!(true);
    assert!(app.post("/send-template").json(&body).send().await.text.contains("account_quota"));
    let mut batch = order_notice("oB");
    batch.as_object_mut().unwrap().remove("touser");
    batch["messages"] = json!([{"touser": "oB1"}, {"touser": "oB2", "on_limit": "defer"}]);
    let batch = app.post("/send-template/batch").json(&batch).send().await.json();
    assert_eq!((&batch["accepted"], &batch["rejected"][0]["error"]["reason"]), (&json!(1), &json!("account_quota")));

    until_tomorrow(&app).await;
    // The probe is slow, and the others wait for it.
    app.sandbox.set_fault(Fault::slow(300).on(SEND).times(1));
    let calls = app.sandbox.calls(SEND);
    app.app.worker().step().await.unwrap();
    app.app.worker().step().await.unwrap();
    app.app.settled().await;
    assert_eq!(app.sandbox.calls(SEND), calls + 1);
    app.run_until_idle().await;
    assert!(!parked(&app).await);
    until_ready_shows(&app, false).await;
    for id in waiting.iter().chain([&last, &deferred]) {
        assert_eq!(app.state_of(id).await, "sent");
    }
    assert_eq!(app.sandbox.messages().len(), 6 + 1 + 1 + 1, "each of them once");
    assert_eq!(app.send("oNEXT").await.status, 200);
}

#[tokio::test]
async fn a_restart_does_not_forget_and_the_probe_may_find_the_quota_still_used_up() {
    let app = TestApp::start().await;
    use_up(&app).await;
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    assert!(parked(&app).await);
    let calls = app.sandbox.calls(SEND);
    app.send("oNEW").await.is_problem(429, "rate_limited");
    until_tomorrow(&app).await;
    app.sandbox.set_quota_used(None, ALL);
    app.run_until_idle().await;
    assert_eq!(app.sandbox.calls(SEND), calls + 1);
    assert!(parked(&app).await);
    app.send("oNEW").await.is_problem(429, "rate_limited");
    until_tomorrow(&app).await;
    assert_eq!(app.send_async("oNEW").await.status, 202);
    app.run_until_idle().await;
    assert!(!parked(&app).await);
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    assert!(!parked(&app).await, "that it is over is not forgotten either");
}

#[tokio::test]
async fn one_refusal_does_not_park_an_account_that_has_quota_left() {
    let app = TestApp::start().await;
    let id = app.send_async("sim-quota").await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.message(&id).await["state_reason"], "quota_45009");
    assert!(!parked(&app).await);
    assert_eq!(app.send("oOTHER").await.status, 200);
    assert_eq!(app.sandbox.calls(QUOTA), 1);
    // Nobody can tell: then what WeChat said counts.
    app.advance(Duration::from_secs(60)).await;
    let deaf = app.sandbox.set_fault(Fault::errcode(76021).on(QUOTA));
    app.send_async("sim-quota").await;
    app.run_until_idle().await;
    assert!(parked(&app).await);
    // It is asked again soon, and goes on when there is some after all.
    app.sandbox.remove_fault(deaf);
    app.advance(Duration::from_secs(10)).await;
    app.tick().await;
    until("it sends again", async || !parked(&app).await).await;
    assert_eq!(app.send("oAGAIN").await.status, 200);
}

#[tokio::test]
async fn what_is_left_is_read_hourly_told_when_it_is_little_and_before_a_big_batch() {
    let logs = Logs::catch();
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.tick().await;
    until("it has been read", async || app.sandbox.calls(QUOTA) == 1).await;
    let left = async || app.metric("wxgate_quota_remaining{account=\"shop\"}").await;
    let all = 100_000_000.0;
    until("it shows", async || left().await == all - 1.0).await;
    assert_eq!(app.send("oSECOND").await.status, 200);
    assert_eq!(left().await, all - 2.0, "counted on from there");
    app.tick().await;
    assert_eq!(app.sandbox.calls(QUOTA), 1);
    app.sandbox.set_quota_used(None, ALL - 50);
    app.advance(Duration::from_secs(3_000)).await;
    let batch = async |count: usize| {
        let messages: Vec<_> = (0..count).map(|n| json!({"touser": format!("oBIG{n}")})).collect();
        let body =
            json!({"template_id": "TPL-ORDER", "data": {"thing1": "x", "amount2": "¥1.00"}, "messages": messages});
        let reply = app.post("/send-template/batch").json(&body).send().await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        reply.json()
    };
    assert_eq!(batch(40).await["warnings"], json!(null));
    assert_eq!(app.sandbox.calls(QUOTA), 1, "a small one is not worth a call");
    let told = batch(110).await["warnings"].clone();
    assert_eq!((&told[0]["code"], told.as_array().unwrap().len()), (&json!("daily_quota"), 1), "{told}");
    assert!(told[0]["detail"].as_str().unwrap().starts_with("60 of 110 messages"), "{told}");
    assert_eq!((app.sandbox.calls(QUOTA), logs.with("quota.low").len()), (2, 1));
}

#[tokio::test]
async fn a_quota_of_the_operators_own_is_kept() {
    let logs = Logs::catch();
    let setup = Setup { account: "daily_quota = 20".to_owned(), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    for n in 0..20 {
        assert_eq!(app.send(&format!("oOWN{n}")).await.status, 200, "{n}");
        assert_eq!(logs.with("quota.low").len(), usize::from(n >= 17));
    }
    assert_eq!(logs.with("quota.exhausted").len(), 1);
    assert!(parked(&app).await);
    let refused = app.send("oONE_MORE").await;
    refused.is_problem(429, "rate_limited");
    assert_eq!((refused.field("reason").as_str(), app.sandbox.calls(SEND)), ("account_quota", 20));
    until_tomorrow(&app).await;
    assert_eq!(app.send_async("oTOMORROW").await.status, 202);
    app.run_until_idle().await;
    assert_eq!((app.sandbox.calls(SEND), parked(&app).await), (21, false));
}
