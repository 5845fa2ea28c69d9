//! Answers from `accounts.<name>.replies`, and the users that callbacks tell of.

use serde_json::json;
use wxgate::sandbox::CallbackRequest;

use crate::harness::{Setup, TestApp};

async fn reply_to(app: &TestApp, request: CallbackRequest) -> Option<String> {
    let result = app.sandbox.send_callback(request).await.unwrap();
    assert!(result.accepted, "{result:?}");
    result.decrypted_reply.or_else(|| (result.body != "success").then_some(result.body))
}

#[tokio::test]
async fn configured_replies_come_back_sealed() {
    let app = TestApp::start().await;
    let follow = reply_to(&app, CallbackRequest::new("subscribe", "oNEW")).await.unwrap();
    assert!(follow.contains("<![CDATA[欢迎]]>") && follow.contains("<ToUserName><![CDATA[oNEW]]></ToUserName>"));
    assert!(reply_to(&app, CallbackRequest::text("oNEW", " help ")).await.unwrap().contains("How can we help?"));
    assert!(reply_to(&app, CallbackRequest::text("oNEW", "别的")).await.unwrap().contains("收到"));
    assert_eq!(reply_to(&app, CallbackRequest::new("unsubscribe", "oNEW")).await, None);
    assert_eq!(reply_to(&app, CallbackRequest::new("view", "oNEW")).await, None);
}

#[tokio::test]
async fn configured_replies_come_back_plain_in_plain_mode() {
    let app = TestApp::start_with(Setup { mode: "plain", ..Setup::default() }).await;
    let reply = reply_to(&app, CallbackRequest::text("oNEW", "help")).await.unwrap();
    assert!(reply.starts_with("<xml>") && reply.contains("How can we help?"), "{reply}");
}

#[tokio::test]
async fn users_are_kept_bound_and_addressed_by_the_business_id() {
    let app = TestApp::start().await;
    reply_to(&app, CallbackRequest::new("subscribe", "oALICE")).await;
    let path = "/v1/accounts/shop/users/oALICE";
    assert_eq!(app.get(path).send().await.json()["subscribed"], true);
    let send = json!({"user_id": "customer-7", "template_id": "order_paid", "data": {"thing1": "茶"}});
    app.post("/send-template").json(&send).send().await.is_problem(422, "unknown_user");
    let bound = app.request(reqwest::Method::PUT, path).json(&json!({"user_id": "customer-7"})).send().await;
    assert_eq!(bound.status, 200, "{}", bound.text);
    let reply = app.post("/send-template").json(&send).send().await;
    assert_eq!((reply.status, reply.field("touser").as_str()), (200, "oALICE"), "{}", reply.text);
    reply_to(&app, CallbackRequest::new("unsubscribe", "oALICE")).await;
    assert_eq!(app.get(path).send().await.json()["subscribed"], false);
}
