//! A subscriber that is down, and comes back: everything is told, in order, and little is wasted meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use wxgate::domain::webhook::DeliveryStatus;

use super::{MINUTE, with_crm};
use crate::harness::{Answer, Endpoint, Setup, TestApp};

const MESSAGES: usize = 150;

/// An event of each of these messages.
async fn raise(app: &TestApp, kind: &'static str, messages: std::ops::Range<usize>) {
    for number in messages {
        app.raise(kind, Some(&format!("msg_{number}")), number).await;
    }
}

#[tokio::test]
async fn who_was_down_for_an_hour_is_told_everything_once_and_in_order() {
    let subscriber = Endpoint::start().await;
    let app = with_crm(&subscriber).await;
    raise(&app, "message.sent", 0..10).await;
    app.deliver().await;
    assert_eq!(subscriber.taken().len(), 10);
    subscriber.answers_always(Answer::Status(503));
    // For an hour something happens every minute.
    for minute in 0..60 {
        let batch = 10 + minute * 2..12 + minute * 2;
        raise(&app, "message.sent", batch.clone()).await;
        raise(&app, "message.delivered", batch).await;
        for _ in 0..6 {
            app.advance(Duration::from_secs(10)).await;
            app.deliver().await;
        }
    }
    let probes = subscriber.count() - 10;
    assert!(probes < 40, "{probes} tries in an hour, of which none could be good");
    assert!(app.deliveries(None).await.len() < 10 + 40, "what waits is not claimed");
    assert!(app.metric("wxgate_webhook_lag_seconds{webhook=\"crm\"}").await > 3000.0);
    subscriber.answers_always(Answer::Status(200));
    let mut minutes = 0;
    while subscriber.taken().len() < 10 + 120 * 2 {
        app.advance(MINUTE).await;
        app.deliver().await;
        minutes += 1;
        assert!(minutes < 3 * 60, "{} of {}", subscriber.taken().len(), 10 + 120 * 2);
    }
    app.advance(MINUTE * 60 * 24).await;
    app.deliver().await;
    let mut by_message: HashMap<String, Vec<String>> = HashMap::new();
    for told in subscriber.taken() {
        by_message.entry(told.message()).or_default().push(told.kind());
    }
    assert_eq!(by_message.len(), 130);
    for number in 10..130 {
        assert_eq!(by_message[&format!("msg_{number}")], ["message.sent", "message.delivered"], "{number}");
    }
    assert!(app.deliveries(Some(DeliveryStatus::Dead)).await.is_empty());
    assert!(app.deliveries(Some(DeliveryStatus::Pending)).await.is_empty());
}

#[tokio::test]
async fn most_is_told_at_once_when_it_is_back() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::Status(503));
    let app = with_crm(&subscriber).await;
    raise(&app, "message.sent", 0..MESSAGES).await;
    app.deliver().await;
    let first = subscriber.count();
    assert!(first <= 32, "{first} at once");
    subscriber.answers_always(Answer::Status(200));
    app.advance(Duration::from_secs(6)).await;
    app.deliver().await;
    assert_eq!(subscriber.taken().len(), MESSAGES, "in one go, step by step");
}

#[tokio::test]
async fn a_backlog_is_neither_claimed_nor_held_in_memory() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::Hang);
    let app = with_crm(&subscriber).await;
    raise(&app, "message.sent", 0..300).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let running = tokio::spawn(app.app.courier().clone().run(stop.clone()));
    super::until(async || subscriber.count() == 32).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((subscriber.count(), subscriber.most_at_once()), (32, 32));
    assert_eq!(app.deliveries(None).await.len(), 32);
    // They are let go, and fail: one probes, later.
    subscriber.let_go();
    super::until(async || app.deliveries(None).await.iter().all(|delivery| delivery.attempts == 1)).await;
    assert_eq!(app.deliveries(None).await.len(), 32);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn pending_deliveries_outlive_the_process() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::Status(500));
    let app = with_crm(&subscriber).await;
    raise(&app, "message.sent", 0..3).await;
    raise(&app, "message.delivered", 0..1).await;
    app.deliver().await;
    assert_eq!(subscriber.count(), 3);
    let (folder, world) = app.stop().await;
    subscriber.answers_always(Answer::Status(200));
    let setup =
        Setup { config: subscriber.toml("crm", ""), folder: Some(folder), world: Some(world), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    app.deliver().await;
    assert_eq!(subscriber.count(), 3, "they wait for their time");
    app.advance(Duration::from_secs(6)).await;
    app.deliver().await;
    assert_eq!(subscriber.taken().len(), 4);
    assert!(app.deliveries(Some(DeliveryStatus::Delivered)).await.iter().any(|delivery| delivery.attempts == 2));
}
