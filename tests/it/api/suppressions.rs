//! People whom WeChat has refused: refused from memory, until something says that they can be reached.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::caller::Scope;
use wxgate::sandbox::{CallbackRequest, Fault};

use super::wire::rows;
use crate::harness::{Reply, Setup, TestApp, order_notice};

const SEND: &str = "/cgi-bin/message/template/send";
const LIST: &str = "/v1/accounts/shop/suppressions";

/// WeChat refuses this person now, and takes everything afterwards.
async fn refused(app: &TestApp, touser: &str) {
    app.sandbox.set_fault(Fault::errcode(43004).on(SEND));
    let reply = app.send(touser).await;
    reply.is_problem(422, "recipient_refused");
    assert!(reply.json()["message_id"].is_string(), "WeChat said so: {}", reply.text);
    app.sandbox.clear_faults();
}

/// Refused without asking WeChat: nothing was stored.
fn is_from_memory(reply: &Reply) -> Value {
    let problem = reply.is_problem(422, "recipient_refused").json();
    assert_eq!(problem["message_id"], Value::Null, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("DELETE /v1/accounts/shop/suppressions/"), "{problem}");
    problem
}

async fn asked(app: &TestApp, errcode: &str) -> f64 {
    app.metric(&format!("wxgate_wechat_requests_total{{account=\"shop\",api=\"template_send\",errcode=\"{errcode}\"}}"))
        .await
}

