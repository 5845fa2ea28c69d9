//! What became of deliveries, and telling events once more.

use std::time::Duration;

use serde_json::{Value, json};

use super::{deliver, loopback, made, view};
use crate::harness::{Reply, Say, Subscriber, TestApp, order_notice};

async fn list(app: &TestApp, id: &str, query: &str) -> Vec<Value> {
    let reply = app.get(&format!("/v1/webhooks/{id}/deliveries{query}")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["data"].as_array().unwrap().clone()
}

async fn replay(app: &TestApp, id: &str, body: &Value) -> Reply {
    app.post(&format!("/v1/webhooks/{id}/replay")).json(body).send().await
}

async fn send(app: &TestApp, touser: &str) -> String {
    let sent = app.send(touser).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    sent.field("message_id")
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_page_by_page_and_by_what_became_of_them() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let id = made(&app, &subscriber).await;
    let mut messages = Vec::new();
    for index in 0..5 {
        messages.push(send(&app, &format!("oU{index}")).await);
        app.advance(Duration::from_secs(1)).await;
    }
    subscriber.next(&[503]);
    deliver(&app).await;
    let all = list(&app, &id, "").await;
    let by_message: Vec<_> = all.iter().map(|one| one["message_id"].as_str().unwrap()).collect();
    assert_eq!(by_message, messages.iter().rev().collect::<Vec<_>>());
    let pending = list(&app, &id, "?status=pending").await;
    let [pending] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!((&pending["attempts"], &pending["status_code"]), (&json!(1), &json!(503)));
    assert!(pending["next_attempt_at"].is_string() && pending["first_attempt_at"].is_string(), "{pending}");
    assert!(pending["error"].as_str().unwrap().contains("503"), "{pending}");
    assert_eq!(list(&app, &id, "?status=delivered").await.len(), 4);
    assert_eq!(list(&app, &id, &format!("?message_id={}", messages[3])).await, [all[1].clone()]);
    assert_eq!(list(&app, &id, &format!("?event_id={}", all[2]["event_id"].as_str().unwrap())).await, [all[2].clone()]);
    assert_eq!(view(&app, &id).await["pending"], 1);

    let (mut path, mut pages) = (format!("/v1/webhooks/{id}/deliveries?limit=2"), Vec::new());
    loop {
        let page = app.get(&path).send().await;
        pages.extend(page.json()["data"].as_array().unwrap().clone());
        let Some(link) = page.header("link") else { break };
        path = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    }
    assert_eq!(pages, all);
    for query in ["?status=lost", "?event_id=msg_1", "?message_id=evt_1", "?limit=0", "?cursor=eA", "?stat=dead"] {
        let refused = app.get(&format!("/v1/webhooks/{id}/deliveries{query}")).send().await;
        refused.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn what_was_given_up_is_told_once_more_by_its_delivery() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let id = made(&app, &subscriber).await;
    subscriber.always(Some(Say::status(500)));
    send(&app, "oU").await;
    deliver(&app).await;
    let first = list(&app, &id, "").await.remove(0);
    let path = format!("/v1/webhooks/{id}/deliveries/{}/retry", first["id"].as_str().unwrap());
    app.post(&path).send().await.is_problem(409, "webhook_conflict");
    for attempts in 2..=8 {
        app.advance(Duration::from_secs(15 * 3600)).await;
        deliver(&app).await;
        assert_eq!(list(&app, &id, "").await[0]["attempts"], attempts);
    }
    let dead = list(&app, &id, "?status=dead").await.remove(0);
    assert_eq!((&dead["id"], &dead["attempts"]), (&first["id"], &json!(8)));
    assert_eq!((view(&app, &id).await["dead"].clone(), subscriber.told().len()), (json!(1), 8));

    subscriber.always(None);
    // Its lane is left alone for a while, after so many failures.
    app.advance(Duration::from_secs(600)).await;
    let again = app.post(&path).send().await;
    let expected =
        json!({"dry_run": false, "matched": 1, "replayed": 1, "pending": 0, "unknown": [], "next_cursor": null});
    assert_eq!((again.status, again.json()), (202, expected));
    deliver(&app).await;
    let told = subscriber.told();
    assert_eq!((told.len(), told[8].header("webhook-id")), (9, told[0].header("webhook-id")));
    assert_eq!(told[8].body, told[0].body, "the same bytes in every try");
    assert_eq!(list(&app, &id, "?status=delivered").await.len(), 1);
    // Another webhook's delivery is not this one's.
    let other = made(&app, &subscriber).await;
    let foreign = format!("/v1/webhooks/{other}/deliveries/{}/retry", first["id"].as_str().unwrap());
    app.post(&foreign).send().await.is_problem(404, "not_found");
    for nobody in ["whd_01ARZ3NDEKTSV4RRFFQ69G5FAV", "whd_x"] {
        let path = format!("/v1/webhooks/{id}/deliveries/{nobody}/retry");
        app.post(&path).send().await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_replay_counts_first_and_then_tells_what_was_meant() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let before = send(&app, "oBEFORE").await;
    app.advance(Duration::from_secs(60)).await;
    let id = made(&app, &subscriber).await;
    let after = send(&app, "oAFTER").await;
    deliver(&app).await;
    assert_eq!(subscriber.told().len(), 1, "it is told what happens from its making on");

    let all = json!({"types": ["message.*"], "account": "shop", "dry_run": true});
    let counted = replay(&app, &id, &all).await;
    let expected =
        json!({"dry_run": true, "matched": 2, "replayed": 2, "pending": 0, "unknown": [], "next_cursor": null});
    assert_eq!((counted.status, counted.json()), (200, expected));
    deliver(&app).await;
    assert_eq!((subscriber.told().len(), list(&app, &id, "").await.len()), (1, 1), "nothing was done");

    let replayed = replay(&app, &id, &json!({"message_id": before})).await;
    assert_eq!((replayed.status, &replayed.json()["replayed"]), (202, &json!(1)), "{}", replayed.text);
    // Asked again before it is told, it makes no second one.
    assert_eq!(replay(&app, &id, &json!({"message_id": before})).await.json()["pending"], 1);
    deliver(&app).await;
    assert_eq!(subscriber.last().json()["data"]["message_id"], json!(before));

    let event = subscriber.told()[0].header("webhook-id").to_owned();
    let nobody = "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let by_id = replay(&app, &id, &json!({"event_ids": [event, nobody]})).await.json();
    assert_eq!((&by_id["matched"], &by_id["unknown"]), (&json!(1), &json!([nobody])));
    deliver(&app).await;
    assert_eq!(subscriber.last().json()["data"]["message_id"], json!(after));
    assert_eq!(subscriber.told().len(), 3);

    let none = replay(&app, &id, &json!({"status": "dead"})).await.json();
    assert_eq!((&none["matched"], &none["replayed"]), (&json!(0), &json!(0)));
    let acts = app.get("/v1/audit?action=webhook.replayed").send().await.json();
    let acts = acts["data"].as_array().unwrap();
    let made = acts.iter().filter(|act| act["details"] == json!({"events": 1, "deliveries": 1})).count();
    assert_eq!(made, 2, "{acts:?}");
    for (body, status) in [(json!({}), 400), (json!({"dry_run": true}), 400), (json!({"event_ids": []}), 400)] {
        assert_eq!(replay(&app, &id, &body).await.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_webhook_is_replayed_nothing_that_it_may_not_see() {
    let (app, subscriber) = (TestApp::start_with(loopback()).await, Subscriber::start().await);
    let club = "wx00000000000club";
    let account = json!({"name": "club", "app_id": club, "app_secret": "x"});
    assert_eq!(app.post("/v1/accounts").json(&account).send().await.status, 201);
    let body = json!({"url": subscriber.url, "accounts": ["club"]});
    let id = super::make(&app, &body).await.field("id");
    let mut notice = order_notice("oSHOP");
    notice["account"] = json!("shop");
    let message = app.post("/send-template").json(&notice).send().await.field("message_id");
    let of_shop = replay(&app, &id, &json!({"message_id": message})).await.json();
    assert_eq!((&of_shop["matched"], &of_shop["replayed"]), (&json!(0), &json!(0)));
    let events = app.get("/v1/events?types=message.*").send().await.json();
    let event = events["data"][0]["id"].clone();
    let by_id = replay(&app, &id, &json!({"event_ids": [event]})).await.json();
    assert_eq!((&by_id["replayed"], &by_id["unknown"]), (&json!(0), &json!([event])));
}
