//! A send with a living token has nothing to do with Redis.

use std::time::{Duration, Instant};

use super::bench::{STALL, Trial};
use crate::harness::RedisServer;

const SENDS: usize = 40;

#[tokio::test]
async fn a_send_with_a_living_token_asks_redis_nothing() {
    let mut trial = Trial::start(RedisServer::start(), "").await;
    trial.round().await;
    trial.until_the_token_is_shared().await;
    trial.redis.listen_in().await;
    let calm = sends(&trial, "oCALM").await;
    assert_eq!(trial.redis.heard().await, [""; 0]);
    // A dead token is another matter: so the ear is a good one.
    trial.round().await;
    let heard = trial.redis.heard().await;
    assert!(heard.iter().any(|line| line.starts_with("HGETALL wxgate:token:shop:")), "{heard:#?}");

    trial.redis.freeze();
    let frozen = sends(&trial, "oFROZEN").await;
    trial.redis.thaw();
    assert!(frozen.0 < calm.0 * 3 + Duration::from_secs(2), "{calm:?} {frozen:?}");
}

/// → how long the middle one and the slowest took.
async fn sends(trial: &Trial, name: &str) -> (Duration, Duration) {
    let mut times = Vec::new();
    for n in 0..SENDS {
        let begun = Instant::now();
        assert_eq!(trial.app.send(&format!("{name}{n}")).await.status, 200);
        times.push(begun.elapsed());
    }
    times.sort();
    (times[SENDS / 2], times[SENDS - 1])
}

#[tokio::test]
async fn a_redis_that_is_absent_at_the_start_is_used_as_soon_as_it_is_there() {
    let mut trial = Trial::start(RedisServer::absent(), "").await;
    let troubled = trial.rounds_for(Duration::from_millis(500)).await;
    assert_eq!((trial.redis_stands().await.as_str(), trial.up().await), ("degraded", 0.0));
    trial.redis.restart();
    trial.until_it_is_back().await;
    trial.until_the_token_is_shared().await;
    let calm = trial.rounds_for(Duration::from_millis(300)).await;
    Trial::nobody_waited_long(calm, troubled);
    trial.nothing_is_lost_or_doubled().await;
    trial.told(1).await;
}

#[tokio::test]
async fn a_redis_that_is_flushed_is_filled_again_without_a_word() {
    let mut trial = Trial::start(RedisServer::start(), "").await;
    trial.round().await;
    for _ in 0..5 {
        trial.redis.command(&["FLUSHALL"]).await;
        trial.redis.command(&["SCRIPT", "FLUSH"]).await;
        trial.until_the_token_is_shared().await;
    }
    trial.until_it_is_back().await;
    trial.nothing_is_lost_or_doubled().await;
    let told = trial.logs.with("redis.away");
    assert!(told.iter().all(|line| line.contains(STALL)), "{told:#?}");
}

#[tokio::test]
async fn a_connection_that_is_reset_costs_a_second_at_most() {
    let mut trial = Trial::start(RedisServer::start(), "").await;
    trial.round().await;
    for _ in 0..3 {
        trial.road.cut();
        trial.rounds_for(Duration::from_millis(300)).await;
        trial.until_it_is_back().await;
    }
    trial.until_the_token_is_shared().await;
    trial.nothing_is_lost_or_doubled().await;
    trial.told(3).await;
}
