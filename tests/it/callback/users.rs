//! Who calls is known from then on: any message and any deed of a person makes the user, with when.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::sandbox::CallbackRequest;

use crate::harness::TestApp;

const FIXTURES: &str = "tests/fixtures/wechat";
/// In every sample.
const SENDER: &str = "oTEST000000000000000000000001";
/// Notices of the platform, whoever they name as the sender: reports, reviews, agents at work.
const NOBODYS: [&str; 20] = [
    "event.MASSSENDJOBFINISH",
    "event.PUBLISHJOBFINISH",
    "event.TEMPLATESENDJOBFINISH",
    "event.annual_renew",
    "event.card_not_pass_check",
    "event.card_pass_check",
    "event.card_pay_order",
    "event.card_sku_remind",
    "event.debug_demo",
    "event.kf_close_session",
    "event.kf_create_session",
    "event.kf_switch_session",
    "event.naming_verify_fail",
    "event.naming_verify_success",
    "event.not_yet_documented",
    "event.qualification_verify_fail",
    "event.qualification_verify_success",
    "event.subscribe_msg_sent_event",
    "event.verify_expired",
    "other",
];

async fn users(app: &TestApp) -> Vec<Value> {
    let list = app.get("/v1/accounts/shop/users?limit=200").send().await.json();
    assert_eq!(list["next_cursor"], Value::Null);
    list["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_message_and_every_deed_of_a_person_makes_the_user() {
    let app = TestApp::start().await;
    let mut expected = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "xml")) {
        let kind = path.file_stem().unwrap().to_str().unwrap();
        let openid = format!("o-{}", kind.replace('.', "-"));
        let body = std::fs::read_to_string(path).unwrap().replace(SENDER, &openid);
        assert!(app.sandbox.send_callback(CallbackRequest::raw(&body)).await.unwrap().accepted, "{kind}");
        if !NOBODYS.contains(&kind) {
            expected.push(openid);
        }
    }
    assert!(expected.len() > 30, "{expected:?}");
    expected.sort();
    let found = users(&app).await;
    let openids: Vec<_> = found.iter().map(|user| user["openid"].as_str().unwrap()).collect();
    assert_eq!(openids, expected);
    for user in &found {
        let subscribed = match user["openid"].as_str().unwrap() {
            "o-event-subscribe" => json!(true),
            "o-event-unsubscribe" => json!(false),
            _ => Value::Null,
        };
        let view = (&user["subscribed"], &user["user_id"], &user["tags"], &user["account"]);
        assert_eq!(view, (&subscribed, &Value::Null, &json!([]), &json!("shop")));
        assert_eq!(user["first_seen_at"], user["last_seen_at"]);
    }
}

#[tokio::test]
async fn first_and_last_seen_are_kept_and_events_say_whose_the_person_is() {
    let app = TestApp::start().await;
    let call = async |kind: &str| {
        app.advance(Duration::from_secs(60)).await;
        let result = app.sandbox.send_callback(CallbackRequest::new(kind, "oBUYER")).await;
        assert!(result.unwrap().accepted);
        users(&app).await.remove(0)
    };
    let first = call("text").await;
    assert_eq!((&first["subscribed"], &first["first_seen_at"]), (&Value::Null, &first["last_seen_at"]));
    let path = "/v1/accounts/shop/users/oBUYER";
    app.request(reqwest::Method::PUT, path).json(&json!({"user_id": "customer-7", "tags": ["vip"]})).send().await;
    for (kind, subscribed) in [("subscribe", true), ("text", true), ("unsubscribe", false), ("text", false)] {
        let now = call(kind).await;
        assert_eq!(
            (&now["subscribed"], &now["first_seen_at"]),
            (&json!(subscribed), &first["first_seen_at"]),
            "{kind}"
        );
        assert!(now["last_seen_at"].as_str() > first["last_seen_at"].as_str());
        assert_eq!((&now["user_id"], &now["tags"]), (&json!("customer-7"), &json!(["vip"])));
    }
    let told = app.get("/v1/events?types=user.*").send().await.json();
    let told: Vec<_> = told["data"].as_array().unwrap().iter().map(|event| (&event["type"], &event["data"])).collect();
    let data = json!({"openid": "oBUYER", "user_id": "customer-7"});
    assert_eq!(told, [(&json!("user.subscribed"), &data), (&json!("user.unsubscribed"), &data)]);
}
