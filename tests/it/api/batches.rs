//! Many sends at once.

use serde_json::{Value, json};
use wxgate::domain::caller::Scope;

use crate::harness::{Reply, Setup, TestApp};

async fn post(app: &TestApp, body: &Value) -> Reply {
    app.post("/send-template/batch").json(body).send().await
}

fn to(openids: &[&str]) -> Value {
    let messages: Vec<Value> = openids.iter().map(|openid| json!({ "touser": openid })).collect();
    json!({ "template_id": "order_paid", "data": { "thing1": "茶" }, "messages": messages })
}

#[tokio::test]
async fn a_thousand_are_kept_at_once_and_sent_once_each() {
    let app = TestApp::start().await;
    let openids: Vec<String> = (0..1_000).map(|n| format!("oBATCH{n}")).collect();
    let openids: Vec<&str> = openids.iter().map(String::as_str).collect();
    let reply = post(&app, &to(&openids)).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let body = reply.json();
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(1_000), &json!([])));
    let id = reply.field("batch_id");
    assert_eq!(reply.header("location").unwrap(), format!("/v1/batches/{id}"));
    app.run_until_idle().await;
    for openid in openids {
        assert_eq!(app.sandbox.deliveries_to(openid), 1, "{openid}");
    }
    let view = app.get(&format!("/v1/batches/{id}")).send().await.json();
    assert_eq!(view["counts"], json!({ "sent": 1_000 }));
    assert_eq!(view["message_ids"], body["message_ids"]);
    let listed = app.get(&format!("/v1/messages?batch_id={id}&limit=200")).send().await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 200);
    assert_eq!(listed["data"][0]["message_id"], body["message_ids"][999], "newest first, in the order of the request");
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[tokio::test]
async fn top_fields_are_defaults_and_keywords_are_put_together() {
    let app = TestApp::start().await;
    let reply = post(
        &app,
        &json!({
            "template_id": "order_paid", "data": { "thing1": "common", "amount2": "1" }, "url": "https://shop.example/", "ttl_s": 60,
            "messages": [
                { "touser": "oA" },
                { "touser": "oB", "data": { "thing1": "own" }, "url": "https://shop.example/b" },
                { "touser": "oC", "expires_at": "2030-01-01T00:00:00Z" },
            ],
        }),
    )
    .await;
    assert_eq!((reply.status, reply.json()["accepted"].clone()), (202, json!(2)), "{}", reply.text);
    app.run_until_idle().await;
    let taken = app.sandbox.messages();
    let body_to = |openid: &str| taken.iter().find(|message| message.openid == openid).unwrap().data();
    assert_eq!(body_to("oA")["thing1"]["value"], "common");
    assert_eq!((&body_to("oB")["thing1"]["value"], &body_to("oB")["amount2"]["value"]), (&json!("own"), &json!("1")));
    // It has an end of its own, so the common ttl is none of its business; but that end is too far away.
    assert_eq!(reply.json()["rejected"][0]["index"], 2);
}

#[tokio::test]
async fn bad_items_are_told_with_their_places_and_the_others_go() {
    let app = TestApp::start().await;
    let body = json!({
        "template_id": "order_paid", "data": { "thing1": "茶" },
        "messages": [
            { "touser": "oGOOD" },
            { "touser": "no openid" },
            { "touser": "oX", "colour": "red" },
            { "user_id": "nobody" },
            { "touser": "oY", "account": "elsewhere" },
            7,
            { "touser": "oZ", "async": true },
        ],
    });
    let reply = post(&app, &body).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["accepted"], 1);
    let told: Vec<(u64, &str)> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["index"].as_u64().unwrap(), item["error"]["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (1, "invalid_message"),
        (2, "malformed_request"),
        (3, "unknown_user"),
        (4, "unknown_account"),
        (5, "malformed_request"),
        (6, "malformed_request"),
    ];
    assert_eq!(told, expected);
    let first = &answer["rejected"][0]["error"];
    assert_eq!((&first["status"], &first["errors"][0]["path"]), (&json!(422), &json!("/messages/1/touser")));
    assert_eq!(answer["rejected"][1]["error"]["errors"][0]["path"], "/messages/2/colour");
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 1);

    let mut atomic = body;
    atomic["atomic"] = json!(true);
    let refused = post(&app, &atomic).await;
    refused.is_problem(422, "invalid_message");
    assert_eq!(refused.json()["errors"].as_array().unwrap().len(), 6);
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 1, "all or none");
    // Not one of them is good: there is nothing to keep.
    post(&app, &json!({ "template_id": "x", "data": {}, "messages": [{}] })).await.is_problem(422, "invalid_message");
}

