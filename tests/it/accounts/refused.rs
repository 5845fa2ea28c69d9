//! What is refused, and how it is told.

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;

use super::{bare, make, patch, shop};
use crate::harness::{Setup, TestApp};

fn paths(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_rules_are_those_of_the_configuration_each_fault_with_its_place() {
    let app = bare().await;
    let wrong = json!({
        "name": "Shop", "app_id": "wx 1", "token": "a-b", "mode": "plain", "base_url": "ftp://x",
        "templates": {"a b": "T"}, "replies": {"keywords": {"k": "x".repeat(2049)}},
    });
    let reply = make(&app, &wrong).await;
    let problem = reply.is_problem(422, "invalid_account").json();
    let expected = ["/name", "/app_id", "/app_secret", "/token", "/base_url", "/templates", "/replies/keywords"];
    assert_eq!(paths(&problem), expected, "{problem}");

    let reply = make(&app, &json!({"app_id": 7, "mode": "open", "app_secret_file": "/etc/hostname"})).await;
    let problem = reply.is_problem(400, "malformed_request").json();
    assert_eq!(paths(&problem), ["/app_id", "/mode", "/app_secret_file"], "{problem}");
    assert_eq!(app.get("/v1/accounts").send().await.json(), json!({"data": []}));

    make(&app, &shop()).await;
    let moved = patch(&app, "shop", &json!({"app_id": "wx0000000000000next", "encoding_aes_key": null})).await;
    assert_eq!(paths(&moved.is_problem(422, "invalid_account").json()), ["/app_id", "/encoding_aes_key"]);
    app.delete("/v1/accounts/shop?force=yes").send().await.is_problem(400, "malformed_request");
    app.get("/v1/accounts?page=2").send().await.is_problem(400, "malformed_request");
}

#[tokio::test]
async fn a_name_and_an_app_belong_to_one_account() {
    let app = bare().await;
    assert_eq!(make(&app, &shop()).await.status, 201);
    let mut same_name = shop();
    same_name["app_id"] = json!("wx1");
    make(&app, &same_name).await.is_problem(409, "account_conflict");
    let mut same_app = shop();
    same_app["name"] = json!("other");
    make(&app, &same_app).await.is_problem(409, "account_conflict");
}

#[tokio::test]
async fn what_stands_in_the_configuration_is_shown_and_changed_there() {
    let app = TestApp::start().await;
    let view = app.get("/v1/accounts/shop").send().await.json();
    assert_eq!(
        (&view["source"], &view["app_secret_set"], &view["token_set"], &view["mode"], &view["created_at"]),
        (&json!("file"), &json!(true), &json!(true), &json!("safe"), &Value::Null)
    );
    make(&app, &shop()).await.is_problem(409, "account_conflict");
    let mut other = shop();
    other["name"] = json!("other");
    make(&app, &other).await.is_problem(409, "account_conflict");
    let change = patch(&app, "shop", &json!({"app_secret": "x"})).await;
    assert!(change.is_problem(409, "account_conflict").text.contains("[accounts.shop]"));
    app.delete("/v1/accounts/shop?force=true").send().await.is_problem(409, "account_conflict");
    assert_eq!(app.send("sim-ok").await.status, 200);
}

#[tokio::test]
async fn a_name_that_comes_into_the_configuration_later_wins() {
    let app = bare().await;
    let mut account = shop();
    account["app_id"] = json!("wx00000000000stored");
    assert_eq!(make(&app, &account).await.status, 201);
    account["name"] = json!("twin");
    account["app_id"] = json!("wx0000000000000demo");
    assert_eq!(make(&app, &account).await.status, 201);
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    let list = app.get("/v1/accounts").send().await.json();
    assert_eq!((&list["data"][0]["name"], &list["data"][0]["source"]), (&json!("shop"), &json!("file")));
    assert_eq!(list["data"][1]["problem"], "the configuration has its app_id as [accounts.shop]");
    assert_eq!(app.send("sim-ok").await.status, 200, "shop is the only one in use");
}

#[tokio::test]
async fn a_key_bound_to_accounts_sees_and_makes_only_those() {
    let app = bare().await;
    make(&app, &shop()).await;
    let key = app.make_key("branch", &[Scope::Admin], Some(&["branch"]), None).await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let request = app.anonymous(method, path).header("authorization", &format!("Bearer {key}"));
        match body {
            Some(body) => request.json(&body).send().await,
            None => request.send().await,
        }
    };
    assert_eq!(ask(Method::GET, "/v1/accounts", None).await.json(), json!({"data": []}));
    ask(Method::GET, "/v1/accounts/shop", None).await.is_problem(404, "not_found");
    ask(Method::PATCH, "/v1/accounts/shop", Some(json!({"token": null}))).await.is_problem(404, "not_found");
    ask(Method::DELETE, "/v1/accounts/shop?force=true", None).await.is_problem(404, "not_found");
    let mut account = shop();
    account["app_id"] = json!("wx0000000000branch");
    ask(Method::POST, "/v1/accounts", Some(account.clone())).await.is_problem(403, "forbidden");
    account["name"] = json!("branch");
    let made = ask(Method::POST, "/v1/accounts", Some(account)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(ask(Method::GET, "/v1/accounts", None).await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(ask(Method::DELETE, "/v1/accounts/branch", None).await.status, 200);
}
