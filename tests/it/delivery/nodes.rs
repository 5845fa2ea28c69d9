//! Two gateways on one PostgreSQL database: what one of them knows, the other knows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use wxgate::sandbox::{CallbackRequest, Fault};

use crate::harness::{Setup, TestApp, World, order_notice};
use crate::store::backend::Database;

/// `a` has one slot.
async fn two_nodes() -> (Database, Arc<TestApp>, Arc<TestApp>) {
    let (database, world) = (Database::create().await, World::start().await);
    let node = async |config: &str, listen: &str| {
        let storage = Some(format!("{}\nserver.listen = \"{listen}\"", database.toml()));
        let setup = Setup { storage, config: config.to_owned(), world: Some(world.clone()), ..Setup::default() };
        Arc::new(TestApp::start_with(setup).await)
    };
    // The addresses are names here: each serves on a free port.
    let a = node("\n[queue]\nconcurrency = 1\n", "127.0.0.1:1").await;
    let b = node("", "127.0.0.1:2").await;
    (database, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_hears_at_once_what_another_node_has_sent() {
    let (_database, a, b) = two_nodes().await;
    // Nobody tells anybody before it has seen that there is somebody.
    let hears = a.clone();
    let listening = tokio::spawn(async move {
        loop {
            hears.app.listener().step().await;
        }
    });
    // The one slot of `a` is taken, so the next message is queued, and its caller waits.
    a.sandbox.set_fault(Fault::slow(3000).on("/cgi-bin/message/template/send").times(1));
    let busy = tokio::spawn({
        let a = a.clone();
        async move { a.send("oFIRST").await }
    });
    until(async || a.sandbox.calls("/cgi-bin/message/template/send") == 1).await;
    let begun = std::time::Instant::now();
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.send("oSECOND").await }
    });
    until(async || {
        b.run_until_idle().await;
        waiting.is_finished()
    })
    .await;
    let reply = waiting.await.unwrap();
    assert_eq!(
        (reply.status, reply.json()["state"].clone(), reply.json()["attempts"].clone()),
        (200, json!("sent"), json!(1))
    );
    assert!(begun.elapsed() < Duration::from_secs(8), "it was answered when its patience ended: {:?}", begun.elapsed());
    assert_eq!(busy.await.unwrap().status, 200);
    assert_eq!((a.sandbox.deliveries_to("oFIRST"), a.sandbox.deliveries_to("oSECOND")), (1, 1));
    listening.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_replays_receipts_and_users_are_those_of_both_nodes() {
    let (_database, a, b) = two_nodes().await;
    // A key that was made at one opens the other, as soon as that looks.
    b.tick().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |app: &TestApp| {
        let request =
            client.post(format!("{}/send-template", app.url)).bearer_auth(&a.key).header("idempotency-key", "k1");
        let response = request.json(&order_notice("oBOTH")).send().await.unwrap();
        let replayed = response.headers().contains_key("idempotency-replayed");
        (replayed, response.json::<serde_json::Value>().await.unwrap())
    };
    let (first, here) = send(&a).await;
    let (second, there) = send(&b).await;
    assert_eq!((first, second), (false, true));
    assert_eq!((&here["message_id"], &here["msgid"]), (&there["message_id"], &there["msgid"]));
    assert_eq!(a.sandbox.deliveries_to("oBOTH"), 1);

    // The sandbox reports to the node that was set up last.
    let id = here["message_id"].as_str().unwrap();
    let msgid = here["msgid"].as_str().unwrap().parse().unwrap();
    let callback = a.sandbox.send_callback(CallbackRequest::receipt("oBOTH", msgid, "success")).await.unwrap();
    assert!(callback.accepted, "{callback:?}");
    assert_eq!((a.state_of(id).await, b.state_of(id).await), ("delivered".to_owned(), "delivered".to_owned()));
}

/// Looks until it holds: the two nodes share no memory.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
