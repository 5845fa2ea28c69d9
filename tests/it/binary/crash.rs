//! `kill -9` in the middle: everything that was answered 202 ends, and nobody's phone shows it twice.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use wxgate::sandbox::Fault;

use crate::support::order_notice;
use crate::support::process::{Place, Program, until};

const MESSAGES: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_messages_survive_a_kill_and_none_shows_twice() {
    let place = Place::prepare("queue.concurrency = 24").await;
    // Slow enough that the kill meets messages queued, under way and answered but not settled.
    place.sandbox.set_fault(Fault::slow(20).on("/cgi-bin/message/template/send"));
    let program = place.start().await;
    let ids: Vec<String> = stream::iter(0..MESSAGES).map(|n| accept(&program, n)).buffer_unordered(64).collect().await;
    until("some are under way", async || place.sandbox.messages().len() > 60).await;
    let taken = place.sandbox.messages().len();
    program.kill();
    assert!(taken < MESSAGES, "the kill came too late to mean anything: {taken}");

    let program = place.start().await;
    let mut left = ids.clone();
    until("every message has ended", async || {
        let mut still = Vec::new();
        for id in &left {
            let message = program.get(&format!("/v1/messages/{id}")).await;
            match message["state"].as_str() {
                Some("delivered") => {}
                Some("sent" | "queued" | "sending") => still.push(id.clone()),
                other => panic!("{other:?}: {message}"),
            }
        }
        left = still;
        left.is_empty()
    })
    .await;
    for n in 0..MESSAGES {
        assert_eq!(place.sandbox.deliveries_to(&format!("oCRASH{n}")), 1, "{n}");
    }
    let metrics = program.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nwxgate_messages_unaccounted 0\n"), "{metrics}");
    assert!(metrics.contains("wxgate_messages_total{account=\"shop\",state=\"delivered\"} 500\n"), "{metrics}");
}

async fn accept(program: &Program, n: usize) -> String {
    let mut body = order_notice(&format!("oCRASH{n}"));
    body["async"] = json!(true);
    let request = program.request(reqwest::Method::POST, "/send-template").json(&body);
    let response = request.timeout(Duration::from_secs(30)).send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<serde_json::Value>().await.unwrap()["message_id"].as_str().unwrap().to_owned()
}
