//! Lanes that run by themselves: none waits for another, and they end in good order.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wxgate::domain::ids::WebhookId;
use wxgate::domain::webhook::signing::WebhookSecret;
use wxgate::domain::webhook::url::WebhookUrl;
use wxgate::domain::webhook::{DeliveryStatus, StoredWebhook, WebhookOptions, WebhookSecrets};

use super::until;
use crate::harness::{Answer, Endpoint, Setup, TestApp};

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_nobody_else() {
    let (hanging, well) = (Endpoint::start().await, Endpoint::start().await);
    hanging.answers_always(Answer::Hang);
    let config = hanging.toml("a_hangs", "") + &well.toml("b_well", "");
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.app.courier().clone().run(stop.clone()));
    let begun = std::time::Instant::now();
    for number in 0..100 {
        app.raise("quota.low", None, number).await;
    }
    until(async || well.count() == 100).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(hanging.count(), 32, "it hangs still");
    hanging.let_go();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_happens_wakes_the_lane() {
    let subscriber = Endpoint::start().await;
    let app = super::with_crm(&subscriber).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.app.courier().clone().run(stop.clone()));
    app.raise("quota.low", None, 0).await;
    until(async || subscriber.count() == 1).await;
    let mut waited = Vec::new();
    for number in 1..=5 {
        let begun = std::time::Instant::now();
        app.raise("quota.low", None, number).await;
        until(async || subscriber.count() == number + 1).await;
        waited.push(begun.elapsed());
    }
    waited.sort();
    assert!(waited[2] < Duration::from_millis(500), "by the bell, not by the look once a second: {waited:?}");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_stop_lets_tries_end_and_keeps_what_they_came_to() {
    let subscriber = Endpoint::start().await;
    subscriber.answers_always(Answer::After(Duration::from_millis(600), 200));
    let app = super::with_crm(&subscriber).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.app.courier().clone().run(stop.clone()));
    for number in 0..3 {
        app.raise("quota.low", None, number).await;
    }
    until(async || subscriber.count() == 3).await;
    stop.cancel();
    running.await.unwrap();
    let delivered = app.deliveries(Some(DeliveryStatus::Delivered)).await;
    assert_eq!((delivered.len(), delivered[0].status_code), (3, Some(200)));
    app.raise("quota.low", None, 4).await;
    assert_eq!(subscriber.count(), 3, "nothing begins any more");
}

#[tokio::test]
async fn changes_reach_a_lane_that_runs() {
    let (old, new) = (Endpoint::start().await, Endpoint::start().await);
    let app = TestApp::start_with(Setup {
        head: "webhooks.allow_cidrs = [\"127.0.0.0/8\"]\n".to_owned(),
        ..Setup::default()
    })
    .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.app.courier().clone().run(stop.clone()));
    let stores = app.app.stores();
    let webhook = StoredWebhook {
        id: WebhookId::generate(app.now()),
        url: WebhookUrl::parse(&old.url).unwrap(),
        secrets: Some(WebhookSecrets { current: WebhookSecret::generate(), previous: None }),
        options: WebhookOptions::default(),
        revision: 1,
        created_at: app.now(),
        updated_at: app.now(),
    };
    app.raise("quota.low", None, 0).await;
    stores.webhooks.add(webhook.clone(), act(&app)).await.unwrap();
    app.raise("quota.low", None, 1).await;
    until(async || old.count() == 1).await;
    assert_eq!(old.told()[0].json()["data"]["n"], 1, "from when it was made");
    let moved = StoredWebhook { url: WebhookUrl::parse(&new.url).unwrap(), revision: 2, ..webhook.clone() };
    assert!(stores.webhooks.change(moved, act(&app)).await.unwrap());
    let mut number = 2;
    until(async || {
        app.raise("quota.low", None, number).await;
        number += 1;
        new.count() > 0
    })
    .await;
    stores.webhooks.remove(&webhook.id.to_string(), app.now(), act(&app)).await.unwrap();
    // Each of them was told to one of the two, and none to both.
    let told = |subscriber: &Endpoint| subscriber.told().iter().map(|told| told.id.clone()).collect::<Vec<_>>();
    assert!(told(&old).iter().all(|id| !told(&new).contains(id)));
    stop.cancel();
    running.await.unwrap();
}

fn act(app: &TestApp) -> wxgate::domain::audit::Act {
    use wxgate::domain::audit::{Act, Action, Actor};
    Act::new(app.now(), Actor::gateway(), Action::KeyCreated, "crm")
}
