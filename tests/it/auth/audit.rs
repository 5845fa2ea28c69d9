//! `GET /v1/audit`: each administrative act, who did it, and from where.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;

use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp, order_notice};

async fn acts(app: &TestApp, query: &str) -> Vec<Value> {
    let reply = app.get(&format!("/v1/audit{query}")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["data"].as_array().unwrap().clone()
}

fn told(act: &Value) -> (&str, &Value, &Value, &Value) {
    (act["action"].as_str().unwrap(), &act["account"], &act["object"], &act["details"])
}

async fn unknown_message(app: &TestApp) -> String {
    let mut notice = order_notice("sim-reset");
    notice["on_unknown"] = json!("hold");
    notice["async"] = json!(true);
    let id = app.post("/send-template").json(&notice).send().await.field("message_id");
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "unknown");
    id
}

#[tokio::test]
async fn each_act_is_told_with_who_did_it_and_from_where_and_without_a_secret() {
    let app = TestApp::start_with(Setup { bare: true, ..Setup::default() }).await;
    let key = app.make_key("ops", &[Scope::Admin], None, None).await;
    let ask = async |method: Method, path: &str, id: &str, body: Value| {
        let request = app.anonymous(method, path).header("authorization", &format!("Bearer {key}"));
        let reply = request.header("x-request-id", id).json(&body).send().await;
        assert!(reply.status < 300, "{}", reply.text);
        app.advance(Duration::from_secs(1)).await;
        reply
    };
    app.advance(Duration::from_secs(1)).await;
    let account = json!({
        "name": "shop", "app_id": "wx0000000000000demo", "app_secret": "demo-secret", "token": CALLBACK_TOKEN,
        "encoding_aes_key": AES_KEY,
    });
    ask(Method::POST, "/v1/accounts", "r1", account).await;
    ask(Method::PATCH, "/v1/accounts/shop", "r2", json!({"token": "secondtoken"})).await;
    // Nothing is changed by it, so nothing is written down.
    ask(Method::PATCH, "/v1/accounts/shop", "r3", json!({"token": "secondtoken"})).await;
    ask(Method::PUT, "/v1/accounts/shop/users/oU", "r4", json!({"user_id": "u7"})).await;
    let id = unknown_message(&app).await;
    ask(Method::POST, &format!("/v1/messages/{id}/resolve"), "r5", json!({"state": "failed"})).await;
    ask(Method::DELETE, "/v1/accounts/shop", "r6", json!({})).await;

    let list = acts(&app, "?actor=ops").await;
    let key_id = key.strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap().0;
    let shop = json!("shop");
    let expected = [
        ("account.deleted", &shop, &shop, &json!({"force": false})),
        ("message.resolved", &shop, &json!(id), &json!({"state": "failed"})),
        ("user.bound", &shop, &json!("oU"), &json!({"bound": true})),
        ("account.changed", &shop, &shop, &json!({"fields": ["token", "previous_token"]})),
        ("account.created", &shop, &shop, &json!({"fields": ["app_id", "app_secret", "token", "encoding_aes_key"]})),
    ];
    assert_eq!(list.iter().map(told).collect::<Vec<_>>(), expected);
    for (act, request_id) in list.iter().zip(["r6", "r5", "r4", "r2", "r1"]) {
        let from = (&act["request_id"], &act["remote"], &act["key_id"]);
        assert_eq!(from, (&json!(request_id), &json!("127.0.0.1"), &json!(key_id)));
    }
    let all = app.get("/v1/audit").send().await.text;
    let made = acts(&app, "?action=key.created").await;
    let made = made.iter().find(|act| act["details"]["client"] == "tests").unwrap();
    assert_eq!(
        (&made["actor"], &made["details"]["client"], &made["key_id"]),
        (&json!("gateway"), &json!("tests"), &Value::Null)
    );
    for secret in ["demo-secret", CALLBACK_TOKEN, "secondtoken", AES_KEY, key.rsplit_once('_').unwrap().1, "u7"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test]
async fn what_is_refused_is_not_written_down() {
    let app = TestApp::start().await;
    let before = acts(&app, "").await.len();
    let id = app.send("sim-ok").await.field("message_id");
    app.post(&format!("/v1/messages/{id}/resolve"))
        .json(&json!({"state": "failed"}))
        .send()
        .await
        .is_problem(409, "already_sending");
    app.delete("/v1/accounts/shop").send().await.is_problem(409, "account_conflict");
    app.request(Method::PUT, "/v1/accounts/none/users/oU")
        .json(&json!({"user_id": null}))
        .send()
        .await
        .is_problem(404, "not_found");
    assert_eq!(acts(&app, "").await.len(), before);
}

#[tokio::test]
async fn the_list_is_paged_narrowed_and_bound_to_accounts() {
    let config = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"x\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    for (account, openid) in [("shop", "o1"), ("other", "o2"), ("shop", "o3")] {
        app.advance(Duration::from_secs(60)).await;
        let path = format!("/v1/accounts/{account}/users/{openid}");
        assert_eq!(app.request(Method::PUT, &path).json(&json!({"user_id": openid})).send().await.status, 200);
    }
    let objects =
        |list: &[Value]| list.iter().map(|act| act["object"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(objects(&acts(&app, "?action=user.bound&account=shop").await), ["o3", "o1"]);
    let since = acts(&app, "?action=user.bound").await[1]["at"].as_str().unwrap().to_owned();
    assert_eq!(objects(&acts(&app, &format!("?created_after={since}")).await), ["o3", "o2"]);

    let first = app.get("/v1/audit?action=user.bound&limit=2").send().await;
    assert_eq!(objects(first.json()["data"].as_array().unwrap()), ["o3", "o2"]);
    assert!(first.header("link").unwrap().contains("rel=\"next\""));
    let next = format!("/v1/audit?action=user.bound&limit=2&cursor={}", first.field("next_cursor"));
    let last = app.get(&next).send().await;
    assert_eq!(
        (objects(last.json()["data"].as_array().unwrap()), &last.json()["next_cursor"]),
        (vec!["o1".to_owned()], &Value::Null)
    );

    let bound = app.make_key("branch", &[Scope::Admin], Some(&["other"]), None).await;
    let list =
        app.anonymous(Method::GET, "/v1/audit").header("authorization", &format!("Bearer {bound}")).send().await.json();
    assert_eq!(objects(list["data"].as_array().unwrap()), ["o2"], "neither other accounts' nor the gateway's own");
    for wrong in ["?action=key.made", "?cursor=YWJj", "?since=1", "?created_after=soon"] {
        app.get(&format!("/v1/audit{wrong}")).send().await.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn acts_are_forgotten_when_their_retention_is_over() {
    let app =
        TestApp::start_with(Setup { config: "\n[retention]\naudit = \"30d\"\n".to_owned(), ..Setup::default() }).await;
    let before = acts(&app, "").await.len();
    assert!(before > 0);
    app.advance(Duration::from_secs(29 * 86_400)).await;
    app.tick().await;
    assert_eq!(acts(&app, "").await.len(), before);
    app.advance(Duration::from_secs(2 * 86_400)).await;
    app.tick().await;
    assert_eq!(acts(&app, "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn who_lets_somebody_be_written_to_again_is_written_down_once() {
    let app = TestApp::start().await;
    let refused = app.send("sim-not-subscribed").await;
    refused.is_problem(422, "recipient_refused");
    for _ in 0..2 {
        let lifted = app.request(Method::DELETE, "/v1/accounts/shop/suppressions/sim-not-subscribed").send().await;
        assert_eq!(lifted.status, 204, "{}", lifted.text);
    }
    let list = acts(&app, "?action=suppression.lifted").await;
    assert_eq!(list.iter().map(|act| &act["object"]).collect::<Vec<_>>(), ["sim-not-subscribed"]);
}
