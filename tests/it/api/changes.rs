//! Cancel, retry and resolve, over every state a message can be in.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::clock::Clock;
use wxgate::domain::state::State;
use wxgate::sandbox::{Fault, FaultKind};

use super::wire::{no_fault_inside, rows};
use crate::harness::{TestApp, order_notice};

const SEND: &str = "/cgi-bin/message/template/send";

async fn accept(app: &TestApp, touser: &str, more: Value) -> String {
    let mut body = order_notice(touser);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body["async"] = json!(true);
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    reply.field("message_id")
}

/// A message that stands in this state, by the ways a message gets there.
async fn bring_to(app: &TestApp, state: State) -> String {
    let later = json!({"send_at": app.clock.now().plus(Duration::from_secs(600)).to_string()});
    let id = match state {
        State::Scheduled => accept(app, "oX", later).await,
        State::Queued => {
            app.sandbox.set_fault(Fault::errcode(45011).on(SEND));
            accept(app, "oX", json!({})).await
        }
        State::Sending => {
            app.sandbox.set_fault(Fault::of(FaultKind::Hang).on(SEND));
            return accept(app, "oX", json!({})).await;
        }
        State::Sent => accept(app, "sim-no-receipt", json!({})).await,
        State::Delivered => accept(app, "sim-ok", json!({})).await,
        State::Undelivered => accept(app, "sim-system-failed", json!({})).await,
        State::Rejected => accept(app, "sim-not-subscribed", json!({})).await,
        State::Unknown => accept(app, "sim-reset", json!({"on_unknown": "hold"})).await,
        State::Failed => {
            let id = accept(app, "sim-reset", json!({"on_unknown": "hold"})).await;
            app.run_until_idle().await;
            let resolve = app.post(&format!("/v1/messages/{id}/resolve")).json(&json!({"state": "failed"}));
            assert_eq!(resolve.send().await.status, 200);
            id
        }
        State::Expired => {
            app.sandbox.set_fault(Fault::errcode(45011).on(SEND));
            let id = accept(app, "oX", json!({"ttl_s": 1})).await;
            app.run_until_idle().await;
            app.advance(Duration::from_secs(2)).await;
            app.tick().await;
            id
        }
        State::Canceled => {
            let id = accept(app, "oX", later).await;
            assert_eq!(app.delete(&format!("/v1/messages/{id}")).send().await.status, 200);
            id
        }
    };
    app.run_until_idle().await;
    if matches!(state, State::Delivered | State::Undelivered) {
        app.sandbox.deliver_receipts().await;
    }
    app.sandbox.clear_faults();
    id
}

#[tokio::test]
async fn each_change_is_allowed_in_its_states_and_in_no_other() {
    for state in State::ALL {
        let app = TestApp::start().await;
        let id = bring_to(&app, state).await;
        assert_eq!(app.state_of(&id).await, state.as_str());
        let path = format!("/v1/messages/{id}");
        let (may_cancel, may_resolve) = (matches!(state, State::Scheduled | State::Queued), state == State::Unknown);
        let may_retry = matches!(state, State::Failed | State::Expired | State::Undelivered | State::Unknown);
        // Those that are refused come first: they change nothing.
        let refused = |reply: &crate::harness::Reply| {
            reply.is_problem(409, "already_sending");
            assert!(reply.field("detail").contains(state.as_str()), "{}", reply.text);
        };
        if !may_cancel {
            refused(&app.delete(&path).send().await);
        }
        if !may_retry {
            refused(&app.post(&format!("{path}/retry")).send().await);
        }
        if !may_resolve {
            for settled in ["sent", "failed"] {
                let resolve = app.post(&format!("{path}/resolve")).json(&json!({"state": settled}));
                refused(&resolve.send().await);
            }
        }
        assert_eq!((app.state_of(&id).await.as_str(), rows(&app, "messages")), (state.as_str(), 1));
        if may_cancel {
            let reply = app.delete(&path).send().await;
            assert_eq!((reply.status, reply.field("state").as_str()), (200, "canceled"), "{}", reply.text);
        }
        if may_retry {
            retry(&app, &id).await;
        }
        if may_resolve {
            let resolve = app.post(&format!("{path}/resolve")).json(&json!({"state": "sent"}));
            let reply = resolve.send().await;
            assert_eq!((reply.status, reply.field("state").as_str()), (200, "sent"), "{}", reply.text);
        }
        no_fault_inside(&app).await;
    }
}

async fn retry(app: &TestApp, old: &str) {
    let reply = app.post(&format!("/v1/messages/{old}/retry")).send().await;
    assert!([200, 202].contains(&reply.status), "{}", reply.text);
    let id = reply.field("message_id");
    assert_ne!(id, old);
    assert_eq!(
        (reply.field("retry_of").as_str(), reply.header("location").unwrap()),
        (old, format!("/v1/messages/{id}").as_str())
    );
    app.run_until_idle().await;
    let (before, after) = (app.message(old).await, app.message(&id).await);
    assert_eq!(after["retry_of"], old);
    for field in ["account", "touser", "template_id", "priority", "metadata"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_ne!(after["client_msg_id"], before["client_msg_id"]);
}

#[tokio::test]
async fn a_resolution_says_sent_or_failed_and_nothing_else() {
    let app = TestApp::start().await;
    let id = bring_to(&app, State::Unknown).await;
    let resolve = async |body: &str| {
        app.post(&format!("/v1/messages/{id}/resolve")).body("application/json", body.to_owned()).send().await
    };
    for (body, path) in [
        ("{}", "/state"),
        (r#"{"state":null}"#, "/state"),
        (r#"{"state":"delivered"}"#, "/state"),
        (r#"{"state":"unknown"}"#, "/state"),
        (r#"{"state":1}"#, "/state"),
        (r#"{"state":"sent","note":"x"}"#, "/note"),
        (r#"{"stat":"sent"}"#, "/stat"),
        ("[]", ""),
        ("", ""),
    ] {
        let reply = resolve(body).await;
        reply.is_problem(400, "malformed_request");
        assert_eq!(reply.json()["errors"][0]["path"], path, "{body} {}", reply.text);
    }
    assert_eq!(app.state_of(&id).await, "unknown");
    assert_eq!(resolve(r#"{"state":"failed"}"#).await.field("state"), "failed");
    let history = app.message(&id).await["history"].clone();
    assert_eq!(history.as_array().unwrap().last().unwrap()["state"], "failed");
}

#[tokio::test]
async fn ids_that_are_none_are_404() {
    let app = TestApp::start().await;
    let long = "x".repeat(5_000);
    for id in [
        "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "msg_",
        "msg_x",
        "bat_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "1",
        "%20",
        "%00",
        "%ff",
        "..%2f..",
        "msg_01arz3ndektsv4rrffq69g5fav",
        &long,
    ] {
        let path = format!("/v1/messages/{id}");
        app.get(&path).send().await.is_problem(404, "not_found");
        app.delete(&path).send().await.is_problem(404, "not_found");
        app.post(&format!("{path}/retry")).send().await.is_problem(404, "not_found");
        let resolve = app.post(&format!("{path}/resolve")).json(&json!({"state": "sent"}));
        resolve.send().await.is_problem(404, "not_found");
    }
}