#[tokio::test]
async fn whom_wechat_refuses_is_asked_for_once() {
    let app = TestApp::start().await;
    for (recipient, errcode) in [("sim-not-subscribed", 43004), ("sim-invalid", 40003)] {
        let first = app.send(recipient).await.is_problem(422, "recipient_refused").json();
        for _ in 0..3 {
            let again = is_from_memory(&app.send(recipient).await);
            assert_eq!(again["upstream"]["errcode"], errcode);
            assert_eq!(again["upstream"]["errmsg"], first["upstream"]["errmsg"]);
            assert!(again["detail"].as_str().unwrap().contains(&errcode.to_string()), "{again}");
        }
        assert_eq!(asked(&app, &errcode.to_string()).await, 1.0);
    }
    assert_eq!(rows(&app, "messages"), 2, "the others were not stored");
    assert_eq!(app.metric("wxgate_suppressed_total{account=\"shop\"}").await, 6.0);
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[tokio::test]
async fn whoever_blocks_the_account_is_told_by_the_receipt() {
    let app = TestApp::start().await;
    let first = app.send("sim-user-block").await;
    assert_eq!(first.status, 200, "{}", first.text);
    // A second one, on its way before the receipt: errcode 0 does not say that they let it in.
    let second = app.send("sim-user-block").await;
    app.sandbox.deliver_receipts().await;
    for sent in [first, second] {
        assert_eq!(app.state_of(&sent.field("message_id")).await, "undelivered");
    }
    let again = is_from_memory(&app.send("sim-user-block").await);
    assert_eq!(again["upstream"], json!({"errmsg": "user_block"}));
    let other = app.send("sim-system-failed").await;
    app.sandbox.deliver_receipts().await;
    assert_eq!(app.state_of(&other.field("message_id")).await, "undelivered");
    assert_eq!(app.send("sim-system-failed").await.status, 200, "that is no fault of the person");
}

#[tokio::test]
async fn a_refusal_spends_no_limit_and_a_dry_run_tells_it() {
    let config = "\n[limits]\nclient.rate = 1\nclient.per = \"hour\"\nclient.burst = 2\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    app.send("sim-not-subscribed").await.is_problem(422, "recipient_refused");
    for _ in 0..5 {
        is_from_memory(&app.send("sim-not-subscribed").await);
    }
    let mut dry = order_notice("sim-not-subscribed");
    dry["dry_run"] = json!(true);
    is_from_memory(&app.post("/send-template").json(&dry).send().await);
    assert_eq!(app.metric("wxgate_suppressed_total{account=\"shop\"}").await, 5.0, "a dry run is no send");
    assert_eq!(app.send("oFINE").await.status, 200);
    app.send("oFINE").await.is_problem(429, "rate_limited");
}

#[tokio::test]
async fn each_item_of_a_batch_is_told_for_itself() {
    let app = TestApp::start().await;
    refused(&app, "oGONE").await;
    let mut batch = order_notice("x");
    batch.as_object_mut().unwrap().remove("touser");
    batch["messages"] = json!([{"touser": "oONE"}, {"touser": "oGONE"}, {"touser": "oTWO"}]);
    let reply = app.post("/send-template/batch").json(&batch).send().await;
    assert_eq!((reply.status, reply.field("accepted").as_str()), (202, "2"), "{}", reply.text);
    let rejected = &reply.json()["rejected"][0];
    assert_eq!((&rejected["index"], &rejected["error"]["code"]), (&json!(1), &json!("recipient_refused")));
    assert_eq!((&rejected["error"]["status"], &rejected["error"]["upstream"]["errcode"]), (&json!(422), &json!(43004)));
    // Read back, it says the same.
    let read = app.get(&format!("/v1/batches/{}", reply.field("batch_id"))).send().await.json();
    assert_eq!(read["rejected"][0], *rejected);
    batch["atomic"] = json!(true);
    app.post("/send-template/batch").json(&batch).send().await.is_problem(422, "invalid_message");
}

#[tokio::test]
async fn a_known_key_gets_its_message_whatever_became_of_the_person() {
    let app = TestApp::start().await;
    let send = async |key: &str, touser: &str| {
        app.post("/send-template").header("idempotency-key", key).json(&order_notice(touser)).send().await
    };
    let sent = send("k1", "oBOTH").await;
    assert_eq!(sent.status, 200);
    refused(&app, "oBOTH").await;
    let again = send("k1", "oBOTH").await;
    assert_eq!((again.status, again.field("message_id")), (200, sent.field("message_id")));
    is_from_memory(&send("k2", "oBOTH").await);
    // The refused request left nothing behind: its key is free.
    assert_eq!(app.delete(&format!("{LIST}/oBOTH")).send().await.status, 204);
    assert_eq!(send("k2", "oBOTH").await.status, 200);
}

#[tokio::test]
async fn whoever_subscribes_is_written_to_again() {
    let app = TestApp::start().await;
    refused(&app, "oBACK").await;
    let talks = app.sandbox.send_callback(CallbackRequest::new("unsubscribe", "oBACK")).await.unwrap();
    assert!(talks.accepted);
    is_from_memory(&app.send("oBACK").await);
    for _ in 0..2 {
        assert!(app.sandbox.send_callback(CallbackRequest::new("subscribe", "oBACK")).await.unwrap().accepted);
        assert_eq!(app.send("oBACK").await.status, 200);
    }
    assert_eq!(app.get(LIST).send().await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_message_that_was_on_its_way_and_is_taken_lifts_it() {
    let app = TestApp::start().await;
    let at = wxgate::domain::clock::Clock::now(&*app.clock).plus(Duration::from_secs(60)).to_string();
    let mut later = order_notice("oLATER");
    later["send_at"] = json!(at);
    assert_eq!(app.post("/send-template").json(&later).send().await.status, 202);
    refused(&app, "oLATER").await;
    is_from_memory(&app.send("oLATER").await);
    app.advance(Duration::from_secs(61)).await;
    app.run_until_idle().await;
    assert_eq!(app.send("oLATER").await.status, 200);
}

#[tokio::test]
async fn it_outlives_a_restart_and_ends_by_an_operators_word() {
    let app = TestApp::start().await;
    refused(&app, "oGONE").await;
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    is_from_memory(&app.send("oGONE").await);
    let reader = app.make_key("reader", &[Scope::Read, Scope::Send], None, None).await;
    let path = format!("{LIST}/oGONE");
    let by_reader = app.anonymous(reqwest::Method::DELETE, &path).header("authorization", &format!("Bearer {reader}"));
    by_reader.send().await.is_problem(403, "forbidden");
    let elsewhere = app.delete("/v1/accounts/nowhere/suppressions/oGONE").send().await;
    elsewhere.is_problem(404, "not_found");
    is_from_memory(&app.send("oGONE").await);
    for _ in 0..2 {
        assert_eq!(app.delete(&path).send().await.status, 204, "asked twice, it is the same");
    }
    assert_eq!(app.send("oGONE").await.status, 200);
}

#[tokio::test]
async fn the_list_has_pages_and_filters() {
    let app = TestApp::start().await;
    for name in ["oA", "oB", "oC", "oD", "oE"] {
        refused(&app, name).await;
        app.advance(Duration::from_secs(10)).await;
    }
    app.send("sim-invalid").await.is_problem(422, "recipient_refused");
    let openids = async |query: &str| {
        let reply = app.get(&format!("{LIST}{query}")).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let of = |row: &Value| row["openid"].as_str().unwrap().to_owned();
        let next = reply.json()["next_cursor"].as_str().map(str::to_owned);
        assert_eq!(next.is_some(), reply.header("link").is_some());
        (reply.json()["data"].as_array().unwrap().iter().map(of).collect::<Vec<_>>(), next)
    };
    let mut found = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let (page, next) = openids(&query).await;
        found.extend(page);
        let Some(next) = next else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(found, ["oA", "oB", "oC", "oD", "oE", "sim-invalid"]);
    assert_eq!(openids("?reason=invalid_openid").await.0, ["sim-invalid"]);
    assert_eq!(openids("?openid=oC").await.0, ["oC"]);
    assert_eq!(openids("?openid=oNOBODY").await.0, Vec::<String>::new());
    let row = app.get(&format!("{LIST}?openid=oC")).send().await.json()["data"][0].clone();
    assert_eq!(
        (&row["account"], &row["reason"], &row["errcode"]),
        (&json!("shop"), &json!("not_subscribed"), &json!(43004))
    );
    let since = row["since"].as_str().unwrap();
    assert_eq!(openids(&format!("?since_after={since}&reason=not_subscribed")).await.0, ["oC", "oD", "oE"]);
    assert_eq!(openids(&format!("?since_before={since}")).await.0, ["oA", "oB"]);
    for wrong in ["?reason=bored", "?openid=a%20b", "?limit=0", "?cursor=%25", "?since_after=noon", "?colour=red"] {
        app.get(&format!("{LIST}{wrong}")).send().await.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn it_can_be_turned_off_or_end_by_itself() {
    let limits = |more: &str| format!("\n[limits]\nopenid.rate = 0\nidentical.rate = 0\n{more}\n");
    let app = TestApp::start_with(Setup { config: limits("suppression = false"), ..Setup::default() }).await;
    for asked_before in [0.0, 1.0] {
        assert_eq!(asked(&app, "43004").await, asked_before);
        assert!(app.send("sim-not-subscribed").await.json()["message_id"].is_string());
    }
    assert_eq!(app.get(LIST).send().await.json()["data"].as_array().unwrap().len(), 1, "it is remembered all the same");

    let app = TestApp::start_with(Setup { config: limits("suppression_age = \"1h\""), ..Setup::default() }).await;
    for _ in 0..2 {
        app.send("sim-not-subscribed").await.is_problem(422, "recipient_refused");
        app.advance(Duration::from_secs(3_599)).await;
        is_from_memory(&app.send("sim-not-subscribed").await);
        app.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(asked(&app, "43004").await, 2.0, "WeChat was asked again, and said the same");
}