#[tokio::test]
async fn the_frame_is_checked_like_any_request() {
    let app = TestApp::start().await;
    for (body, status, path) in [
        (json!({}), 400, "/messages"),
        (json!({ "messages": {} }), 400, "/messages"),
        (json!({ "messages": [] }), 422, "/messages"),
        (json!({ "messages": vec![json!({}); 1_001] }), 422, "/messages"),
        (json!({ "messages": [{}], "atomic": 1 }), 400, "/atomic"),
        (json!({ "messages": [{}], "dry_run": true }), 400, "/dry_run"),
        (json!([]), 400, ""),
    ] {
        let reply = post(&app, &body).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert_eq!(reply.json()["errors"][0]["path"], path, "{}", reply.text);
    }
    let reader = app.make_key("reader", &[Scope::Read], None, None).await;
    let reply = app
        .anonymous(reqwest::Method::POST, "/send-template/batch")
        .header("authorization", &format!("Bearer {reader}"))
        .json(&to(&["o1"]))
        .send()
        .await;
    reply.is_problem(403, "forbidden");
}

#[tokio::test]
async fn the_same_key_is_the_same_batch_also_fifty_times_at_once() {
    let app = TestApp::start().await;
    let body = to(&["oK1", "oK2"]);
    let replies = futures_util::future::join_all(
        (0..50).map(|_| app.post("/send-template/batch").header("idempotency-key", "b-1").json(&body).send()),
    )
    .await;
    let first = replies[0].json()["batch_id"].clone();
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.json()["batch_id"] == first));
    let fresh = replies.iter().filter(|reply| reply.header("idempotency-replayed").is_none()).count();
    assert_eq!(fresh, 1);
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 2);
    let other = app.post("/send-template/batch").header("idempotency-key", "b-1").json(&to(&["oK3"])).send().await;
    other.is_problem(422, "idempotency_mismatch");
}

#[tokio::test]
async fn each_item_counts_against_the_limits_and_a_refused_batch_gives_back() {
    let config = "\n[limits]\nclient = { rate = 1, per = \"hour\", burst = 3 }\nidentical.rate = 0\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let mut atomic = to(&["o1", "o2", "o3", "o4"]);
    atomic["atomic"] = json!(true);
    post(&app, &atomic).await.is_problem(422, "invalid_message");
    let reply = post(&app, &to(&["o1", "o2", "o3", "o4"])).await;
    assert_eq!((reply.status, reply.json()["accepted"].clone()), (202, json!(3)), "{}", reply.text);
    let error = &reply.json()["rejected"][0]["error"];
    assert_eq!((error["code"].as_str(), error["reason"].as_str()), (Some("rate_limited"), Some("client_rate")));
}

#[tokio::test]
async fn a_batch_is_canceled_as_far_as_it_has_not_begun() {
    let app = TestApp::start().await;
    let mut body = to(&["o1", "o2", "o3"]);
    body["messages"][1]["send_at"] = json!("2026-01-04T00:00:00Z");
    body["messages"][2]["send_at"] = json!("2026-01-05T00:00:00Z");
    let id = post(&app, &body).await.field("batch_id");
    app.run_until_idle().await;
    let view = app.delete(&format!("/v1/batches/{id}")).send().await;
    assert_eq!(view.status, 200, "{}", view.text);
    assert_eq!((&view.json()["canceled"], &view.json()["counts"]), (&json!(2), &json!({ "sent": 1, "canceled": 2 })));
    assert_eq!(app.delete(&format!("/v1/batches/{id}")).send().await.json()["canceled"], 0);
}

#[tokio::test]
async fn a_batch_of_others_is_not_there() {
    let app = TestApp::start().await;
    let id = post(&app, &to(&["o1"])).await.field("batch_id");
    for (accounts, scopes, status) in [
        (None, &[Scope::Read][..], 200),
        (Some(&["shop"][..]), &[Scope::Read], 200),
        (Some(&["other"]), &[Scope::Read], 404),
    ] {
        let key = app.make_key("other", scopes, accounts, None).await;
        let request = app.anonymous(reqwest::Method::GET, &format!("/v1/batches/{id}"));
        let reply = request.header("authorization", &format!("Bearer {key}")).send().await;
        assert_eq!(reply.status, status, "{accounts:?}: {}", reply.text);
    }
    let key = app.make_key("other", &[Scope::Send], None, None).await;
    let request = app.anonymous(reqwest::Method::DELETE, &format!("/v1/batches/{id}"));
    let reply = request.header("authorization", &format!("Bearer {key}")).send().await;
    reply.is_problem(404, "not_found");
    for wrong in ["bat_1", "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "bat_01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        app.get(&format!("/v1/batches/{wrong}")).send().await.is_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_batch_survives_a_restart_before_it_was_begun() {
    let app = TestApp::start().await;
    let id = post(&app, &to(&["oR1", "oR2"])).await.field("batch_id");
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    app.run_until_idle().await;
    assert_eq!(app.get(&format!("/v1/batches/{id}")).send().await.json()["counts"], json!({ "sent": 2 }));
    assert_eq!(app.sandbox.messages().len(), 2);
}
