//! A task of ours panics in the worst moment: WeChat has taken the message, and nobody has written that down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{TestApp, order_notice};

const LEASE: Duration = Duration::from_secs(61);

/// A log that panics: the only door into the middle of an attempt. It does so for as long as it has something left.
struct Trap {
    left: Arc<AtomicU32>,
}

impl Trap {
    /// Set for this thread, where the gateway of a test runs too. → how many attempts are to panic.
    fn set(count: u32) -> (tracing::subscriber::DefaultGuard, Arc<AtomicU32>) {
        let left = Arc::new(AtomicU32::new(count));
        (tracing::subscriber::set_default(Self { left: left.clone() }), left)
    }
}

struct Says(bool);

impl Visit for Says {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == "attempt ended";
    }
}

impl Subscriber for Trap {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut says = Says(false);
        event.record(&mut says);
        let take = |left: u32| left.checked_sub(1);
        if says.0 && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            panic!("on purpose");
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[rstest]
#[case::a_caller_waits("wait=1")]
#[case::nobody_waits("respond-async")]
#[tokio::test]
async fn a_message_whose_attempt_panics_is_taken_back_and_ends(#[case] prefer: &str) {
    let app = TestApp::start().await;
    let (_trap, left) = Trap::set(1);
    let reply = app.post("/send-template").header("prefer", prefer).json(&order_notice("oPANIC")).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "sending"), "{}", reply.text);
    // Its slot is free: this would wait for ever otherwise.
    app.app.settled().await;
    assert_eq!(left.load(Ordering::SeqCst), 0, "it did panic");
    let id = reply.field("message_id");
    assert_eq!(app.state_of(&id).await, "sending");
    assert_eq!(app.send("oNEXT").await.status, 200, "the others go on");

    app.advance(LEASE).await;
    app.tick().await;
    let message = app.message(&id).await;
    assert_eq!((&message["state"], &message["state_reason"]), (&json!("queued"), &json!("crash")));
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.sandbox.deliveries_to("oPANIC"), 1);
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[tokio::test]
async fn a_message_on_hold_whose_attempt_panics_is_not_sent_again() {
    let app = TestApp::start().await;
    let (_trap, _) = Trap::set(1);
    let mut body = order_notice("oPANIC");
    body["on_unknown"] = json!("hold");
    let reply = app.post("/send-template").header("prefer", "wait=1").json(&body).send().await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    app.app.settled().await;
    app.advance(LEASE).await;
    app.tick().await;
    app.run_until_idle().await;
    let message = app.message(&reply.field("message_id")).await;
    assert_eq!((&message["state"], &message["state_reason"]), (&json!("unknown"), &json!("crash")));
    assert_eq!(app.sandbox.deliveries_to("oPANIC"), 1);
}
