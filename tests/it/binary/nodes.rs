//! Two gateways on one PostgreSQL database, and one of them is killed: the other finishes what that had begun.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use wxgate::sandbox::Fault;

use super::process::{Place, Program, until};
use crate::harness::{Endpoint, order_notice};
use crate::store::backend::Database;

const MESSAGES: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_messages_survive_the_kill_of_a_node_and_none_shows_twice() {
    let database = Database::create().await;
    let place = Place::prepare_in(&database.toml(), "queue.concurrency = 24").await;
    place.sandbox.set_fault(Fault::slow(20).on("/cgi-bin/message/template/send"));
    let (first, second) = (place.start().await, place.start_beside().await);
    let accepted = stream::iter(0..MESSAGES).map(|n| accept(if n % 2 == 0 { &first } else { &second }, n));
    let ids: Vec<String> = accepted.buffer_unordered(64).collect().await;
    until("some are under way", async || place.sandbox.messages().len() > 60).await;
    let taken = place.sandbox.messages().len();
    first.kill();
    assert!(taken < MESSAGES, "the kill came too late to mean anything: {taken}");

    // Receipts go to the one that is dead: `sent` is as far as they come.
    let mut left = ids.clone();
    until("every message has been sent", async || {
        let mut still = Vec::new();
        for id in &left {
            let message = second.get(&format!("/v1/messages/{id}")).await;
            match message["state"].as_str() {
                Some("sent" | "delivered") => {}
                Some("queued" | "sending") => still.push(id.clone()),
                other => panic!("{other:?}: {message}"),
            }
        }
        left = still;
        left.is_empty()
    })
    .await;
    for n in 0..MESSAGES {
        assert_eq!(place.sandbox.deliveries_to(&format!("oNODE{n}")), 1, "{n}");
    }
    until("the figures of both are together", async || {
        let metrics = second.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let total: usize = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("wxgate_messages_total{")?.rsplit(' ').next()?.parse::<usize>().ok())
            .sum();
        metrics.contains("\nwxgate_messages_unaccounted 0\n") && total == MESSAGES
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_everything_when_the_node_that_told_it_is_killed() {
    let (database, subscriber) = (Database::create().await, Endpoint::start().await);
    let place = Place::prepare_in(&database.toml(), &subscriber.line("crm")).await;
    // It takes the lane, since it is alone.
    let first = place.start().await;
    accept(&first, 0).await;
    until("the webhook is told", async || subscriber.count() > 0).await;
    let second = place.start_beside().await;
    let accepted = stream::iter(1..60).map(|n| accept(&second, n)).buffer_unordered(16).collect::<Vec<_>>().await;
    until("some are told", async || subscriber.count() > 20).await;
    first.kill();
    let killed = std::time::Instant::now();
    let later = stream::iter(60..90).map(|n| accept(&second, n)).buffer_unordered(16).collect::<Vec<_>>().await;
    until("everything is told", async || {
        let told = subscriber.told();
        accepted.iter().chain(&later).all(|id| told.iter().any(|told| told.message() == *id))
    })
    .await;
    assert!(killed.elapsed() < Duration::from_secs(20), "{:?}", killed.elapsed());
}

async fn accept(program: &Program, n: usize) -> String {
    let mut body = order_notice(&format!("oNODE{n}"));
    body["async"] = json!(true);
    let request = program.request(reqwest::Method::POST, "/send-template").json(&body);
    let response = request.timeout(Duration::from_secs(30)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<serde_json::Value>().await.unwrap()["message_id"].as_str().unwrap().to_owned()
}
