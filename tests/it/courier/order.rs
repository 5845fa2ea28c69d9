//! Events of one message come one after the other; everything else goes beside.

use std::collections::HashMap;

use super::{MINUTE, with_crm};
use crate::harness::{Answer, Endpoint};

#[tokio::test]
async fn an_event_is_not_told_before_an_earlier_one_of_its_message() {
    let subscriber = Endpoint::start().await;
    subscriber.answers(|told| {
        let is_bad = told.message() == "msg_bad" && told.kind() == "message.sent";
        Answer::Status(if is_bad { 500 } else { 200 })
    });
    let app = with_crm(&subscriber).await;
    for (number, kind) in (1..).zip(["message.sent", "message.delivered"]) {
        for message in ["msg_bad", "msg_good"] {
            app.raise(kind, Some(message), number).await;
        }
    }
    app.raise("quota.low", None, 3).await;
    app.deliver().await;
    let kinds_of = |message: &str| {
        let told = subscriber.told();
        told.iter().filter(|told| told.message() == message).map(|told| told.kind()).collect::<Vec<_>>()
    };
    assert_eq!(kinds_of("msg_good"), ["message.sent", "message.delivered"]);
    assert_eq!(kinds_of(""), ["quota.low"]);
    app.advance(MINUTE * 30).await;
    app.deliver().await;
    app.raise("message.later", Some("msg_bad"), 4).await;
    app.deliver().await;
    assert_eq!(kinds_of("msg_bad"), ["message.sent", "message.sent"], "nothing passes it");
    subscriber.answers_always(Answer::Status(200));
    app.advance(MINUTE * 60).await;
    app.deliver().await;
    let expected = ["message.sent", "message.sent", "message.sent", "message.delivered", "message.later"];
    assert_eq!(kinds_of("msg_bad"), expected);
}

#[tokio::test]
async fn what_is_given_up_does_not_hold_up_its_message_for_ever() {
    let subscriber = Endpoint::start().await;
    subscriber.answers(|told| Answer::Status(if told.kind() == "message.sent" { 500 } else { 200 }));
    let app = with_crm(&subscriber).await;
    app.raise("message.sent", Some("msg_1"), 1).await;
    app.raise("message.delivered", Some("msg_1"), 2).await;
    for _ in 0..8 {
        app.deliver().await;
        app.advance(MINUTE * 60 * 12).await;
    }
    app.deliver().await;
    let mut counts = HashMap::new();
    for told in subscriber.told() {
        *counts.entry(told.kind()).or_insert(0) += 1;
    }
    assert_eq!((counts["message.sent"], counts["message.delivered"]), (8, 1));
}
