//! A second signal ends it at once, and nothing that was answered for is lost.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use reqwest::Method;
use rstest::rstest;
use serde_json::Value;
use wxgate::sandbox::Fault;

use crate::binary::process::{Place, until};
use crate::harness::order_notice;

const SEND: &str = "/cgi-bin/message/template/send";

#[rstest]
#[case(Signal::SIGTERM, Signal::SIGTERM)]
#[case(Signal::SIGTERM, Signal::SIGINT)]
#[case(Signal::SIGINT, Signal::SIGTERM)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_nothing_is_lost(#[case] first: Signal, #[case] second: Signal) {
    let place = Place::prepare("").await;
    let config = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), config.replace("shutdown_grace = \"2s\"", "shutdown_grace = \"60s\"")).unwrap();
    let fault = place.sandbox.set_fault(Fault::slow(40_000).on(SEND));
    let program = place.start().await;
    let mut paths = Vec::new();
    for n in 0..3 {
        let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
        let reply: Value =
            request.json(&order_notice(&format!("oHASTY{n}"))).send().await.unwrap().json().await.unwrap();
        paths.push(format!("/v1/messages/{}", reply["message_id"].as_str().unwrap()));
    }
    until("they are under way", async || place.sandbox.calls(SEND) == 3).await;
    program.signal(first);
    until("it is stopping", async || std::fs::read_to_string(place.log()).unwrap().contains("stopping; once more"))
        .await;
    assert!(place.sandbox.remove_fault(fault));
    let started = Instant::now();
    program.signal(second);
    assert_eq!(program.ended().await, Some(0), "as documented");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let program = place.start().await;
    for (n, path) in paths.iter().enumerate() {
        until("it has ended", async || program.get(path).await["state"] == "delivered").await;
        assert_eq!(place.sandbox.deliveries_to(&format!("oHASTY{n}")), 1);
    }
}
