//! `SharedTokens` against a real Redis on a private port, and against what only looks like one.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wxgate::config::store::RedisConfig;
use wxgate::domain::clock::{Clock, SystemClock};
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::domain::token::AccessToken;
use wxgate::store::redis::Link;
use wxgate::store::tokens::RefreshLock;
use wxgate::store::{Allowance, Error, SharedTokens, open};

use super::backend::sealer;
use crate::harness::{RedisServer, Road, Way};

const HOLD: Duration = Duration::from_secs(30);

/// One node's door, each verb with an allowance of its own.
struct Node {
    link: Link,
    tokens: Arc<dyn SharedTokens>,
}

impl Node {
    fn at(port: u16) -> Self {
        Self::with_sealer(port, sealer())
    }

    fn with_sealer(port: u16, sealer: Sealer) -> Self {
        let config = RedisConfig { url: Secret::new(format!("redis://127.0.0.1:{port}")), prefix: "test:".to_owned() };
        let link = Link::new(&config).unwrap();
        let tokens = open::share_tokens(&link, sealer);
        Self { link, tokens }
    }

    async fn load(&self, app_id: &str) -> Result<Option<AccessToken>, Error> {
        self.tokens.load(&mut Allowance::default(), "shop", app_id).await
    }

    async fn publish(&self, token: &AccessToken) -> Result<bool, Error> {
        self.tokens.publish(&mut Allowance::default(), "shop", "wx1", token).await
    }

    async fn lock(&self, app_id: &str) -> Result<Option<RefreshLock>, Error> {
        self.tokens.lock(&mut Allowance::default(), "shop", app_id, HOLD).await
    }

    async fn unlock(&self, lock: RefreshLock) -> Result<(), Error> {
        self.tokens.unlock(&mut Allowance::default(), lock).await
    }

    /// As the watcher finds it out: by looking until it is so.
    async fn until_it_is_up(&self) -> Duration {
        let begun = Instant::now();
        while !self.link.is_up().await {
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", self.link.state());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    fn errors(&self, kind: &str) -> u64 {
        self.link.state().errors.iter().find(|(name, _)| *name == kind).unwrap().1
    }
}

/// Good for two hours by the clock that Redis goes by.
fn token(text: &str, generation: i64) -> AccessToken {
    let now = SystemClock.now();
    AccessToken {
        token: Secret::new(text),
        generation,
        fetched_at: now,
        expires_at: now.plus(Duration::from_secs(7200)),
        forced_at: None,
        forced_today: 0,
    }
}

#[tokio::test]
async fn a_newer_generation_stays_in_redis() {
    let redis = RedisServer::start();
    let (ours, theirs) = (Node::at(redis.port), Node::at(redis.port));
    assert_eq!(ours.load("wx1").await.unwrap(), None);
    let second = AccessToken { forced_at: Some(SystemClock.now()), forced_today: 3, ..token("second", 2) };
    assert!(ours.publish(&second).await.unwrap());
    assert!(!ours.publish(&token("first", 1)).await.unwrap());
    assert_eq!(theirs.load("wx1").await.unwrap(), Some(second));
    let third = token("third", 3);
    assert!(ours.publish(&third).await.unwrap());
    assert_eq!(ours.load("wx1").await.unwrap(), Some(third), "nothing of the older one is left");
    assert_eq!(ours.load("wx2").await.unwrap(), None);
}

#[tokio::test]
async fn an_older_generation_that_was_long_on_its_way_changes_nothing() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    let (slow, fast) = (Node::at(road.port), Node::at(redis.port));
    assert!(slow.publish(&token("oldest", 4)).await.unwrap());
    road.set(Way::Delay(Duration::from_secs(2)));
    assert!(slow.publish(&token("older", 5)).await.is_err(), "it is on its way, and nobody waits for it");
    redis.command(&["FLUSHALL"]).await;
    let newer = token("newer", 6);
    assert!(fast.publish(&newer).await.unwrap());
    // Each that arrives looks at the generation that is kept.
    let begun = Instant::now();
    while redis.calls_of("hget").await < 3 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the older one never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fast.load("wx1").await.unwrap(), Some(newer));
}

