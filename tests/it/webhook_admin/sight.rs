//! Who sees and may change which webhooks.

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;

use super::loopback;
use crate::harness::{Reply, Setup, TestApp};

const CLUB: &str = "\n[accounts.club]\napp_id = 'wx00000000000club'\napp_secret = 'x'\n";
const URL: &str = "https://crm.example.com/in";

async fn ask(app: &TestApp, key: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
    let request = app.anonymous(method, path).header("authorization", &format!("Bearer {key}"));
    match body {
        Some(body) => request.json(&body).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn whoever_is_bound_to_accounts_sees_and_makes_webhooks_of_those_alone() {
    let app = TestApp::start_with(Setup { config: CLUB.to_owned(), ..loopback() }).await;
    let shop = app.make_key("shop-admin", &[Scope::Admin], Some(&["shop"]), None).await;
    let make = async |key: &str, accounts: Value| {
        ask(&app, key, Method::POST, "/v1/webhooks", Some(json!({"url": URL, "accounts": accounts}))).await
    };
    for accounts in [json!(null), json!(["club"]), json!(["shop", "club"])] {
        make(&shop, accounts).await.is_problem(403, "forbidden");
    }
    let own = make(&shop, json!(["shop"])).await;
    assert_eq!(own.status, 201, "{}", own.text);
    let own = own.field("id");
    let mut foreign = Vec::new();
    for accounts in [json!(null), json!(["club"]), json!(["shop", "club"])] {
        foreign.push(make(&app.key, accounts).await.field("id"));
    }

    let listed = ask(&app, &shop, Method::GET, "/v1/webhooks", None).await.json();
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|view| view["id"].clone()).collect();
    assert_eq!(ids, [json!(own)]);
    let event = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let nobody = ["wh_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), "crm".to_owned(), "wh_x".to_owned()];
    for id in foreign.iter().chain(&nobody) {
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", Some(json!({"enabled": false}))),
            (Method::DELETE, "", None),
            (Method::POST, "/rotate", None),
            (Method::POST, "/test", None),
            (Method::GET, "/deliveries", None),
            (Method::POST, "/replay", Some(json!({"event_ids": [event]}))),
            (Method::POST, "/deliveries/whd_01ARZ3NDEKTSV4RRFFQ69G5FAV/retry", None),
        ] {
            let path = format!("/v1/webhooks/{id}{rest}");
            ask(&app, &shop, method, &path, body).await.is_problem(404, "not_found");
        }
    }
    // It cannot be widened beyond the key either.
    let path = format!("/v1/webhooks/{own}");
    for accounts in [json!(null), json!(["shop", "club"])] {
        ask(&app, &shop, Method::PATCH, &path, Some(json!({"accounts": accounts}))).await.is_problem(403, "forbidden");
    }
    let acts = ask(&app, &shop, Method::GET, "/v1/audit?action=webhook.created", None).await.json();
    assert_eq!(acts["data"].as_array().unwrap().len(), 1, "{acts}");
}

#[tokio::test]
async fn only_admins_may() {
    let app = TestApp::start_with(loopback()).await;
    let others = [Scope::Send, Scope::Read, Scope::Token, Scope::Proxy];
    let key = app.make_key("crm", &others, None, None).await;
    for (method, path) in [
        (Method::GET, "/v1/webhooks"),
        (Method::POST, "/v1/webhooks"),
        (Method::GET, "/v1/webhooks/crm"),
        (Method::PATCH, "/v1/webhooks/crm"),
        (Method::DELETE, "/v1/webhooks/crm"),
        (Method::POST, "/v1/webhooks/crm/rotate"),
        (Method::POST, "/v1/webhooks/crm/test"),
        (Method::POST, "/v1/webhooks/crm/replay"),
        (Method::GET, "/v1/webhooks/crm/deliveries"),
        (Method::POST, "/v1/webhooks/crm/deliveries/whd_01ARZ3NDEKTSV4RRFFQ69G5FAV/retry"),
    ] {
        ask(&app, &key, method.clone(), path, Some(json!({}))).await.is_problem(403, "forbidden");
        app.anonymous(method, path).send().await.is_problem(401, "unauthenticated");
    }
}
