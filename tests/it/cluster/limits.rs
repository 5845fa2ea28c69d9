//! One set of limits for all nodes, whatever happens to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::bench::{Pair, is_up};
use crate::binary::process::{Program, until};
use crate::harness::order_notice;

/// Callers that send without a pause, half of them at each node.
const CALLERS: usize = 16;

/// What a crowd was answered.
#[derive(Debug, Default)]
struct Tally {
    passed: AtomicUsize,
    limited: AtomicUsize,
    others: AtomicUsize,
}

async fn limited_pair(limits: &str) -> (Pair, [Program; 2]) {
    let pair = Pair::with(&format!("secrets.key = \"{}=\"\nlimits = {{ {limits} }}", "A".repeat(43)), ["", ""]).await;
    let programs = pair.start().await;
    for (number, program) in programs.iter().enumerate() {
        // Connected, and with a token: to somebody whom no test counts.
        let mut body = order_notice(&format!("oWARM{number}"));
        body["data"]["thing1"] = json!("warm");
        until("Redis has been reached", async || is_up(program).await || post(program, &body).await == 0).await;
    }
    (pair, programs)
}

async fn post(program: &Program, body: &serde_json::Value) -> u16 {
    let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async").json(body);
    request.timeout(Duration::from_secs(30)).send().await.unwrap().status().as_u16()
}

/// Everybody writes to one person until told to stop.
async fn crowd(programs: &[Program; 2], person: &str, stop: &AtomicBool, tally: &Tally) {
    let callers = (0..CALLERS).map(async |caller| {
        let body = order_notice(person);
        while !stop.load(Ordering::SeqCst) {
            let counter = match post(&programs[caller % 2], &body).await {
                202 => &tally.passed,
                429 => &tally.limited,
                _ => &tally.others,
            };
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    join_all(callers).await;
}

async fn press(programs: &[Program; 2], person: &str, span: Duration) -> (Tally, f64) {
    let (stop, tally, begun) = (AtomicBool::new(false), Tally::default(), Instant::now());
    let end = async {
        tokio::time::sleep(span).await;
        stop.store(true, Ordering::SeqCst);
    };
    futures_util::future::join(crowd(programs, person, &stop, &tally), end).await;
    (tally, begun.elapsed().as_secs_f64())
}

async fn fallbacks(programs: &[Program; 2]) -> u64 {
    let mut sum = 0;
    for program in programs {
        let text = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("wxgate_limit_fallbacks_total "));
        sum += line.unwrap().parse::<u64>().unwrap();
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_admit_one_rate_together() {
    // Both would let 2 × 5 pass and 2 × 2 a second.
    let (pair, programs) = limited_pair("openid = { rate = 2, per = \"second\", burst = 5 }, identical.rate = 0").await;
    let before = fallbacks(&programs).await;
    let (tally, seconds) = press(&programs, "oPRESSED", Duration::from_secs(4)).await;
    let (passed, limited) = (tally.passed.into_inner(), tally.limited.into_inner());
    // What a busy machine keeps from Redis, a node decides by itself: no more than its own burst each time.
    let alone = usize::try_from(fallbacks(&programs).await - before).unwrap();
    assert!(alone < (passed + limited) / 2, "Redis was hardly ever asked: {alone} of {}", passed + limited);
    let (most, least) = (5.0 + 2.0 * seconds + 2.0 + alone as f64, 4.0 + 2.0 * (seconds - 0.5));
    assert!(
        (least..=most).contains(&(passed as f64)),
        "{passed} of {least}..={most} in {seconds} s, {alone} decided alone"
    );
    assert!(limited > passed * 20, "that was no pressure: {limited}");
    assert_eq!(tally.others.into_inner(), 0);
    until("all of it has been sent", async || pair.sandbox.deliveries_to("oPRESSED") == passed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_belongs_to_both_nodes_and_what_is_kept_shows_nobody() {
    let (pair, programs) = limited_pair("openid = { rate = 1, per = \"hour\", burst = 20 }, identical.rate = 0").await;
    let body = order_notice("oTWENTY");
    let mut passed = 0;
    for n in 0..40 {
        match post(&programs[n % 2], &body).await {
            202 => passed += 1,
            other => assert_eq!(other, 429),
        }
    }
    let alone = fallbacks(&programs).await;
    assert!((20..=20 + alone.min(15)).contains(&passed), "{passed}, {alone} decided alone");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut pair.redis.raw().await).await.unwrap();
    assert!(keys.iter().any(|key| key.starts_with("wxgate:limit:openid:")), "{keys:?}");
    assert!(keys.iter().all(|key| !key.contains("TWENTY")), "{keys:?}");
    // A batch is counted item by item, and goes by the same buckets.
    let messages: Vec<_> = (0..30).map(|_| json!({"touser": "oBATCH"})).collect();
    let mut batch = order_notice("oBATCH");
    batch.as_object_mut().unwrap().remove("touser");
    batch["messages"] = json!(messages);
    let mut accepted = 0;
    for program in &programs {
        let request = program.request(Method::POST, "/send-template/batch").json(&batch);
        let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        accepted += reply["accepted"].as_u64().unwrap_or(0);
    }
    let alone = fallbacks(&programs).await;
    assert!((20..=20 + alone).contains(&accepted), "{accepted}, {alone} decided alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_redis_nobody_is_told_5xx_and_the_limits_hold() {
    let (mut pair, programs) =
        limited_pair("openid = { rate = 60, per = \"hour\", burst = 30 }, identical.rate = 0").await;
    let (stop, tally) = (AtomicBool::new(false), Arc::new(Tally::default()));
    let weather = async {
        let enough = Duration::from_millis(1_200);
        tokio::time::sleep(enough).await;
        pair.redis.freeze();
        tokio::time::sleep(enough).await;
        pair.redis.thaw();
        tokio::time::sleep(enough).await;
        pair.redis.stop();
        tokio::time::sleep(enough).await;
        pair.redis.restart();
        until("both are back", async || is_up(&programs[0]).await && is_up(&programs[1]).await).await;
        pair.redis.command(&["FLUSHALL"]).await;
        tokio::time::sleep(enough).await;
        stop.store(true, Ordering::SeqCst);
    };
    futures_util::future::join(crowd(&programs, "oWEATHER", &stop, &tally), weather).await;
    let passed = tally.passed.load(Ordering::SeqCst);
    assert_eq!(tally.others.load(Ordering::SeqCst), 0, "{tally:?}");
    // At worst each node has let its own burst pass beside the shared one, and after each of the two losses the shared one
    // was fresh again; what a node has taken itself it remembers.
    assert!((30..=60 + 4).contains(&passed), "{tally:?}");
    assert!(fallbacks(&programs).await > 0);

    // The shared ones rule again.
    until("both are back", async || is_up(&programs[0]).await && is_up(&programs[1]).await).await;
    let before = fallbacks(&programs).await;
    let body = order_notice("oAFTER");
    let mut passed = 0;
    for n in 0..80 {
        passed += u64::from(post(&programs[n % 2], &body).await == 202);
    }
    let alone = fallbacks(&programs).await - before;
    assert!((30..=31 + alone).contains(&passed), "{passed}, {alone} decided alone");
}
