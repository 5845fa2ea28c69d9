//! Receipts that come twice, contradict each other, come too early, or for what is not theirs.

use std::time::Duration;

use serde_json::json;
use wxgate::sandbox::{Fault, FaultKind};

use super::hostile_letter::{app, post_sealed, receipt};
use crate::harness::{TestApp, order_notice};

async fn sent(app: &TestApp, touser: &str) -> (String, String) {
    let reply = app.send(touser).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    (reply.field("message_id"), reply.field("msgid"))
}

async fn report(app: &TestApp, from: &str, msgid: &str, status: &str) {
    let reply = post_sealed(app, &receipt(from, msgid, status)).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "success"));
}

/// The states of a message in their order.
async fn road(app: &TestApp, id: &str) -> Vec<String> {
    let message = app.message(id).await;
    message["history"].as_array().unwrap().iter().map(|entry| entry["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_first_word_that_is_final_stands() {
    let app = app("safe").await;
    for (number, (first, second, state)) in [
        ("success", "success", "delivered"),
        ("success", "failed:user block", "delivered"),
        ("failed:user block", "success", "undelivered"),
        ("failed:user block", "failed: system failed", "undelivered"),
        ("success", "pending review", "delivered"),
    ]
    .into_iter()
    .enumerate()
    {
        let openid = format!("oFIRST{number}");
        let (id, msgid) = sent(&app, &openid).await;
        report(&app, &openid, &msgid, first).await;
        report(&app, &openid, &msgid, second).await;
        assert_eq!(road(&app, &id).await, ["queued", "sending", "sent", state], "{first}, {second}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_final_does_not_shut_out_the_one_that_is() {
    let app = app("safe").await;
    let (id, msgid) = sent(&app, "oPENDING").await;
    for status in ["pending review", "pending review", "Success", ""] {
        report(&app, "oPENDING", &msgid, status).await;
        assert_eq!(app.state_of(&id).await, "sent", "{status}");
    }
    report(&app, "oPENDING", &msgid, "success").await;
    assert_eq!(app.state_of(&id).await, "delivered");
}

#[tokio::test]
async fn a_receipt_for_what_is_not_theirs_settles_nothing() {
    let app = app("safe").await;
    let (alice, alices) = sent(&app, "oALICE").await;
    let (bob, bobs) = sent(&app, "oBOB").await;
    report(&app, "oBOB", &alices, "failed:user block").await;
    report(&app, "oALICE", &bobs, "failed:user block").await;
    report(&app, "oALICE", "9999999999", "failed:user block").await;
    report(&app, "oMALLORY", &alices, "failed:user block").await;
    report(&app, "", &alices, "failed:user block").await;
    report(&app, "oALICE", "", "failed:user block").await;
    report(&app, "oALICE", "0", "failed:user block").await;
    report(&app, "oALICE", &format!("{alices}0"), "failed:user block").await;
    report(&app, "oALICE", &format!("0{alices}"), "failed:user block").await;
    for id in [&alice, &bob] {
        assert_eq!(app.state_of(id).await, "sent");
    }
    report(&app, "oALICE", &alices, "success").await;
    report(&app, "oBOB", &bobs, "success").await;
    for id in [&alice, &bob] {
        assert_eq!(app.state_of(id).await, "delivered");
    }
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

/// Two accounts with one store: the same msgid under another account is another message.
#[tokio::test]
async fn a_receipt_of_another_account_settles_nothing_here() {
    let config = format!(
        "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\nmode = \"plain\"\ntoken = \"{}\"\n",
        crate::harness::CALLBACK_TOKEN
    );
    let app = TestApp::start_with(crate::harness::Setup { config, ..crate::harness::Setup::default() }).await;
    let mut body = order_notice("oBOTH");
    body["account"] = json!("shop");
    let reply = app.post("/send-template").json(&body).send().await;
    let (id, msgid) = (reply.field("message_id"), reply.field("msgid"));
    let query = super::hostile_letter::plain_query(&super::hostile_letter::now(&app), super::hostile_letter::NONCE);
    let stray = receipt("oBOTH", &msgid, "failed:user block");
    assert_eq!(super::hostile_letter::post_to(&app, "other", &query, stray).await.status, 200);
    assert_eq!(app.state_of(&id).await, "sent");
    report(&app, "oBOTH", &msgid, "success").await;
    assert_eq!(app.state_of(&id).await, "delivered");
}

#[tokio::test]
async fn a_receipt_before_the_answer_waits_for_it_however_often_it_comes() {
    let app = app("safe").await;
    app.sandbox.set_fault(Fault::of(FaultKind::ReceiptBefore));
    let reply = app.send("oEARLY").await;
    assert_eq!((reply.status, reply.field("state").as_str()), (200, "delivered"), "{}", reply.text);
    let (id, msgid) = (reply.field("message_id"), reply.field("msgid"));
    for status in ["success", "failed:user block"] {
        report(&app, "oEARLY", &msgid, status).await;
    }
    assert_eq!(road(&app, &id).await, ["queued", "sending", "sent", "delivered"]);
}

#[tokio::test]
async fn a_receipt_does_not_wake_what_has_ended() {
    let app = app("safe").await;
    // One of the person's messages was refused, one expired; a receipt without an owner comes for the person.
    app.sandbox.set_fault(Fault::errcode(45011).on("/cgi-bin/message/template/send"));
    let mut body = order_notice("sim-not-subscribed");
    body["ttl_s"] = json!(30);
    body["async"] = json!(true);
    let expired = app.post("/send-template").json(&body).send().await.field("message_id");
    app.run_until_idle().await;
    app.sandbox.clear_faults();
    let refused = app.send("sim-not-subscribed").await.json()["message_id"].as_str().unwrap().to_owned();
    app.advance(Duration::from_secs(31)).await;
    app.tick().await;
    report(&app, "sim-not-subscribed", "777", "success").await;
    assert_eq!(app.state_of(&refused).await, "rejected");
    assert_eq!(app.state_of(&expired).await, "expired");
    assert_eq!(app.metric(r#"wxgate_receipts_total{account="shop",status="unmatched"}"#).await, 1.0);
}
