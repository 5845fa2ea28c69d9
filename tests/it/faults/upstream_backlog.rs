//! The backlog of an hour's outage in the real program: what it costs in memory, and how fast WeChat is asked when it is
//! back. A measurement: `scripts/outage` runs it on the release build and prints the figures.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::upstream_tally::Tally;
use super::upstream_wechat::Line;
use crate::binary::process::{Place, resident_kib, until_within};
use crate::harness::order_notice;

/// An hour at a hundred a second.
const MESSAGES: usize = 360_000;
const CLIENTS: usize = 128;
const LATENCY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1_800);

#[derive(Debug)]
#[expect(dead_code, reason = "some are only printed")]
struct Figures {
    accepted_per_second: f64,
    resident_mib_at_start: u64,
    /// After each tenth of the messages.
    resident_mib: Vec<u64>,
    /// From the return of WeChat to its first call.
    first_call_after: Duration,
    /// Sends that WeChat got in each second from then on.
    calls_by_second: Vec<u64>,
    calls: u64,
    most_seen: u32,
    drained_in: Duration,
    resident_mib_at_end: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: scripts/outage runs it"]
async fn an_hours_backlog_costs_no_memory_and_is_sent_once() {
    let mut line = Line::closed();
    let place = Place::prepare("").await;
    let program = place.start_with(&[("WXGATE__ACCOUNTS__SHOP__BASE_URL", &line.url())]).await;
    let resident_mib = |process| resident_kib(process) / 1024;
    let resident_mib_at_start = resident_mib(program.id());
    let (started, done) = (Instant::now(), AtomicUsize::new(0));
    let samples: Vec<Option<u64>> = stream::iter(0..MESSAGES)
        .map(async |number| {
            let request = program.request(reqwest::Method::POST, "/send-template").header("prefer", "respond-async");
            let response = request.json(&order_notice(&format!("oBACKLOG{number}"))).send().await.unwrap();
            assert_eq!(response.status(), 202);
            response.bytes().await.unwrap();
            let done = done.fetch_add(1, Ordering::SeqCst) + 1;
            done.is_multiple_of(MESSAGES / 10).then(|| resident_mib(program.id()))
        })
        .buffer_unordered(CLIENTS)
        .collect()
        .await;
    let accepted_per_second = MESSAGES as f64 / started.elapsed().as_secs_f64();
    let back = Instant::now();
    let wechat = Tally::serve(line.listen(), LATENCY, Arc::new(|_| 0));
    until_within(PATIENCE, "WeChat is called", async || wechat.calls() > 0).await;
    let first_call_after = back.elapsed();
    let sent = "wxgate_messages_total{account=\"shop\",state=\"sent\"}";
    until_within(PATIENCE, "everything is sent", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        program.metric(sent).await >= MESSAGES as f64
    })
    .await;
    let figures = Figures {
        accepted_per_second,
        resident_mib_at_start,
        resident_mib: samples.into_iter().flatten().collect(),
        first_call_after,
        calls_by_second: wechat.by_second(),
        calls: wechat.calls(),
        most_seen: wechat.most(),
        drained_in: back.elapsed(),
        resident_mib_at_end: resident_mib(program.id()),
    };
    let _ = writeln!(std::io::stderr(), "{MESSAGES} messages: {figures:#?}");
    assert_eq!((figures.calls, figures.most_seen), (MESSAGES as u64, 1), "{figures:?}");
    let (first, last) = (figures.resident_mib[0], *figures.resident_mib.last().unwrap());
    assert!(last <= first + 64, "memory does not grow with the backlog: {figures:?}");
}
