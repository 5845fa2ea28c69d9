//! Signatures, as the reference library takes them, and the change of a secret.

use serde_json::json;

use super::{FIRST, SECOND, deliver, loopback, make, patch, today, view};
use crate::harness::Subscriber;

#[tokio::test]
async fn while_a_secret_is_changed_either_one_verifies_and_then_the_new_one_alone() {
    let (app, subscriber) = (today(loopback()).await, Subscriber::start().await);
    let made = make(&app, &json!({"url": subscriber.url, "secret": FIRST})).await;
    let (id, path) = (made.field("id"), format!("/v1/webhooks/{}", made.field("id")));
    let told = async || {
        assert_eq!(app.send("sim-ok").await.status, 200);
        deliver(&app).await;
        subscriber.last()
    };
    let told_once = told().await;
    assert!(told_once.is_signed_with(FIRST) && !told_once.is_signed_with(SECOND));
    assert_eq!(told_once.header("content-type"), "application/json");
    let envelope = told_once.json();
    assert_eq!(told_once.header("webhook-id"), envelope["id"].as_str().unwrap());
    assert_eq!((&envelope["type"], &envelope["account"]), (&json!("message.sent"), &json!("shop")));

    let rotated = app.post(&format!("{path}/rotate")).send().await;
    let new = rotated.field("secret");
    assert!(rotated.status == 200 && new.starts_with("whsec_") && new != FIRST, "{}", rotated.text);
    assert_eq!(rotated.json()["previous_secret_set"], true);
    let both = told().await;
    assert!(both.is_signed_with(FIRST) && both.is_signed_with(&new) && !both.is_signed_with(SECOND));
    assert_eq!(both.header("webhook-signature").split(' ').count(), 2);

    // Asked twice, it would take away the secret that the subscriber still has.
    let again = app.post(&format!("{path}/rotate")).send().await;
    assert!(again.is_problem(409, "webhook_conflict").text.contains("previous_secret"), "{}", again.text);
    assert!(told().await.is_signed_with(FIRST));

    assert_eq!(patch(&app, &id, &json!({"previous_secret": null})).await.json()["previous_secret_set"], false);
    let one = told().await;
    assert!(!one.is_signed_with(FIRST) && one.is_signed_with(&new));

    let given = app.post(&format!("{path}/rotate")).json(&json!({"secret": SECOND})).send().await;
    assert_eq!(given.field("secret"), SECOND);
    let both = told().await;
    assert!(both.is_signed_with(SECOND) && both.is_signed_with(&new));
    app.post(&format!("{path}/rotate"))
        .json(&json!({"secret": "s3cret"}))
        .send()
        .await
        .is_problem(422, "invalid_webhook");
    app.post(&format!("{path}/rotate")).json(&json!({"sekret": "x"})).send().await.is_problem(400, "malformed_request");
    let acts = app.get("/v1/audit?action=webhook.rotated").send().await;
    assert_eq!(acts.json()["data"].as_array().unwrap().len(), 2);
    assert!(![FIRST, SECOND, &new].iter().any(|secret| acts.text.contains(*secret)));
    assert_eq!(view(&app, &id).await["previous_secret_set"], true);
}

#[tokio::test]
async fn a_body_that_was_touched_is_not_ours() {
    let (app, subscriber) = (today(loopback()).await, Subscriber::start().await);
    assert_eq!(make(&app, &json!({"url": subscriber.url, "secret": FIRST})).await.status, 201);
    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    let told = subscriber.last();
    assert!(told.is_signed_with(FIRST));
    let mut forged = told.clone();
    forged.body = told.body.iter().copied().chain(*b" ").collect();
    assert!(!forged.is_signed_with(FIRST));
    for header in ["webhook-id", "webhook-timestamp"] {
        let mut forged = told.clone();
        forged.headers.insert(header, "1767400000".parse().unwrap());
        assert!(!forged.is_signed_with(FIRST), "{header}");
    }
}
