//! Addresses that are not public are not reached, however they are written and whatever a name means by now.

use serde_json::json;

use super::{LOOPBACK, deliver, loopback, made, make, patch, places, view};
use crate::harness::{Setup, Subscriber, TestApp};

#[tokio::test]
async fn an_address_that_is_plainly_inside_is_refused_when_it_is_named() {
    let app = TestApp::start().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a00:1]",
        "[64:ff9b:1::1]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
    ] {
        let refused = make(&app, &json!({"url": format!("http://{host}/x")})).await;
        assert_eq!(places(refused.is_problem(422, "invalid_webhook")), ["/url"], "{host}");
        assert_eq!(refused.json()["errors"][0]["code"], "forbidden_address", "{host}");
        assert!(refused.text.contains("webhooks.allow_cidrs"), "{}", refused.text);
    }
    let id = make(&app, &json!({"url": "https://crm.example.com/x"})).await.field("id");
    let change = json!({"url": "http://127.0.0.1:8080/"});
    assert_eq!(places(patch(&app, &id, &change).await.is_problem(422, "invalid_webhook")), ["/url"]);
    assert_eq!(view(&app, &id).await["url"], "https://crm.example.com/x");
}

#[tokio::test]
async fn a_name_that_means_an_address_inside_is_blocked_when_it_is_connected_to() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let id = made(&app, &subscriber.by_name()).await;
    let path = format!("/v1/webhooks/{id}/test");
    assert_eq!(app.post(&path).send().await.json()["delivered"], true);

    // The network is closed again: what was made under it is blocked, in a try by hand and in a delivery.
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world.clone()), ..Setup::default() }).await;
    let tried = app.post(&path).send().await.json();
    assert_eq!((&tried["error"], &tried["status_code"]), (&json!("blocked"), &json!(null)), "{tried}");
    assert!(tried["detail"].as_str().unwrap().contains("127.0.0.1"), "{tried}");
    assert_eq!(app.send("sim-ok").await.status, 200);
    deliver(&app).await;
    let deliveries = app.get(&format!("/v1/webhooks/{id}/deliveries")).send().await.json();
    assert_eq!((&deliveries["data"][0]["status"], &deliveries["data"][0]["attempts"]), (&json!("pending"), &json!(1)));
    assert!(deliveries["data"][0]["error"].as_str().unwrap().starts_with("blocked"), "{deliveries}");
    assert!(view(&app, &id).await["problem"].as_str().unwrap().contains("not public"));
    // Other settings of it can be changed all the same.
    assert_eq!(patch(&app, &id, &json!({"events": ["user.*"]})).await.status, 200);
    assert_eq!(subscriber.told().len(), 1, "the one of the test");
}

#[tokio::test]
async fn a_webhook_that_is_let_everywhere_opens_nothing_for_the_others() {
    let subscriber = Subscriber::start().await;
    let crm = "\n[webhooks.crm]\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\nallow_private = true\n";
    let crm = format!("{crm}url = '{}'\n", subscriber.by_name().url);
    // Made while loopback was open, it is closed now, and the file's webhook of the same host keeps a connection open.
    let app = TestApp::start_with(Setup { head: LOOPBACK.to_owned(), ..Setup::default() }).await;
    let id = made(&app, &subscriber.by_name()).await;
    let (folder, world) = app.stop().await;
    let setup = Setup { config: crm, folder: Some(folder), world: Some(world), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    for _ in 0..2 {
        assert_eq!(app.post("/v1/webhooks/crm/test").send().await.json()["delivered"], true);
        assert_eq!(app.post(&format!("/v1/webhooks/{id}/test")).send().await.json()["error"], "blocked");
    }
    assert_eq!(subscriber.told().len(), 2);
}
