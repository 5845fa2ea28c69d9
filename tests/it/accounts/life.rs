//! From nothing to an account that works, and back.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::clock::Clock;
use wxgate::sandbox::CallbackRequest;

use super::{bare, make, patch, shop};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp, order_notice};

async fn component(app: &TestApp, name: &str) -> Option<Value> {
    let ready = app.get("/ready").send().await.json();
    ready["components"].as_array().unwrap().iter().find(|component| component["name"] == name).cloned()
}

#[tokio::test]
async fn an_account_made_at_run_time_works_at_once() {
    let app = bare().await;
    app.send("oFIRST").await.is_problem(422, "unknown_account");
    assert_eq!(app.sandbox.send_callback(CallbackRequest::text("oU", "help")).await.unwrap().status, 404);

    let made = make(&app, &shop()).await;
    assert_eq!((made.status, made.header("location")), (201, Some("/v1/accounts/shop")), "{}", made.text);
    let expected = json!({
        "name": "shop", "source": "store", "app_id": "wx0000000000000demo", "app_secret_set": true, "token_set": true,
        "encoding_aes_key_set": true, "previous_token_set": false, "previous_encoding_aes_key_set": false,
        "mode": "safe", "token_api": "stable", "base_url": app.world.sandbox_url, "on_unknown": "retry",
        "daily_quota": null, "quiet_hours": null, "quiet_hours_zone": null, "templates": {"order_paid": "TPL-ORDER"},
        "replies": {"subscribe": null, "keywords": {"help": "How?"}, "default": null}, "relay": null, "problem": null,
        "created_at": app.clock.now().to_string(), "updated_at": app.clock.now().to_string(),
    });
    assert_eq!(made.json(), expected);
    assert_eq!(app.get("/v1/accounts/shop").send().await.json(), expected);
    assert_eq!(app.get("/v1/accounts").send().await.json(), json!({"data": [expected]}));

    // It sends, by its short names of templates; its receipts and callbacks are taken and answered.
    let mut notice = order_notice("sim-ok");
    notice["template_id"] = json!("order_paid");
    let sent = app.post("/send-template").json(&notice).send().await;
    assert_eq!((sent.status, sent.field("state").as_str()), (200, "sent"), "{}", sent.text);
    app.sandbox.deliver_receipts().await;
    assert_eq!(app.state_of(&sent.field("message_id")).await, "delivered");
    let answered = app.sandbox.send_callback(CallbackRequest::text("oU", "help")).await.unwrap();
    assert_eq!((answered.status, answered.accepted), (200, true), "{answered:?}");

    // Its token is refreshed before it ends.
    assert_eq!(component(&app, "token.shop").await.unwrap()["status"], "ok");
    assert!(app.metric("wxgate_token_expires_in_seconds{account=\"shop\"}").await > 0.0);
    let before = app.sandbox.token_calls();
    app.advance(Duration::from_secs(7190)).await;
    app.tick().await;
    let token = app.get("/v1/accounts/shop/token").send().await;
    assert_eq!(token.status, 200, "{}", token.text);
    assert_ne!(app.sandbox.token_calls(), before);
}

#[tokio::test]
async fn it_is_there_after_a_restart_and_no_secret_is_on_disk_in_clear() {
    let app = bare().await;
    let mut account = shop();
    account["previous_token"] = json!("previoustoken0");
    account["previous_encoding_aes_key"] = json!("P".repeat(43));
    let made = make(&app, &account).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let answers = [made.text, app.get("/v1/accounts").send().await.text];
    let (folder, world) = app.stop().await;
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_default();
    let disk: Vec<u8> = ["wxgate.db", "wxgate.db-wal"].into_iter().flat_map(bytes).collect();
    let has = |haystack: &[u8], needle: &str| haystack.windows(needle.len()).any(|part| part == needle.as_bytes());
    assert!(has(&disk, "wx0000000000000demo"), "the test looks at the right files");
    for secret in ["demo-secret", CALLBACK_TOKEN, AES_KEY, "previoustoken0", &"P".repeat(43)] {
        assert!(!has(&disk, secret), "{secret} is on disk");
        assert!(answers.iter().all(|answer| !answer.contains(secret)), "{secret} was told");
    }
    let again =
        TestApp::start_with(Setup { bare: true, folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    assert_eq!(again.send("sim-ok").await.status, 200);
}

#[tokio::test]
async fn an_account_goes_when_nothing_waits_for_it_and_by_force_its_messages_wait() {
    let app = bare().await;
    assert_eq!(make(&app, &shop()).await.status, 201);
    let later = app.clock.now().plus(Duration::from_secs(600)).to_string();
    let mut notice = order_notice("oLATER");
    notice["send_at"] = json!(later);
    notice["async"] = json!(true);
    let id = app.post("/send-template").json(&notice).send().await.field("message_id");

    let refused = app.delete("/v1/accounts/shop").send().await;
    assert!(refused.is_problem(409, "account_conflict").text.contains("1 messages of this account are under way"));
    assert_eq!(app.send("sim-ok").await.status, 200, "nothing was changed");
    let deleted = app.delete("/v1/accounts/shop?force=true").send().await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({"name": "shop", "waiting_messages": 1})));
    app.get("/v1/accounts/shop").send().await.is_problem(404, "not_found");
    app.delete("/v1/accounts/shop").send().await.is_problem(404, "not_found");
    app.send("oNOW").await.is_problem(422, "unknown_account");
    app.get("/v1/accounts/shop/token").send().await.is_problem(404, "not_found");
    assert_eq!(app.sandbox.send_callback(CallbackRequest::text("oU", "help")).await.unwrap().status, 404);
    assert!(component(&app, "token.shop").await.is_none());
    assert!(!app.get("/metrics").send().await.text.contains("wxgate_token_expires_in_seconds{account=\"shop\"}"));

    // Its message waits, and goes out when there is an account of this name again.
    app.advance(Duration::from_secs(601)).await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "scheduled");
    assert_eq!(make(&app, &shop()).await.status, 201);
    app.run_until_idle().await;
    assert_eq!((app.state_of(&id).await.as_str(), app.sandbox.deliveries_to("oLATER")), ("sent", 1));
    let gone = app.delete("/v1/accounts/shop").send().await;
    assert_eq!((gone.status, gone.json()["waiting_messages"].clone()), (200, json!(0)));
}

