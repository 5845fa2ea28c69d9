//! `SharedNonces` against a real Redis on a private port, and against none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wxgate::config::store::RedisConfig;
use wxgate::domain::secret::Secret;
use wxgate::domain::signed::NonceId;
use wxgate::store::redis::Link;
use wxgate::store::{Allowance, SharedNonces, open};

use crate::harness::RedisServer;

const HOLD: Duration = Duration::from_secs(600);

fn nonces_at(port: u16) -> Arc<dyn SharedNonces> {
    let config = RedisConfig { url: Secret::new(format!("redis://127.0.0.1:{port}")), prefix: "test:".to_owned() };
    open::share_nonces(&Link::new(&config).unwrap())
}

#[tokio::test]
async fn a_nonce_counts_once_on_whichever_node() {
    let redis = RedisServer::start();
    let (ours, theirs) = (nonces_at(redis.port), nonces_at(redis.port));
    assert!(ours.remember(&mut Allowance::default(), NonceId([1; 16]), HOLD).await.unwrap());
    assert!(!theirs.remember(&mut Allowance::default(), NonceId([1; 16]), HOLD).await.unwrap());
    assert!(!ours.remember(&mut Allowance::default(), NonceId([1; 16]), HOLD).await.unwrap());
    assert!(theirs.remember(&mut Allowance::default(), NonceId([2; 16]), HOLD).await.unwrap());

    let key = format!("test:nonce:{}", "01".repeat(16));
    let left: i64 = redis::from_redis_value(redis.command(&["PTTL", &key]).await).unwrap();
    assert!((500_000..=600_000).contains(&left), "{left}");
}

#[tokio::test]
async fn of_many_at_once_one_is_the_first() {
    let redis = RedisServer::start();
    let nodes: Vec<_> = (0..4).map(|_| nonces_at(redis.port)).collect();
    let asked = nodes
        .iter()
        .cycle()
        .take(40)
        .map(|node| async move { node.remember(&mut Allowance::default(), NonceId([3; 16]), HOLD).await });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn a_hold_of_nothing_is_still_legal() {
    let redis = RedisServer::start();
    assert!(nonces_at(redis.port).remember(&mut Allowance::default(), NonceId([4; 16]), Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn an_absent_redis_is_given_up_quickly() {
    // Nobody listens on the port of tcpmux. 100 ms by contract; the rest is for a busy machine.
    let nonces = nonces_at(1);
    let begun = Instant::now();
    assert!(nonces.remember(&mut Allowance::default(), NonceId([5; 16]), HOLD).await.is_err());
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
}