#[tokio::test]
async fn a_shared_token_is_sealed_and_forgotten_when_it_expires() {
    let redis = RedisServer::start();
    let node = Node::at(redis.port);
    node.publish(&token("very-secret-token", 1)).await.unwrap();
    let mut raw = redis.raw().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut raw).await.unwrap();
    assert_eq!(keys, ["test:token:shop:wx1"]);
    let fields: Vec<String> = redis::cmd("HGETALL").arg(&keys[0]).query_async(&mut raw).await.unwrap();
    assert!(!fields.iter().any(|field| field.contains("very-secret-token")));
    let left: i64 = redis::cmd("PTTL").arg(&keys[0]).query_async(&mut raw).await.unwrap();
    assert!((7_100_000..=7_200_000).contains(&left), "{left}");
    assert_eq!(Node::with_sealer(redis.port, Sealer::new([8; 32])).load("wx1").await.unwrap(), None);

    let stale = AccessToken { expires_at: SystemClock.now().minus(Duration::from_secs(1)), ..token("stale", 2) };
    node.publish(&stale).await.unwrap();
    assert_eq!(node.load("wx1").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_token_of_ours_gives_way_to_the_next_one() {
    let redis = RedisServer::start();
    let node = Node::at(redis.port);
    assert!(node.link.is_up().await);
    redis.command(&["SET", "test:token:shop:wx1", "something else"]).await;
    assert!(node.load("wx1").await.is_err());
    assert!(node.link.state().is_up && node.errors("refused") == 1, "{:?}", node.link.state());
    let first = token("first", 1);
    assert!(node.publish(&first).await.unwrap());
    assert_eq!(node.load("wx1").await.unwrap(), Some(first));
    redis.command(&["HSET", "test:token:shop:wx1", "generation", "many"]).await;
    assert!(matches!(node.load("wx1").await, Err(Error::Corrupt { column: "generation", .. })));
    assert!(node.publish(&token("second", 1)).await.unwrap());
}

#[tokio::test]
async fn one_node_at_a_time_may_refresh() {
    let redis = RedisServer::start();
    let (ours, theirs) = (Node::at(redis.port), Node::at(redis.port));
    let lock = ours.lock("wx1").await.unwrap().expect("free");
    assert!(theirs.lock("wx1").await.unwrap().is_none());
    assert!(theirs.lock("wx2").await.unwrap().is_some());

    let mut foreign = lock.clone();
    foreign.holder = "somebody".to_owned();
    theirs.unlock(foreign).await.unwrap();
    assert!(theirs.lock("wx1").await.unwrap().is_none(), "only its holder gives it back");
    ours.unlock(lock.clone()).await.unwrap();
    assert!(theirs.lock("wx1").await.unwrap().is_some());
    ours.unlock(lock).await.unwrap();
    assert!(ours.lock("wx1").await.unwrap().is_none(), "it is another's now");
    let mut raw = redis.raw().await;
    let left: i64 = redis::cmd("PTTL").arg("test:token-lock:shop:wx1").query_async(&mut raw).await.unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_lock_that_was_taken_while_nobody_waited_any_more_is_given_back() {
    let redis = RedisServer::start();
    let (ours, theirs) = (Node::at(redis.port), Node::at(redis.port));
    assert!(ours.link.is_up().await && theirs.link.is_up().await);
    redis.freeze();
    assert!(ours.lock("wx1").await.is_err(), "it lies in the socket of a Redis that sleeps");
    redis.thaw();
    // Redis wakes up and does what it was asked before.
    ours.until_it_is_up().await;
    theirs.until_it_is_up().await;
    let begun = Instant::now();
    while theirs.lock("wx1").await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody gives it back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lock_that_cannot_be_given_back_now_is_given_back_later() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    let (ours, theirs) = (Node::at(road.port), Node::at(redis.port));
    let lock = ours.lock("wx1").await.unwrap().expect("free");
    road.set(Way::Refuse);
    assert!(ours.unlock(lock).await.is_err());
    assert!(theirs.lock("wx1").await.unwrap().is_none());
    road.set(Way::Pass);
    ours.until_it_is_up().await;
    let begun = Instant::now();
    while theirs.lock("wx1").await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody gives it back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_comes_back_when_redis_comes_back() {
    let mut redis = RedisServer::start();
    let node = Node::at(redis.port);
    assert!(node.link.is_up().await);
    redis.stop();
    assert!(!node.link.is_up().await);
    redis.restart();
    let back = node.until_it_is_up().await;
    assert!(back < Duration::from_secs(5), "{back:?}");
    node.load("wx1").await.unwrap();
}

/// Every verb, and how long all of them took.
async fn all_fail(node: &Node) -> Duration {
    let begun = Instant::now();
    let mut allowance = Allowance::default();
    assert!(node.tokens.load(&mut allowance, "shop", "wx1").await.is_err());
    assert!(node.tokens.publish(&mut allowance, "shop", "wx1", &token("t", 1)).await.is_err());
    assert!(node.tokens.lock(&mut allowance, "shop", "wx1", HOLD).await.is_err());
    assert!(!node.link.is_up().await);
    begun.elapsed()
}

/// 100 ms by contract, for all of them; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_absent_redis_is_given_up_quickly() {
    let node = Node::at(RedisServer::absent().port);
    let took = all_fail(&node).await;
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(node.errors("connect"), 1, "asked once: {:?}", node.link.state());
}

#[tokio::test]
async fn a_redis_that_never_answers_is_given_up_quickly() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let node = Node::at(silent.local_addr().unwrap().port());
    let took = all_fail(&node).await;
    assert!(took < PATIENCE, "{took:?}");
    assert_eq!(node.errors("timeout"), 1, "asked once: {:?}", node.link.state());
}

#[tokio::test]
async fn a_redis_that_falls_silent_is_given_up_and_found_again() {
    let redis = RedisServer::start();
    let node = Node::at(redis.port);
    assert!(node.link.is_up().await);
    redis.freeze();
    let took = all_fail(&node).await;
    redis.thaw();
    assert!(took < PATIENCE, "{took:?}");
    node.until_it_is_up().await;
    node.load("wx1").await.unwrap();
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_replaced() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    let node = Node::at(road.port);
    assert!(node.link.is_up().await);
    road.stall();
    assert!(node.load("wx1").await.is_err());
    node.until_it_is_up().await;
    node.load("wx1").await.unwrap();
}

#[tokio::test]
async fn a_connection_that_dies_unused_is_replaced_before_it_is_needed() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    let node = Node::at(road.port);
    node.load("wx1").await.unwrap();
    road.stall();
    // Nobody asks; the watcher looks every five seconds, and every second in trouble.
    let begun = Instant::now();
    while node.errors("timeout") == 0 || !node.link.state().is_up {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", node.link.state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.load("wx1").await.unwrap();
}

#[tokio::test]
async fn a_connection_that_takes_long_to_make_is_used_once_it_is_there() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    road.set(Way::Delay(Duration::from_millis(300)));
    let node = Node::at(road.port);
    assert!(node.load("wx1").await.is_err(), "nobody waits for it");
    // It is made beside, and then the road is a good one.
    let begun = Instant::now();
    while node.errors("timeout") < 2 {
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", node.link.state());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(road.connections(), 1, "one is made, however many wait for it");
    road.set(Way::Pass);
    node.until_it_is_up().await;
    node.load("wx1").await.unwrap();
}

#[tokio::test]
async fn slow_answers_count_together() {
    let redis = RedisServer::start();
    let road = Road::to(redis.port).await;
    let node = Node::at(road.port);
    assert!(node.link.is_up().await);
    road.set(Way::Delay(Duration::from_millis(40)));
    let (mut allowance, begun) = (Allowance::default(), Instant::now());
    let mut answered = 0;
    while node.tokens.load(&mut allowance, "shop", "wx1").await.is_ok() {
        answered += 1;
    }
    assert!((1..=2).contains(&answered) && begun.elapsed() < PATIENCE, "{answered} in {:?}", begun.elapsed());
    assert!(allowance.left().is_zero());
}

#[test]
fn a_wrong_url_is_refused_without_repeating_its_password() {
    let config = RedisConfig { url: Secret::new("http://:hunter2@host"), prefix: String::new() };
    let refusal = Link::new(&config).map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("redis.url") && !refusal.contains("hunter2"), "{refusal}");
}
