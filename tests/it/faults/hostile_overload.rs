//! Five times as many sends as a slow WeChat can take: what is too much is refused at once, and the rest goes on as before.
//! (That refusals say 503 `overloaded` and spare health and callbacks: `api/overload.rs`.)
//!
//! `scripts/overload` runs it on the release build and prints the figures.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::upstream_tally::Tally;
use crate::binary::process::{Place, Program};
use crate::harness::order_notice;

/// What WeChat needs for a call, and how many requests may be under way: the gateway's peak is their quotient.
const LATENCY: Duration = Duration::from_millis(200);
const MAX_REQUESTS: usize = 100;
const OVERLOAD: usize = 5;
const SPAN: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);

/// How long answers took, by kind, in milliseconds.
#[derive(Default)]
struct Answers {
    good: Vec<f64>,
    shed: Vec<f64>,
    other: Vec<u16>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Figures {
    peak_per_second: f64,
    offered_per_second: f64,
    goodput_per_second: f64,
    goodput_share: f64,
    shed: usize,
    shed_p50_ms: f64,
    shed_p99_ms: f64,
    shed_max_ms: f64,
    good_p99_ms: f64,
    resident_mib: u64,
}

async fn send(http: reqwest::Client, url: Arc<str>, key: Arc<str>, answers: Arc<Mutex<Answers>>) {
    let started = Instant::now();
    let request = http.post(&*url).bearer_auth(&*key).json(&order_notice("oOVERLOAD"));
    let response = request.send().await.unwrap();
    let (status, retry_after) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    response.bytes().await.unwrap();
    let took = started.elapsed().as_secs_f64() * 1000.0;
    let mut answers = answers.lock().unwrap();
    match status {
        200 => answers.good.push(took),
        503 if retry_after => answers.shed.push(took),
        other => answers.other.push(other),
    }
}

fn share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = ((values.len() as f64 - 1.0) * share) as usize;
    values.get(place).copied().unwrap_or_default()
}

/// As many at once as there is room for, each followed by the next: the peak.
async fn closed_loop(program: &Program, http: &reqwest::Client) -> f64 {
    let answers = Arc::new(Mutex::new(Answers::default()));
    let (url, key): (Arc<str>, Arc<str>) =
        (format!("{}/send-template", program.url).into(), program.key.as_str().into());
    let mut workers = JoinSet::new();
    let end = Instant::now() + SPAN;
    for _ in 0..MAX_REQUESTS {
        let (http, url, key, answers) = (http.clone(), url.clone(), key.clone(), answers.clone());
        workers.spawn(async move {
            while Instant::now() < end {
                send(http.clone(), url.clone(), key.clone(), answers.clone()).await;
            }
        });
    }
    workers.join_all().await;
    let answers = answers.lock().unwrap();
    assert!(answers.shed.is_empty() && answers.other.is_empty(), "{} {:?}", answers.shed.len(), answers.other);
    answers.good.len() as f64 / SPAN.as_secs_f64()
}

/// So many a second, whatever becomes of those before.
async fn open_loop(program: &Program, http: &reqwest::Client, per_second: f64) -> Answers {
    let answers = Arc::new(Mutex::new(Answers::default()));
    let (url, key): (Arc<str>, Arc<str>) =
        (format!("{}/send-template", program.url).into(), program.key.as_str().into());
    let mut sends = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    let (started, mut begun) = (Instant::now(), 0.0);
    while started.elapsed() < SPAN {
        ticks.tick().await;
        while begun < per_second * started.elapsed().as_secs_f64() {
            sends.spawn(send(http.clone(), url.clone(), key.clone(), answers.clone()));
            begun += 1.0;
        }
        while sends.try_join_next().is_some() {}
    }
    sends.join_all().await;
    Arc::into_inner(answers).unwrap().into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: scripts/overload runs it on the release build"]
async fn five_times_too_much_is_shed_quickly_and_the_rest_goes_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wechat = format!("http://{}", listener.local_addr().unwrap());
    let _tally = Tally::serve(listener, LATENCY, Arc::new(|_| 0));
    let place = Place::prepare("").await;
    let limit = MAX_REQUESTS.to_string();
    let program = place
        .start_with(&[("WXGATE__ACCOUNTS__SHOP__BASE_URL", &wechat), ("WXGATE__SERVER__MAX_REQUESTS", &limit)])
        .await;
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(4_096).build().unwrap();
    let peak_per_second = closed_loop(&program, &http).await;
    let offered_per_second = peak_per_second * OVERLOAD as f64;
    let mut answers = open_loop(&program, &http, offered_per_second).await;
    assert!(answers.other.is_empty(), "{:?}", answers.other);
    let goodput_per_second = answers.good.len() as f64 / SPAN.as_secs_f64();
    let figures = Figures {
        peak_per_second,
        offered_per_second,
        goodput_per_second,
        goodput_share: goodput_per_second / peak_per_second,
        shed: answers.shed.len(),
        shed_p50_ms: share(&mut answers.shed, 0.5),
        shed_p99_ms: share(&mut answers.shed, 0.99),
        shed_max_ms: share(&mut answers.shed, 1.0),
        good_p99_ms: share(&mut answers.good, 0.99),
        resident_mib: crate::binary::process::resident_kib(program.id()) / 1024,
    };
    let _ = writeln!(std::io::stderr(), "{figures:#?}");
    assert!(figures.shed_p99_ms <= 50.0, "{figures:?}");
    assert!(figures.goodput_share >= 0.9, "{figures:?}");
}
