//! One delivery and its tries: what is sent, when it is tried again, when it ends.

use std::collections::HashSet;
use std::time::Duration;

use wxgate::domain::webhook::{DeliveryStatus, DisabledReason};

use super::{MINUTE, with_crm};
use crate::harness::{Answer, Endpoint, Logs, SECRET, Setup, TestApp, Told};

#[tokio::test]
async fn what_happened_is_told_signed() {
    let subscriber = Endpoint::start().await;
    let app = with_crm(&subscriber).await;
    let logs = Logs::catch();
    let message = app.send("oFAN").await.field("message_id");
    app.deliver().await;
    let told = subscriber.told();
    assert_eq!(told.len(), 1, "{told:?}");
    let (told, kept) = (&told[0], &app.get("/v1/events?types=message.sent").send().await.json()["data"][0]);
    assert_eq!((&told.json(), told.id.as_str()), (kept, kept["id"].as_str().unwrap()));
    assert_eq!((told.kind(), told.message()), ("message.sent".to_owned(), message));
    assert_eq!(told.header("content-type"), "application/json");
    assert_eq!(told.header("webhook-timestamp"), app.now().as_seconds().to_string());
    // Its clock is ours only by the second that is signed.
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    let now = told.header("webhook-timestamp").parse().unwrap();
    let signature = verifier.sign(&told.id, now, told.body.as_bytes()).unwrap();
    assert_eq!(told.header("webhook-signature"), signature);
    let delivery = &app.deliveries(None).await[0];
    assert_eq!((delivery.status, delivery.status_code, delivery.attempts), (DeliveryStatus::Delivered, Some(204), 1));
    assert_eq!(app.metric("wxgate_webhook_deliveries_total{result=\"delivered\",webhook=\"crm\"}").await, 1.0);
    assert_eq!(app.metric("wxgate_webhook_lag_seconds{webhook=\"crm\"}").await, 0.0);
    app.deliver().await;
    assert_eq!(subscriber.count(), 1, "once");
    assert!(logs.with("not-for-logs").is_empty() && logs.with("whsec").is_empty());
}

#[tokio::test]
async fn one_is_told_what_it_asked_for_from_the_moment_when_it_was_there() {
    let (subscriber, other) = (Endpoint::start().await, Endpoint::start().await);
    let app = TestApp::start().await;
    app.raise("quota.low", None, 1).await;
    let (folder, world) = app.stop().await;
    let config = subscriber.toml("crm", "events = [\"quota.*\"]") + &other.toml("erp", "accounts = [\"shop\"]");
    let setup = Setup { config, folder: Some(folder), world: Some(world), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    for (number, kind) in (2..).zip(["message.sent", "quota.exhausted", "batch.finished"]) {
        app.raise(kind, None, number).await;
    }
    app.deliver().await;
    let kinds = |subscriber: &Endpoint| subscriber.told().iter().map(Told::kind).collect::<Vec<_>>();
    assert_eq!(kinds(&subscriber), ["quota.exhausted"]);
    assert_eq!(kinds(&other).into_iter().collect::<HashSet<_>>().len(), 3, "{:?}", kinds(&other));
}

#[tokio::test]
async fn it_is_tried_again_as_is_documented_and_then_it_is_dead() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::Status(500));
    let app = with_crm(&subscriber).await;
    let logs = Logs::catch();
    app.raise("quota.low", None, 1).await;
    app.deliver().await;
    let hour = MINUTE * 60;
    let waits = [Duration::from_secs(5), MINUTE * 5, MINUTE * 30, hour * 2, hour * 5, hour * 10, hour * 10];
    for (tries, wait) in (1..).zip(waits) {
        assert_eq!(subscriber.count(), tries);
        app.advance(wait - Duration::from_millis(1)).await;
        app.deliver().await;
        assert_eq!(subscriber.count(), tries, "not yet");
        app.advance(wait / 10).await;
        app.deliver().await;
    }
    assert_eq!(subscriber.count(), 8);
    let dead = &app.deliveries(Some(DeliveryStatus::Dead)).await[0];
    assert_eq!((dead.attempts, dead.status_code, dead.error.as_deref()), (8, Some(500), Some("answered 500")));
    app.advance(hour * 100).await;
    app.deliver().await;
    assert_eq!(subscriber.count(), 8, "it is over");
    let told = subscriber.told();
    assert_eq!(told.iter().map(|told| (&told.id, &told.body)).collect::<HashSet<_>>().len(), 1, "the same every time");
    let times: HashSet<_> = told.iter().map(|told| told.header("webhook-timestamp")).collect();
    assert_eq!(times.len(), 8, "and signed anew");
    assert_eq!(logs.with("was given up").len(), 1);
    assert!(logs.with("not-for-logs").is_empty());
    assert_eq!(app.metric("wxgate_webhook_deliveries_total{result=\"failed\",webhook=\"crm\"}").await, 7.0);
    assert_eq!(app.metric("wxgate_webhook_deliveries_total{result=\"dead\",webhook=\"crm\"}").await, 1.0);
}

