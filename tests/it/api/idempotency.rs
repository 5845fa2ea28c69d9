//! The same send twice: one message, one push.

use std::collections::HashSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use wxgate::domain::caller::Scope;

use super::wire::{JSON, no_fault_inside, post_raw, rows};
use crate::harness::{Reply, TestApp, order_notice};

async fn send(app: &TestApp, key: &str, body: &serde_json::Value) -> Reply {
    app.post("/send-template").header("idempotency-key", key).json(body).send().await
}

#[tokio::test]
async fn the_same_key_and_body_give_the_same_message_in_its_present_state() {
    let app = TestApp::start().await;
    let body = order_notice("oTWICE");
    let first = send(&app, "order-7", &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None));
    let again = send(&app, "order-7", &body).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")), "{}", again.text);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    app.sandbox.deliver_receipts().await;
    assert_eq!(send(&app, "order-7", &body).await.field("state"), "delivered");
    assert_eq!((rows(&app, "messages"), app.sandbox.deliveries_to("oTWICE")), (1, 1));
}

#[tokio::test]
async fn another_body_under_the_same_key_is_refused_with_the_first_message() {
    let app = TestApp::start().await;
    let first = send(&app, "k", &order_notice("oFIRST")).await;
    let mut other = order_notice("oFIRST");
    for (field, value) in [("touser", json!("oSECOND")), ("async", json!(true)), ("metadata", json!({"a": "b"}))] {
        other[field] = value;
        let reply = send(&app, "k", &other).await;
        reply.is_problem(422, "idempotency_mismatch");
        assert_eq!(reply.field("message_id"), first.field("message_id"));
        assert!(reply.header("idempotency-replayed").is_none());
    }
    assert_eq!((rows(&app, "messages"), app.sandbox.message_count()), (1, 1));
    assert_eq!(send(&app, "K", &other).await.status, 202, "keys know capitals");
}

#[tokio::test]
async fn blanks_escapes_and_the_order_of_keys_do_not_make_another_body() {
    let app = TestApp::start().await;
    let key = format!("{JSON}idempotency-key: k\r\n");
    let bodies = [
        r#"{"touser":"oSAME","template_id":"TPL-ORDER","data":{"thing1":"茶","amount2":12.30}}"#,
        "\r\n{ \"data\" : { \"amount2\" : 12.30 ,\t\"thing1\" : \"茶\" } , \"template_id\":\"TPL-ORDER\", \"touser\":\"oSAME\" }\n",
        r#"{"template_id":"TPL\u002dORDER","touser":"oSAME","data":{"thing1":"\u8336","amount2":12.30}}"#,
    ];
    assert_eq!(post_raw(&app, &key, bodies[0]).await.status, 200);
    for body in &bodies[1..] {
        let answer = post_raw(&app, &key, body).await;
        assert_eq!((answer.status, answer.header("idempotency-replayed")), (200, Some("true")), "{answer:?}");
    }
    let other_digits = bodies[0].replace("12.30", "12.3");
    post_raw(&app, &key, other_digits).await.is_problem(422, "idempotency_mismatch");
    assert_eq!(rows(&app, "messages"), 1);
}

#[tokio::test]
async fn a_client_msg_id_acts_as_the_key_when_there_is_no_header() {
    let app = TestApp::start().await;
    let mut body = order_notice("oCMI");
    body["client_msg_id"] = json!("order-7");
    let first = app.post("/send-template").json(&body).send().await;
    let again = app.post("/send-template").json(&body).send().await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")), "{}", again.text);
    assert_eq!(again.field("message_id"), first.field("message_id"));
    let mut other = body.clone();
    other["touser"] = json!("oOTHER");
    app.post("/send-template").json(&other).send().await.is_problem(422, "idempotency_mismatch");
    // With a header, the header is the key.
    assert_eq!(send(&app, "of-its-own", &other).await.header("idempotency-replayed"), None);
    assert_eq!(rows(&app, "messages"), 2);
}

#[tokio::test]
async fn the_same_key_of_another_client_is_another_key() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {}", app.make_key("another", &[Scope::Send], None, None).await);
    let first = send(&app, "k", &order_notice("oA")).await;
    let request = app.anonymous(Method::POST, "/send-template").header("authorization", &bearer);
    let second = request.header("idempotency-key", "k").json(&order_notice("oA")).send().await;
    assert_eq!((second.status, second.header("idempotency-replayed")), (200, None), "{}", second.text);
    assert_ne!(first.field("message_id"), second.field("message_id"));
    // Two keys of one client are one client.
    let bearer = format!("Bearer {}", app.make_key("tests", &[Scope::Send], None, None).await);
    let request = app.anonymous(Method::POST, "/send-template").header("authorization", &bearer);
    let third = request.header("idempotency-key", "k").json(&order_notice("oA")).send().await;
    assert_eq!(third.header("idempotency-replayed"), Some("true"));
}

#[tokio::test]
async fn a_refused_send_does_not_use_up_its_key() {
    let app = TestApp::start().await;
    let mut body = order_notice("o X");
    send(&app, "k", &body).await.is_problem(422, "invalid_message");
    body["touser"] = json!("oX");
    assert_eq!(send(&app, "k", &body).await.status, 200);
    // What WeChat refused is a message all the same: it is told again, and not sent again.
    let refused = order_notice("sim-not-subscribed");
    let first = send(&app, "refused", &refused).await;
    first.is_problem(422, "recipient_refused");
    let calls =
        app.metric("wxgate_wechat_requests_total{account=\"shop\",api=\"template_send\",errcode=\"43004\"}").await;
    let again = send(&app, "refused", &refused).await;
    again.is_problem(422, "recipient_refused");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(
        (again.field("message_id"), again.field("upstream")),
        (first.field("message_id"), first.field("upstream"))
    );
    let after =
        app.metric("wxgate_wechat_requests_total{account=\"shop\",api=\"template_send\",errcode=\"43004\"}").await;
    assert!(calls >= 1.0 && after - calls < 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_posts_of_one_key_at_once_are_one_message_and_one_push() {
    let app = TestApp::start().await;
    let body = order_notice("oFIFTY");
    let replies = join_all((0..50).map(|n| {
        let request = app.post("/send-template").header("idempotency-key", "one");
        let request = if n % 2 == 0 { request.header("prefer", "respond-async") } else { request };
        request.json(&body).send()
    }))
    .await;
    let mut ids = HashSet::new();
    let mut first = 0;
    for reply in &replies {
        match reply.status {
            200 | 202 => {
                ids.insert(reply.field("message_id"));
                first += usize::from(reply.header("idempotency-replayed").is_none());
            }
            _ => {
                reply.is_problem(409, "idempotency_in_progress");
                assert!(reply.header("retry-after").is_some());
            }
        }
    }
    assert_eq!((ids.len(), first), (1, 1));
    app.run_until_idle().await;
    assert_eq!((rows(&app, "messages"), rows(&app, "idempotency")), (1, 1));
    assert_eq!(app.sandbox.deliveries_to("oFIFTY"), 1);
    assert_eq!(app.sandbox.message_count(), 1);
    no_fault_inside(&app).await;
}
