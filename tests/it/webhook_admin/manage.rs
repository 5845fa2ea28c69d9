//! From nothing to a webhook and back.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::clock::Clock;

use super::{FIRST, deliver, loopback, made, make, patch, places, view};
use crate::harness::{Setup, Subscriber, TestApp};

#[tokio::test]
async fn a_webhook_is_made_told_changed_and_deleted() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let made = make(
        &app,
        &json!({"url": subscriber.url, "events": ["message.*"], "accounts": ["shop"], "description": "CRM"}),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let (id, now) = (made.field("id"), app.clock.now().to_string());
    assert!(id.starts_with("wh_") && made.header("location") == Some(&format!("/v1/webhooks/{id}")), "{}", made.text);
    assert!(made.field("secret").starts_with("whsec_"));
    let mut expected = json!({
        "id": id, "origin": "store", "url": subscriber.url, "description": "CRM", "events": ["message.*"],
        "accounts": ["shop"], "allow_private": false, "previous_secret_set": false, "enabled": true,
        "disabled_reason": null, "disabled_since": null, "pending": 0, "dead": 0, "lag_s": 0, "problem": null,
        "created_at": now, "updated_at": now,
    });
    assert_eq!(view(&app, &id).await, expected);
    assert_eq!(app.get("/v1/webhooks").send().await.json(), json!({"data": [expected]}));

    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    assert_eq!(subscriber.kinds(), ["message.sent"]);

    app.advance(Duration::from_secs(60)).await;
    let change = json!({"events": ["user.*"], "accounts": null, "description": null});
    let changed = patch(&app, &id, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    expected["events"] = json!(["user.*"]);
    expected["accounts"] = Value::Null;
    expected["description"] = Value::Null;
    expected["updated_at"] = json!(app.clock.now().to_string());
    assert_eq!(changed.json(), expected);
    app.advance(Duration::from_secs(60)).await;
    assert_eq!(patch(&app, &id, &change).await.json(), expected, "the same change changes nothing");
    assert_eq!(app.send("oNOBODY-IS-TOLD").await.status, 200);
    deliver(&app).await;
    assert_eq!(subscriber.told().len(), 1);

    let deleted = app.delete(&format!("/v1/webhooks/{id}")).send().await;
    assert_eq!((deleted.status, deleted.json()), (200, json!({"id": id, "canceled_deliveries": 0})));
    app.delete(&format!("/v1/webhooks/{id}")).send().await.is_problem(404, "not_found");
    assert_eq!(app.get("/v1/webhooks").send().await.json(), json!({"data": []}));

    let acts = app.get("/v1/audit").send().await.json();
    let acts: Vec<_> = acts["data"].as_array().unwrap().iter().filter(|act| act["object"] == json!(id)).collect();
    let told: Vec<_> = acts.iter().map(|act| (act["action"].as_str().unwrap(), &act["details"])).collect();
    let fields = json!({"fields": ["events", "accounts", "description"]});
    let expected = [("webhook.deleted", &json!({})), ("webhook.changed", &fields), ("webhook.created", &json!({}))];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_webhook_that_is_off_is_told_nothing_and_what_it_misses_waits_or_is_passed_by() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let id = made(&app, &subscriber).await;
    let off = patch(&app, &id, &json!({"enabled": false})).await.json();
    assert_eq!((&off["enabled"], &off["disabled_reason"]), (&json!(false), &json!("operator")));
    assert_eq!(off["disabled_since"], json!(app.clock.now().to_string()));
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.advance(Duration::from_secs(90)).await;
    deliver(&app).await;
    assert_eq!((subscriber.told().len(), view(&app, &id).await["lag_s"].clone()), (0, json!(90)));

    let on = patch(&app, &id, &json!({"enabled": true})).await.json();
    assert_eq!((&on["enabled"], &on["disabled_reason"]), (&json!(true), &Value::Null));
    deliver(&app).await;
    assert_eq!(
        (subscriber.kinds(), view(&app, &id).await["lag_s"].clone()),
        (vec!["message.sent".to_owned()], json!(0))
    );

    assert_eq!(patch(&app, &id, &json!({"enabled": false})).await.status, 200);
    deliver(&app).await;
    assert_eq!(app.send("oPASSED-BY").await.status, 200);
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(patch(&app, &id, &json!({"enabled": true, "skip_missed": true})).await.status, 200);
    assert_eq!(app.send("oLAST").await.status, 200);
    deliver(&app).await;
    assert_eq!((subscriber.told().len(), &subscriber.last().json()["data"]["touser"]), (2, &json!("oLAST")));
    let acts = app.get("/v1/audit?action=webhook.enabled").send().await.json();
    assert_eq!(acts["data"][0]["details"], json!({"skip_missed": true}), "{acts}");
    assert_eq!(app.get("/v1/audit?action=webhook.disabled").send().await.json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_switched_off_and_says_so() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let id = made(&app, &subscriber).await;
    subscriber.next(&[410]);
    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    let gone = view(&app, &id).await;
    assert_eq!((&gone["enabled"], &gone["disabled_reason"], &gone["dead"]), (&json!(false), &json!("gone"), &json!(1)));
    // Switching off what is off changes nothing: why it is off stays.
    let same = patch(&app, &id, &json!({"enabled": false})).await.json();
    assert_eq!(same["disabled_reason"], "gone");
    assert_eq!(patch(&app, &id, &json!({"enabled": true})).await.json()["enabled"], true);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_place_and_nothing_is_kept() {
    let app = TestApp::start_with(loopback()).await;
    let url = "https://crm.example.com/in";
    for (body, expected) in [
        (json!({"url": "crm.example.com"}), vec!["/url"]),
        (json!({"url": "ftp://crm.example.com/"}), vec!["/url"]),
        (json!({"url": "https://u:p@crm.example.com/"}), vec!["/url"]),
        (json!({"url": format!("https://x/{}", "a".repeat(2048))}), vec!["/url"]),
        (json!({"url": url, "secret": "s3cret"}), vec!["/secret"]),
        (json!({"url": "x", "secret": "whsec_c2hvcnQ=", "events": ["a b"]}), vec!["/url", "/events/0", "/secret"]),
        (json!({"url": url, "events": ["message.*", "mesage.sent"]}), vec!["/events/1"]),
        (json!({"url": url, "events": []}), vec!["/events"]),
        (json!({"url": url, "accounts": ["shop", "shp"]}), vec!["/accounts/1"]),
        (json!({"url": url, "accounts": []}), vec!["/accounts"]),
        (json!({"url": url, "description": "x".repeat(201)}), vec!["/description"]),
        (json!({"url": url, "events": vec!["*"; 51]}), vec!["/events"]),
    ] {
        let refused = make(&app, &body).await;
        assert_eq!(places(refused.is_problem(422, "invalid_webhook")), expected, "{body}");
        assert!(!refused.text.contains("s3cret") && !refused.text.contains("c2hvcnQ"), "{}", refused.text);
    }
    for (body, place) in [
        (json!({}), "/url"),
        (json!({"url": 7}), "/url"),
        (json!({"url": url, "event": ["*"]}), "/event"),
        (json!({"url": url, "allow_private": true}), "/allow_private"),
        (json!({"url": url, "enabled": true}), "/enabled"),
    ] {
        assert_eq!(places(make(&app, &body).await.is_problem(400, "malformed_request")), [place], "{body}");
    }
    assert_eq!(app.get("/v1/webhooks").send().await.json(), json!({"data": []}));
    assert_eq!(make(&app, &json!({"url": url, "secret": FIRST})).await.field("secret"), FIRST);
}

#[tokio::test]
async fn one_of_the_configuration_is_listed_and_can_only_be_switched() {
    let subscriber = Subscriber::start().await;
    let crm = format!("\n[webhooks.crm]\nurl = '{}'\nsecret = '{FIRST}'\nallow_private = true\n", subscriber.url);
    let app = TestApp::start_with(Setup { config: crm, ..Setup::default() }).await;
    let listed = app.get("/v1/webhooks").send().await.json();
    let expected = json!({
        "id": "crm", "origin": "file", "url": subscriber.url, "description": null, "events": ["*"], "accounts": null,
        "allow_private": true, "previous_secret_set": false, "enabled": true, "disabled_reason": null,
        "disabled_since": null, "pending": 0, "dead": 0, "lag_s": 0, "problem": null,
        "created_at": app.clock.now().to_string(), "updated_at": null,
    });
    assert_eq!((&listed["data"], &view(&app, "crm").await), (&json!([expected]), &expected));
    assert!(!listed.to_string().contains(FIRST));
    for change in [json!({"url": "https://x.example.com/"}), json!({"events": null}), json!({"previous_secret": null})]
    {
        patch(&app, "crm", &change).await.is_problem(409, "webhook_conflict");
    }
    app.delete("/v1/webhooks/crm").send().await.is_problem(409, "webhook_conflict");
    let refused = app.post("/v1/webhooks/crm/rotate").send().await;
    assert!(refused.is_problem(409, "webhook_conflict").text.contains("[webhooks.crm]"), "{}", refused.text);

    assert_eq!(patch(&app, "crm", &json!({"enabled": false})).await.json()["enabled"], false);
    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    assert_eq!(subscriber.told().len(), 0);
    assert_eq!(patch(&app, "crm", &json!({"enabled": true})).await.json()["enabled"], true);
    deliver(&app).await;
    assert_eq!(subscriber.kinds(), ["message.sent"]);
}

#[tokio::test]
async fn it_is_there_after_a_restart_and_its_secret_is_on_disk_in_no_clear_form() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let made = make(&app, &json!({"url": subscriber.url, "secret": FIRST})).await;
    let told_again = app.get("/v1/webhooks").send().await.text;
    let (folder, world) = app.stop().await;
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_default();
    let disk: Vec<u8> = ["wxgate.db", "wxgate.db-wal"].into_iter().flat_map(bytes).collect();
    let has = |needle: &str| disk.windows(needle.len()).any(|part| part == needle.as_bytes());
    assert!(has(&subscriber.url), "the test looks at the right files");
    assert!(!has(FIRST) && !has(&FIRST[6..]) && !told_again.contains(&FIRST[6..]));

    let setup = Setup { folder: Some(folder), world: Some(world), ..loopback() };
    let app = TestApp::start_with(setup).await;
    let id = made.field("id");
    assert_eq!(view(&app, &id).await["url"], subscriber.url);
    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    assert_eq!(subscriber.kinds(), ["message.sent"]);

    // Under another key it is out of use until it is given another secret.
    let (folder, world) = app.stop().await;
    std::fs::remove_file(folder.path().join("wxgate.db.key")).unwrap();
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..loopback() }).await;
    assert!(view(&app, &id).await["problem"].as_str().unwrap().contains("another secrets.key"));
    app.post(&format!("/v1/webhooks/{id}/test")).send().await.is_problem(409, "webhook_conflict");
    patch(&app, &id, &json!({"events": ["*"]})).await.is_problem(409, "webhook_conflict");
    assert_eq!(app.send("oMEANWHILE").await.status, 200);
    deliver(&app).await;
    assert_eq!(subscriber.told().len(), 1);
    let rotated = app.post(&format!("/v1/webhooks/{id}/rotate")).send().await;
    assert_eq!((rotated.status, &rotated.json()["previous_secret_set"]), (200, &json!(false)), "{}", rotated.text);
    deliver(&app).await;
    assert_eq!((subscriber.told().len(), view(&app, &id).await["problem"].clone()), (2, Value::Null));
}
