//! A store that cannot be written: everything says so, nothing is lost, and it goes on by itself.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use wxgate::sandbox::CallbackRequest;

use super::wire::{no_fault_inside, rows};
use crate::harness::{TestApp, order_notice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_store_refuses_sends_keeps_reading_and_loses_nothing() {
    let app = TestApp::start().await;
    let before = app.send("oBEFORE").await.field("message_id");
    let other = rusqlite::Connection::open(app.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let sends = join_all((0..4).map(|n| {
        let request = app.post("/send-template").header("idempotency-key", &format!("k{n}"));
        request.json(&order_notice(&format!("oLOCKED{n}"))).send()
    }));
    let ready = app.anonymous(Method::GET, "/ready").send();
    let callback = app.sandbox.send_callback(CallbackRequest::text("oTALKS", "help"));
    let (replies, ready, callback) = tokio::join!(sends, ready, callback);
    for reply in &replies {
        reply.is_problem(503, "storage_unavailable");
        assert_eq!((reply.header("retry-after"), reply.json()["retryable"].as_bool()), (Some("5"), Some(true)));
        assert!(!reply.text.contains("wxgate.db") && !reply.text.to_lowercase().contains("sqlite"), "{}", reply.text);
    }
    assert_eq!((ready.status, ready.json()["ready"].clone()), (503, json!(false)), "{}", ready.text);
    assert_eq!(ready.json()["components"][0]["status"], "down");
    let callback = callback.unwrap();
    assert!(callback.status == 500 && !callback.accepted, "WeChat has to repeat it: {callback:?}");
    // Reading goes on.
    assert_eq!(app.state_of(&before).await, "sent");
    assert_eq!(app.anonymous(Method::GET, "/health").send().await.status, 200);
    assert_eq!(app.anonymous(Method::GET, "/metrics").send().await.status, 200);

    other.execute_batch("ROLLBACK").unwrap();
    // The same requests once more, as their callers were told.
    for n in 0..4 {
        let request = app.post("/send-template").header("idempotency-key", &format!("k{n}"));
        let reply = request.json(&order_notice(&format!("oLOCKED{n}"))).send().await;
        assert_eq!((reply.status, reply.header("idempotency-replayed")), (200, None), "{}", reply.text);
        assert_eq!(app.sandbox.deliveries_to(&format!("oLOCKED{n}")), 1);
    }
    let repeated = app.sandbox.send_callback(CallbackRequest::text("oTALKS", "help")).await.unwrap();
    assert!(repeated.accepted, "{repeated:?}");
    assert_eq!((rows(&app, "messages"), app.sandbox.message_count()), (5, 5));
    // What was remembered of the locked store is over by now, or is asked anew.
    let mut ready = app.anonymous(Method::GET, "/ready").send().await;
    while ready.status != 200 {
        tokio::task::yield_now().await;
        ready = app.anonymous(Method::GET, "/ready").send().await;
    }
    let text = app.anonymous(Method::GET, "/metrics").send().await.text;
    assert!(!text.contains("route=\"/send-template\",status=\"500\""), "{text}");
    assert!(text.contains("\nwxgate_messages_unaccounted 0\n"), "{text}");
}

#[tokio::test]
async fn a_store_that_is_closed_refuses_and_does_not_fall_over() {
    let app = TestApp::start().await;
    let id = app.send("oBEFORE").await.field("message_id");
    app.app.stores().close().await;
    for path in ["/send-template", &format!("/v1/messages/{id}/retry")] {
        let reply = app.post(path).json(&order_notice("oAFTER")).send().await;
        assert!([503, 409].contains(&reply.status), "{path} {}", reply.text);
    }
    app.post("/send-template").json(&order_notice("oAFTER")).send().await.is_problem(503, "storage_unavailable");
    assert_eq!(app.anonymous(Method::GET, "/health").send().await.status, 200);
    assert_eq!(app.sandbox.deliveries_to("oAFTER"), 0);
    no_fault_inside(&app).await;
}
