//! A message that kills the gateway each time: after three deaths it is set aside, and everybody else goes on.

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::sandbox::{Fault, FaultKind};

use crate::binary::process::{Place, until};
use crate::harness::order_notice;

const SEND: &str = "/cgi-bin/message/template/send";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_dies_three_times_of_one_message_and_lives_on_without_it() {
    let place = Place::prepare("").await;
    // The request has left, and the program is dead before any answer comes: whatever kills it, it looks like this.
    let hang = Fault { after: Some(false), ..Fault::of(FaultKind::Hang) };
    let fault = place.sandbox.set_fault(hang.on(SEND));
    let mut program = place.start().await;
    let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
    let reply: Value = request.json(&order_notice("oPOISON")).send().await.unwrap().json().await.unwrap();
    let path = format!("/v1/messages/{}", reply["message_id"].as_str().unwrap());
    for death in 1..=3 {
        until("it is under way", async || place.sandbox.calls(SEND) >= death).await;
        program.kill();
        program = place.start().await;
    }
    until("it is set aside", async || program.get(&path).await["state"] == "unknown").await;
    let message = program.get(&path).await;
    assert_eq!(message["state_reason"], json!("quarantined"), "{message}");
    let log = std::fs::read_to_string(place.log()).unwrap();
    let line = log.lines().find(|line| line.contains("quarantined:")).unwrap();
    assert!(line.contains(reply["message_id"].as_str().unwrap()) && line.contains("retry"), "{line}");

    assert!(place.sandbox.remove_fault(fault));
    let sent = program.request(Method::POST, "/send-template").json(&order_notice("oNEXT")).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    assert_eq!((place.sandbox.calls(SEND), place.sandbox.deliveries_to("oPOISON")), (4, 0));
    let metrics = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nwxgate_messages_unaccounted 0\n"), "{metrics}");
}
