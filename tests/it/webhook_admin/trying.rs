//! `POST /v1/webhooks/{id}/test`: what would become of a delivery right now.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{FIRST, loopback, made, make, patch, today, view};
use crate::harness::{Reply, Say, Subscriber, TestApp};

async fn test(app: &TestApp, id: &str) -> Reply {
    let reply = app.post(&format!("/v1/webhooks/{id}/test")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply
}

#[tokio::test]
async fn a_try_tells_what_came_of_it_and_leaves_no_trace() {
    let (app, subscriber) = (today(loopback()).await, Subscriber::start().await);
    let made = make(&app, &json!({"url": subscriber.url, "secret": FIRST, "events": ["user.*"]})).await;
    let id = made.field("id");
    let good = test(&app, &id).await.json();
    let told = subscriber.last();
    assert!(told.is_signed_with(FIRST));
    assert_eq!((&good["delivered"], &good["status_code"], &good["error"]), (&json!(true), &json!(204), &Value::Null));
    assert_eq!((&told.json()["type"], &told.json()["data"]), (&json!("webhook.test"), &json!({"webhook": id})));
    assert_eq!(good["event_id"], told.header("webhook-id"));
    assert!(good["duration_ms"].as_u64().unwrap() < 60_000);

    for (status, word) in [(500, "only 2xx"), (401, "signature"), (410, "gone"), (302, "redirects are not followed")] {
        subscriber.next(&[status]);
        let bad = test(&app, &id).await.json();
        assert_eq!(
            (&bad["delivered"], &bad["status_code"], &bad["error"]),
            (&json!(false), &json!(status), &json!("status"))
        );
        assert!(bad["detail"].as_str().unwrap().contains(word), "{bad}");
    }
    // Also while it is off; and a try switches nothing off.
    assert_eq!(view(&app, &id).await["enabled"], true);
    assert_eq!(patch(&app, &id, &json!({"enabled": false})).await.status, 200);
    assert_eq!(test(&app, &id).await.json()["delivered"], true);
    let kept = app.get(&format!("/v1/webhooks/{id}/deliveries")).send().await.json();
    assert_eq!(kept["data"], json!([]));
    assert_eq!(app.get("/v1/events?types=webhook.*").send().await.json()["data"], json!([]));
}

#[tokio::test]
async fn one_that_cannot_be_reached_says_how_far_it_came() {
    let app = TestApp::start_with(loopback()).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = Subscriber::start().await;
    for (url, error) in [
        (format!("http://{free}/x?key=h1dden"), "connect"),
        ("http://nobody.invalid/x?key=h1dden".to_owned(), "dns"),
        (plain.url.replace("http:", "https:"), "tls"),
    ] {
        let id = make(&app, &json!({"url": url})).await.field("id");
        let tried = test(&app, &id).await;
        let view = tried.json();
        assert_eq!(
            (&view["delivered"], &view["status_code"], &view["error"]),
            (&json!(false), &Value::Null, &json!(error))
        );
        assert!(
            !tried.text.contains("h1dden") && view["detail"].as_str().is_some_and(|text| !text.is_empty()),
            "{view}"
        );
    }
}

#[tokio::test]
async fn a_redirect_leads_nowhere_and_a_huge_answer_is_an_answer() {
    let app = TestApp::start_with(loopback()).await;
    let (outside, inside) = (Subscriber::start().await, Subscriber::start().await);
    let id = made(&app, &outside).await;
    for status in [301, 302, 303, 307, 308] {
        outside.say(Say { status, header: Some(("location", inside.url.clone())), body: Bytes::new() });
        assert_eq!(test(&app, &id).await.json()["status_code"], status);
    }
    assert_eq!(inside.told().len(), 0);
    outside.say(Say { status: 200, header: None, body: Bytes::from(vec![b'x'; 5 << 20]) });
    assert_eq!(test(&app, &id).await.json()["delivered"], true);
}
