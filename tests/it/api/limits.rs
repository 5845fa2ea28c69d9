//! How often is too often: for a person, for the same words, for a client.

use std::time::Duration;

use serde_json::json;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;

use crate::harness::{Reply, Setup, TestApp, order_notice};

async fn with_limits(config: &str) -> TestApp {
    TestApp::start_with(Setup { config: format!("\n[limits]\n{config}\n"), ..Setup::default() }).await
}

/// A body that differs from every other.
fn notice(touser: &str, n: usize) -> serde_json::Value {
    let mut body = order_notice(touser);
    body["data"]["thing1"] = json!(format!("order {n}"));
    body
}

async fn post(app: &TestApp, body: &serde_json::Value) -> Reply {
    app.post("/send-template").json(body).send().await
}

#[tokio::test]
async fn a_person_gets_the_burst_and_then_the_pace() {
    let app = with_limits("openid = { rate = 30, per = \"minute\", burst = 3 }").await;
    for n in 0..3 {
        let reply = post(&app, &notice("oP", n)).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"openid\";q=30;w=60, \"identical\";q=5;w=60"));
        assert!(reply.header("ratelimit").unwrap().starts_with(&format!("\"openid\";r={}", 2 - n)));
    }
    let refused = post(&app, &notice("oP", 3)).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!((refused.field("reason").as_str(), refused.header("retry-after")), ("openid_rate", Some("2")));
    assert!(refused.header("ratelimit").unwrap().starts_with("\"openid\";r=0;t=6"), "{:?}", refused.headers);
    assert_eq!(post(&app, &notice("oOTHER", 4)).await.status, 200);
    assert_eq!(app.sandbox.messages().len(), 4, "what is refused never reaches WeChat");
    assert_eq!(app.metric("wxgate_rate_limited_total{limit=\"openid\"}").await, 1.0);
    assert_eq!(app.metric("wxgate_messages_accepted_total").await, 4.0);
    app.advance(Duration::from_secs(2)).await;
    assert_eq!(post(&app, &notice("oP", 5)).await.status, 200);
    post(&app, &notice("oP", 6)).await.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn the_same_words_to_the_same_person_stop_early() {
    let app = with_limits("identical = { rate = 2, per = \"hour\", burst = 2 }").await;
    for _ in 0..2 {
        assert_eq!(app.send("oSAME").await.status, 200);
    }
    let refused = app.send("oSAME").await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.field("reason"), "identical_message");
    assert_eq!(refused.header("retry-after"), Some("1800"));
    // Other words, or another person.
    assert_eq!(post(&app, &notice("oSAME", 1)).await.status, 200);
    assert_eq!(app.send("oOTHER").await.status, 200);
}

#[tokio::test]
async fn a_client_is_limited_and_others_are_not() {
    let app = with_limits("client = { rate = 1, per = \"minute\", burst = 2 }").await;
    let other = app.make_key("other", &[Scope::Send], None, None).await;
    for n in 0..2 {
        assert_eq!(post(&app, &notice(&format!("o{n}"), n)).await.status, 200);
    }
    let refused = post(&app, &notice("o2", 2)).await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.field("reason"), "client_rate");
    let reply = app
        .anonymous(reqwest::Method::POST, "/send-template")
        .header("authorization", &format!("Bearer {other}"))
        .json(&notice("o3", 3))
        .send()
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
}

#[tokio::test]
async fn a_repeat_with_its_key_is_answered_whatever_the_limits_say() {
    let app = with_limits("openid = { rate = 1, per = \"hour\", burst = 1 }").await;
    let with_key =
        |key: &str, n| app.post("/send-template").header("idempotency-key", key).json(&notice("oK", n)).send();
    let first = with_key("k1", 1).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = with_key("k1", 1).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")), "{}", again.text);
    assert_eq!(again.field("message_id"), first.field("message_id"));
    with_key("k1", 2).await.is_problem(422, "idempotency_mismatch");
    with_key("k2", 2).await.is_problem(429, "rate_limited");
    assert_eq!(app.sandbox.messages().len(), 1);
}

#[tokio::test]
async fn deferred_messages_go_out_at_the_pace_one_after_the_other() {
    let app = with_limits("openid = { rate = 1, per = \"minute\", burst = 1 }").await;
    let start = app.clock.now();
    let mut ids = Vec::new();
    for n in 0..4 {
        let mut body = notice("oD", n);
        body["on_limit"] = json!("defer");
        let reply = post(&app, &body).await;
        let expected = if n == 0 { (200, "sent") } else { (202, "scheduled") };
        assert_eq!((reply.status, reply.field("state").as_str()), expected, "{}", reply.text);
        ids.push(reply.field("message_id"));
    }
    let last = app.message(&ids[3]).await;
    assert_eq!(last["send_at"], start.plus(Duration::from_secs(180)).to_string());
    for sent in 1..=4 {
        app.run_until_idle().await;
        assert_eq!(app.sandbox.deliveries_to("oD"), sent);
        app.advance(Duration::from_secs(60)).await;
    }
    // One that would wait beyond its life is refused.
    let mut body = notice("oD", 9);
    body["on_limit"] = json!("defer");
    body["ttl_s"] = json!(30);
    assert_eq!(post(&app, &body).await.status, 200);
    body["data"]["thing1"] = json!("another");
    post(&app, &body).await.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn observing_refuses_nothing_and_counts() {
    let app = with_limits("mode = \"observe\"\nopenid = { rate = 1, per = \"hour\", burst = 1 }").await;
    for n in 0..3 {
        assert_eq!(post(&app, &notice("oV", n)).await.status, 200);
    }
    assert_eq!(app.metric("wxgate_rate_limit_observed_total{limit=\"openid\"}").await, 2.0);
    assert_eq!(app.metric("wxgate_rate_limited_total{limit=\"openid\"}").await, 0.0);
}

#[tokio::test]
async fn two_hundred_at_once_get_exactly_the_burst() {
    let app = with_limits("openid = { rate = 1, per = \"hour\", burst = 20 }\nidentical.rate = 0").await;
    let replies = futures_util::future::join_all((0..200).map(|n| {
        let body = notice("oRUSH", n);
        let app = &app;
        async move { post(app, &body).await.status }
    }))
    .await;
    assert_eq!(replies.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(replies.iter().filter(|status| **status == 429).count(), 180);
    assert_eq!(app.sandbox.deliveries_to("oRUSH"), 20);
}
