//! SIGTERM: what is under way is finished, and no client can hold the end up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wxgate::sandbox::Fault;

use super::process::{Place, command, until};
use crate::harness::order_notice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_header_does_not_delay_the_end() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    let mut half = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).unwrap();
    half.write_all(b"POST /send-template HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
    // Answered after the half one was accepted: it is known to the server by now.
    program.get("/health").await;
    let started = Instant::now();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_does_not_delay_the_end_either() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    let mut half = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /send-template HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 500\r\n\r\n{{",
        program.key
    );
    half.write_all(head.as_bytes()).unwrap();
    until("its request is under way", async || {
        let text = program.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        text.contains("wxgate_http_requests_in_flight 2\n")
    })
    .await;
    program.signal(Signal::SIGTERM);
    let mut answer = String::new();
    let _ = half.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("shutting_down"), "{answer}");
    assert_eq!(program.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_under_way_is_answered_before_the_end() {
    let place = Place::prepare("").await;
    place.sandbox.set_fault(Fault::slow(700).on("/cgi-bin/message/template/send"));
    let program = place.start().await;
    let request = program.request(reqwest::Method::POST, "/send-template").json(&order_notice("oLAST"));
    let answer = tokio::spawn(request.send());
    until("it is under way", async || {
        let text = program.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        text.contains("wxgate_messages_total{account=\"shop\",state=\"sending\"} 1\n")
    })
    .await;
    program.signal(Signal::SIGTERM);
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(program.ended().await, Some(0));
    assert_eq!(place.sandbox.deliveries_to("oLAST"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_is_refused() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    let mut second = command(&place.config());
    let output = second.arg("serve").env("WXGATE__SERVER__LISTEN", "127.0.0.1:0").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is served by another wxgate process"), "{text}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_message_only_waits_is_answered_when_the_gateway_stops() {
    let place = Place::prepare("queue = { backoff_base = \"25s\", backoff_max = \"25s\" }").await;
    let program = place.start().await;
    let request = program.request(reqwest::Method::POST, "/send-template").header("prefer", "wait=30");
    let answer = tokio::spawn(request.json(&order_notice("sim-busy")).send());
    until("it waits", async || {
        let text = program.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        text.contains("wxgate_messages_total{account=\"shop\",state=\"queued\"} 1\n")
    })
    .await;
    let started = Instant::now();
    program.signal(Signal::SIGTERM);
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), 202);
    assert_eq!(program.ended().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_the_file_does_not_let_a_second_process_in() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    let link = place.folder.path().join("link.db");
    std::os::unix::fs::symlink(place.folder.path().join("wxgate.db"), &link).unwrap();
    let mut second = command(&place.config());
    second
        .env("WXGATE__SERVER__LISTEN", "127.0.0.1:0")
        .env("WXGATE__STORAGE__URL", format!("sqlite://{}", link.display()));
    let output = second.arg("serve").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is served by another wxgate process"), "{text}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
}