#[tokio::test]
async fn under_another_seal_key_an_account_is_out_of_use_until_its_secrets_come_anew() {
    let app = bare().await;
    assert_eq!(make(&app, &shop()).await.status, 201);
    let (folder, world) = app.stop().await;
    std::fs::remove_file(folder.path().join("wxgate.db.key")).unwrap();
    let app =
        TestApp::start_with(Setup { bare: true, folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    app.send("oX").await.is_problem(422, "unknown_account");
    let view = app.get("/v1/accounts/shop").send().await;
    assert!(view.field("problem").contains("app_secret, token, encoding_aes_key"), "{}", view.text);
    let some = patch(&app, "shop", &json!({"app_secret": "demo-secret"})).await;
    let places: Vec<Value> = some.is_problem(422, "invalid_account").json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["path"].clone())
        .collect();
    assert_eq!(places, ["/token", "/encoding_aes_key"]);
    let all = json!({"app_secret": "demo-secret", "token": CALLBACK_TOKEN, "encoding_aes_key": AES_KEY});
    assert_eq!(patch(&app, "shop", &all).await.status, 200);
    assert_eq!(app.send("sim-ok").await.status, 200);
}

#[tokio::test]
async fn quiet_hours_and_quota_are_settings_like_the_others() {
    let app = bare().await;
    assert_eq!(make(&app, &shop()).await.status, 201);
    // The tests' day begins at 08:26 by Beijing's clock.
    let change = json!({"quiet_hours": "08:00-09:00", "daily_quota": 7});
    let changed = app.request(Method::PATCH, "/v1/accounts/shop").json(&change).send().await.json();
    assert_eq!((&changed["quiet_hours"], &changed["daily_quota"]), (&json!("08:00-09:00"), &json!(7)));
    let waits = app.send_async("oQUIET").await;
    assert_eq!((waits.status, waits.field("state").as_str()), (202, "scheduled"), "{}", waits.text);
    assert_eq!(waits.field("state_reason"), "quiet_hours");

    let change = json!({"quiet_hours_zone": "UTC"});
    assert_eq!(app.request(Method::PATCH, "/v1/accounts/shop").json(&change).send().await.status, 200);
    assert_ne!(app.send_async("oLOUD").await.field("state"), "scheduled");

    for (change, path) in [
        (json!({"quiet_hours": "late"}), "/quiet_hours"),
        (json!({"quiet_hours_zone": "Mars/Olympus"}), "/quiet_hours_zone"),
        (json!({"daily_quota": 0}), "/daily_quota"),
    ] {
        let refused = app.request(Method::PATCH, "/v1/accounts/shop").json(&change).send().await;
        refused.is_problem(422, "invalid_account");
        assert_eq!(refused.json()["errors"][0]["path"], path, "{}", refused.text);
    }
    let cleared = json!({"quiet_hours": null, "quiet_hours_zone": null, "daily_quota": null});
    let cleared = app.request(Method::PATCH, "/v1/accounts/shop").json(&cleared).send().await.json();
    assert_eq!((&cleared["quiet_hours"], &cleared["daily_quota"]), (&json!(null), &json!(null)));
}
