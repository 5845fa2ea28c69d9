//! What callers do to webhooks: make, change, switch, try, rotate, look into, replay; on the wire, with real subscribers.

mod binary;
mod consumer;
mod deliveries;
mod guard;
mod manage;
mod secrets;
mod sight;
mod trying;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::clock::{Clock, SystemClock};

use crate::harness::{Reply, Setup, Subscriber, TestApp, World};

pub(super) const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const SECOND: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The tests' subscribers live on loopback.
pub(super) const LOOPBACK: &str = "webhooks.allow_cidrs = [\"127.0.0.0/8\"]\n";

pub(super) fn loopback() -> Setup {
    Setup { head: LOOPBACK.to_owned(), ..Setup::default() }
}

/// A gateway whose day is today: the reference library looks at the clock of the machine.
pub(super) async fn today(setup: Setup) -> TestApp {
    TestApp::start_with(Setup { world: Some(World::starting_at(SystemClock.now()).await), ..setup }).await
}

pub(super) async fn make(app: &TestApp, body: &Value) -> Reply {
    app.post("/v1/webhooks").json(body).send().await
}

/// → its id.
pub(super) async fn made(app: &TestApp, subscriber: &Subscriber) -> String {
    let made = make(app, &json!({"url": subscriber.url, "events": ["message.*"]})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.field("id")
}

pub(super) async fn patch(app: &TestApp, id: &str, change: &Value) -> Reply {
    app.request(Method::PATCH, &format!("/v1/webhooks/{id}")).json(change).send().await
}

pub(super) async fn view(app: &TestApp, id: &str) -> Value {
    let reply = app.get(&format!("/v1/webhooks/{id}")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// Delivers what is due.
pub(super) async fn deliver(app: &TestApp) {
    app.app.courier().step().await.unwrap();
}

/// The places of all faults.
pub(super) fn places(reply: &Reply) -> Vec<String> {
    let errors = reply.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["path"].as_str().unwrap().to_owned()).collect()
}