#[tokio::test]
async fn an_endpoint_may_ask_for_a_later_try() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::Later(429, 240));
    let app = with_crm(&subscriber).await;
    app.raise("quota.low", None, 1).await;
    app.deliver().await;
    app.raise("quota.exhausted", None, 2).await;
    for seconds in [5, 60, 174] {
        app.advance(Duration::from_secs(seconds)).await;
        app.deliver().await;
        assert_eq!(subscriber.count(), 1, "neither this one nor another");
    }
    subscriber.answers_always(Answer::Status(200));
    app.advance(Duration::from_secs(1)).await;
    app.deliver().await;
    assert_eq!(subscriber.count(), 3);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_gets_nothing_more_until_somebody_says_so() {
    let (subscriber, other) = (Endpoint::start().await, Endpoint::start().await);
    subscriber.answers_always(Answer::Status(410));
    let config = subscriber.toml("crm", "") + &other.toml("erp", "events = [\"webhook.*\"]");
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    app.raise("quota.low", None, 1).await;
    app.deliver().await;
    app.raise("quota.low", None, 2).await;
    for _ in 0..3 {
        app.advance(MINUTE * 60).await;
        app.deliver().await;
    }
    assert_eq!(subscriber.count(), 1);
    let standings = app.app.stores().webhooks.standings().await.unwrap();
    assert_eq!(standings[0].disabled.map(|disabled| disabled.reason), Some(DisabledReason::Gone));
    assert_eq!(app.deliveries(Some(DeliveryStatus::Dead)).await.len(), 1);
    let told = other.told();
    assert_eq!(told.len(), 1);
    let data = told[0].json()["data"].clone();
    assert_eq!((data["webhook"].as_str(), data["reason"].as_str()), (Some("crm"), Some("gone")));
    assert!(!told[0].body.contains("not-for-logs"), "only its host");
    subscriber.answers_always(Answer::Status(200));
    let act = wxgate::domain::audit::Act::new(
        app.now(),
        wxgate::domain::audit::Actor::gateway(),
        wxgate::domain::audit::Action::KeyCreated,
        "crm",
    );
    assert!(app.app.stores().webhooks.enable("crm", false, app.now(), act).await.unwrap());
    app.deliver().await;
    assert_eq!(subscriber.taken().len(), 2, "it goes on where it stopped");
}

#[tokio::test]
async fn redirects_refusals_and_dead_ports_are_failures() {
    let subscriber = Endpoint::start().await;
    let app = with_crm(&subscriber).await;
    for (number, status) in (0..).zip([302, 400, 404]) {
        subscriber.answers_always(Answer::Status(status));
        app.raise("quota.low", None, number).await;
        app.deliver().await;
        let pending = app.deliveries(Some(DeliveryStatus::Pending)).await;
        assert_eq!((pending.len(), pending[0].status_code), (number + 1, Some(status)));
    }
    let port = crate::harness::free_port();
    let config =
        format!("\n[webhooks.crm]\nurl = \"http://127.0.0.1:{port}/\"\nsecret = \"{SECRET}\"\nallow_private = true\n");
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    app.raise("quota.low", None, 1).await;
    app.deliver().await;
    let pending = &app.deliveries(Some(DeliveryStatus::Pending)).await[0];
    assert_eq!((pending.attempts, pending.status_code), (1, None));
    assert!(pending.error.as_deref().unwrap().starts_with("connect: "), "{pending:?}");
}
