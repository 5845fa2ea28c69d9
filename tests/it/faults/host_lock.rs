//! Another program holds the database: nobody waits long, nothing is lost, and it is said once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use wxgate::sandbox::{CallbackRequest, Fault};

use crate::binary::process::{Place, until};
use crate::harness::order_notice;

const SEND: &str = "/cgi-bin/message/template/send";
/// How long one caller may wait: the writer's patience with another program, and room for a busy machine.
const BOUND: Duration = Duration::from_secs(9);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_held_by_another_program_costs_time_and_no_message() {
    let place = Place::prepare("queue.concurrency = 16").await;
    place.sandbox.set_fault(Fault::slow(1000).on(SEND));
    let program = place.start().await;
    let send = |touser: String| {
        let request = program.request(Method::POST, "/send-template").header("prefer", "wait=30");
        let request = request.json(&order_notice(&touser));
        async move {
            let started = Instant::now();
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap(), started.elapsed())
        }
    };
    let in_flight: Vec<_> = (0..8).map(|n| tokio::spawn(send(format!("oFLIES{n}")))).collect();
    until("they are on their way", async || place.sandbox.calls(SEND) >= 8).await;

    let path = place.folder.path().join("wxgate.db");
    let other = rusqlite::Connection::open(path).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Two waves, each larger than one batch of the writer: the last of them must not wait for all the others.
    for wave in 0..2 {
        let sends = join_all((0..400).map(|n| send(format!("oHELD{wave}x{n}"))));
        let callback = place.sandbox.send_callback(CallbackRequest::text("oTALKS", "help"));
        let (answers, callback) = tokio::join!(sends, callback);
        for (status, body, took) in &answers {
            assert_eq!((*status, &body["code"]), (503, &json!("storage_unavailable")), "{body}");
            assert!(*took < BOUND, "{took:?}");
        }
        let callback = callback.unwrap();
        assert!(callback.status == 500 && !callback.accepted, "WeChat has to repeat it: {callback:?}");
    }
    let ready = program.request(Method::GET, "/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    other.execute_batch("ROLLBACK").unwrap();

    for answer in in_flight {
        let (status, body, _) = answer.await.unwrap();
        // A receipt may be faster than the caller.
        let is_there = matches!(body["state"].as_str(), Some("sent" | "delivered"));
        assert!(status == 200 && is_there, "{status} {body}");
    }
    for n in 0..8 {
        assert_eq!(place.sandbox.deliveries_to(&format!("oFLIES{n}")), 1);
    }
    let repeated = place.sandbox.send_callback(CallbackRequest::text("oTALKS", "help")).await.unwrap();
    assert!(repeated.accepted, "{repeated:?}");
    let (status, body, _) = send("oAFTER".to_owned()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(place.sandbox.messages().iter().filter(|message| message.openid.starts_with("oHELD")).count(), 0);
    let metrics = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nwxgate_messages_unaccounted 0\n"), "{metrics}");

    let log = std::fs::read_to_string(place.log()).unwrap();
    let loud: Vec<_> = log.lines().filter(|line| line.contains("\"ERROR\"") || line.contains("\"WARN\"")).collect();
    let of_store: Vec<_> = loud.iter().filter(|line| line.contains("the store did not write")).collect();
    assert_eq!(of_store.len(), 1, "{log}");
    assert!(of_store[0].contains("another program holds the database"), "{log}");
    assert!(loud.len() <= 2, "beside it, at most that the health check failed:\n{}", loud.join("\n"));
    assert_eq!(log.matches("the store writes again").count(), 1, "{log}");
}
