//! Standard error is a pipe that nobody reads: the gateway works, and stops, as if it had none.

use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::Method;

use crate::binary::process::{Place, command, until};
use crate::harness::order_notice;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_neither_sends_nor_the_end() {
    let place = Place::prepare("").await;
    let config = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), config.replace("level = \"info\"", "level = \"trace\"")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut serve = command(&place.config());
    serve.arg("serve").stderr(Stdio::from(writer));
    let program = place.watch(serve).await;
    let dropped = async || {
        let text = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("wxgate_log_lines_dropped_total "));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    // Far more lines than the pipe and the queue before it hold.
    let mut number = 0;
    until("lines are dropped", async || {
        let sends = (0..32).map(|n| {
            let request =
                program.request(Method::POST, "/send-template").json(&order_notice(&format!("oQUIET{number}x{n}")));
            async move { request.send().await.unwrap().status() }
        });
        assert!(join_all(sends).await.iter().all(|status| *status == 200));
        number += 1;
        dropped().await > 0
    })
    .await;
    let started = Instant::now();
    let send = program.request(Method::POST, "/send-template").json(&order_notice("oLAST")).send().await.unwrap();
    assert_eq!(send.status(), 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let started = Instant::now();
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(reader);
    assert_eq!(place.sandbox.deliveries_to("oLAST"), 1);
}
