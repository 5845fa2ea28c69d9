//! A whole road at the most talkative level, and none of its secrets in the log.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wxgate::sandbox::{Broken, CallbackRequest};

use super::process::{Place, until};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, order_notice};
use crate::store::backend::Database;

const TEXTS: [&str; 4] = ["TEMPLATE-VALUE-1", "METADATA-VALUE-2", "MESSAGE-OF-A-USER-3", "customer-id-4"];
const DATABASE_PASSWORD: &str = "database-password-5";
const PEOPLE: [&str; 3] = ["oLOGROADPERSON0000000000001", "oLOGROADPERSON0000000000002", "oLOGROADPERSON0000000000003"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_at_trace_tells_the_road_and_no_secret() {
    tells_no_secret(Place::prepare("").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_it_with_postgresql() {
    let database = Database::create().await;
    // The server trusts everybody; the password is there to be hidden.
    let storage = database.toml().replace("postgres://wxgate@", &format!("postgres://wxgate:{DATABASE_PASSWORD}@"));
    tells_no_secret(Place::prepare_in(&storage, "").await).await;
}

async fn tells_no_secret(place: Place) {
    let config = std::fs::read_to_string(place.config()).unwrap();
    assert!(config.contains("level = \"info\""));
    std::fs::write(place.config(), config.replace("level = \"info\"", "level = \"trace\"")).unwrap();
    let program = place.start().await;
    let mut tokens = HashSet::new();
    let mut token = async || {
        let token = program.get("/v1/accounts/shop/token").await["access_token"].as_str().unwrap().to_owned();
        tokens.insert(token);
    };
    token().await;
    let send = async |touser: &str| {
        let mut body = order_notice(touser);
        body["data"]["thing1"]["value"] = json!(TEXTS[0]);
        body["metadata"] = json!({"note": TEXTS[1]});
        let request = program.request(Method::POST, "/send-template").timeout(Duration::from_secs(30));
        request.json(&body).send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    };
    let first = send(PEOPLE[0]).await["message_id"].as_str().unwrap().to_owned();
    for touser in ["sim-not-subscribed", "sim-token-once", "sim-reset", "sim-user-block", "sim-garbage"] {
        if touser == "sim-garbage" || touser == "sim-reset" {
            let mut body = order_notice(touser);
            body["async"] = json!(true);
            assert_eq!(program.request(Method::POST, "/send-template").json(&body).send().await.unwrap().status(), 202);
        } else {
            send(touser).await;
        }
        token().await;
    }
    let path = format!("/v1/accounts/shop/users/{}", PEOPLE[1]);
    let bound = program.request(Method::PUT, &path).json(&json!({"user_id": TEXTS[3]})).send().await.unwrap();
    assert_eq!(bound.status(), 200);
    program.get(&format!("/v1/messages?touser={}&limit=1", PEOPLE[0])).await;
    let malformed = format!("{{\"touser\":\"{}\",\"data\":{{\"thing1\":\"{}\"}}", PEOPLE[1], TEXTS[0]);
    let request = program.request(Method::POST, "/send-template").header("content-type", "application/json");
    assert_eq!(request.body(malformed).send().await.unwrap().status(), 400);
    for request in [
        CallbackRequest::text(PEOPLE[2], TEXTS[2]),
        CallbackRequest::text(PEOPLE[2], TEXTS[2]).broken(Broken::WrongMsgSignature),
        CallbackRequest::text(PEOPLE[2], TEXTS[2]).broken(Broken::CutBody),
        CallbackRequest::verify(),
    ] {
        place.sandbox.send_callback(request).await.unwrap();
    }
    until("the receipt is here", async || program.get(&format!("/v1/messages/{first}")).await["state"] == "delivered")
        .await;
    program.signal(nix::sys::signal::Signal::SIGTERM);
    let key = program.key.clone();
    assert_eq!(program.ended().await, Some(0));

    let log = std::fs::read_to_string(place.log()).unwrap();
    assert!(log.contains("\"level\":\"DEBUG\"") && log.contains("answered"), "it is as talkative as asked for");
    assert!(!log.contains("panicked"), "{log}");
    let secret = key.rsplit_once('_').unwrap().1;
    let mut secrets: Vec<&str> = vec!["demo-secret", DATABASE_PASSWORD, CALLBACK_TOKEN, AES_KEY, &key, secret];
    secrets.extend(tokens.iter().map(String::as_str));
    secrets.extend(TEXTS);
    secrets.extend(PEOPLE);
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
    // A word to the operator's terminal, at a signal, is no line of the log.
    for line in log.lines().filter(|line| !line.starts_with("stopping;")) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "no JSON: {line}");
    }
}
