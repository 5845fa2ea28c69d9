//! `SharedTokens` against a real Redis on a private port, and against what only looks like one.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::Notify;
use wxgate::config::store::RedisConfig;
use wxgate::domain::clock::{Clock, SystemClock};
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::domain::token::AccessToken;
use wxgate::store::{SharedTokens, open};

use super::backend::sealer;

/// A redis-server of this test alone; it ends with it.
struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A free port may be another's by the time Redis takes it.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = start_on(port, &folder) {
                return Self { child, port, folder };
            }
        }
        panic!("redis-server does not start: run `redis-server --port 0` by hand to see why");
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = start_on(self.port, &self.folder).expect("the port is still ours");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn tokens(&self) -> Arc<dyn SharedTokens> {
        tokens_at(self.port, sealer())
    }

    async fn raw(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns when it takes connections; `None` when it ended before.
fn start_on(port: u16, folder: &TempDir) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need the program redis-server: apt-get install redis-server (or brew install redis)");
    let log = BufReader::new(child.stdout.take().unwrap());
    let ready = log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
    if !ready {
        child.wait().unwrap();
    }
    ready.then_some(child)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tokens_at(port: u16, sealer: Sealer) -> Arc<dyn SharedTokens> {
    let config = RedisConfig { url: Secret::new(format!("redis://127.0.0.1:{port}")), prefix: "test:".to_owned() };
    open::share_tokens(&config, sealer).unwrap()
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
    let redis = Redis::start();
    let tokens = redis.tokens();
    tokens.ping().await.unwrap();
    assert_eq!(tokens.load("shop", "wx1").await.unwrap(), None);
    let second = AccessToken { forced_at: Some(SystemClock.now()), forced_today: 3, ..token("second", 2) };
    assert!(tokens.publish("shop", "wx1", &second).await.unwrap());
    assert!(!tokens.publish("shop", "wx1", &token("first", 1)).await.unwrap());
    assert_eq!(redis.tokens().load("shop", "wx1").await.unwrap(), Some(second));
    let third = token("third", 3);
    assert!(tokens.publish("shop", "wx1", &third).await.unwrap());
    assert_eq!(tokens.load("shop", "wx1").await.unwrap(), Some(third), "nothing of the older one is left");
    assert_eq!(tokens.load("shop", "wx2").await.unwrap(), None);
}

#[tokio::test]
async fn a_shared_token_is_sealed_and_forgotten_when_it_expires() {
    let redis = Redis::start();
    let tokens = redis.tokens();
    tokens.publish("shop", "wx1", &token("very-secret-token", 1)).await.unwrap();
    let mut raw = redis.raw().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut raw).await.unwrap();
    assert_eq!(keys, ["test:token:shop:wx1"]);
    let fields: Vec<String> = redis::cmd("HGETALL").arg(&keys[0]).query_async(&mut raw).await.unwrap();
    assert!(!fields.iter().any(|field| field.contains("very-secret-token")));
    let left: i64 = redis::cmd("PTTL").arg(&keys[0]).query_async(&mut raw).await.unwrap();
    assert!((7_100_000..=7_200_000).contains(&left), "{left}");
    assert_eq!(tokens_at(redis.port, Sealer::new([8; 32])).load("shop", "wx1").await.unwrap(), None);

    let stale = AccessToken { expires_at: SystemClock.now().minus(Duration::from_secs(1)), ..token("stale", 2) };
    tokens.publish("shop", "wx1", &stale).await.unwrap();
    assert_eq!(tokens.load("shop", "wx1").await.unwrap(), None);
}

#[tokio::test]
async fn one_node_at_a_time_may_refresh() {
    let redis = Redis::start();
    let (ours, theirs) = (redis.tokens(), redis.tokens());
    let hold = Duration::from_secs(30);
    let lock = ours.lock("shop", "wx1", hold).await.unwrap().expect("free");
    assert!(theirs.lock("shop", "wx1", hold).await.unwrap().is_none());
    assert!(theirs.lock("other", "wx2", hold).await.unwrap().is_some());

    let mut foreign = lock.clone();
    foreign.holder = "somebody".to_owned();
    theirs.unlock(foreign).await.unwrap();
    assert!(theirs.lock("shop", "wx1", hold).await.unwrap().is_none(), "only its holder gives it back");
    ours.unlock(lock.clone()).await.unwrap();
    assert!(theirs.lock("shop", "wx1", hold).await.unwrap().is_some());
    ours.unlock(lock).await.unwrap();
    assert!(ours.lock("shop", "wx1", hold).await.unwrap().is_none(), "it is another's now");
    let mut raw = redis.raw().await;
    let left: i64 = redis::cmd("PTTL").arg("test:token-lock:shop:wx1").query_async(&mut raw).await.unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
}

#[tokio::test]
async fn it_comes_back_when_redis_comes_back() {
    let mut redis = Redis::start();
    let tokens = redis.tokens();
    tokens.ping().await.unwrap();
    redis.stop();
    assert!(tokens.ping().await.is_err());
    redis.restart();
    // The first may still meet the old connection's end.
    let first = tokens.ping().await;
    let second = tokens.ping().await;
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
}

/// Every verb, and how long the slowest took.
async fn all_fail(tokens: &dyn SharedTokens) -> Duration {
    let mut slowest = Duration::ZERO;
    for verb in 0..4 {
        let begun = Instant::now();
        let failed = match verb {
            0 => tokens.load("shop", "wx1").await.is_err(),
            1 => tokens.publish("shop", "wx1", &token("t", 1)).await.is_err(),
            2 => tokens.lock("shop", "wx1", Duration::from_secs(1)).await.is_err(),
            _ => tokens.ping().await.is_err(),
        };
        assert!(failed, "verb {verb}");
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

/// 100 ms by contract; the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_millis(250);

#[tokio::test]
async fn an_absent_redis_is_given_up_quickly() {
    // Nobody listens on the port of tcpmux.
    let tokens = tokens_at(1, sealer());
    let slowest = all_fail(&*tokens).await;
    assert!(slowest < PATIENCE, "{slowest:?}");
}

#[tokio::test]
async fn a_redis_that_never_answers_is_given_up_quickly() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tokens = tokens_at(silent.local_addr().unwrap().port(), sealer());
    let slowest = all_fail(&*tokens).await;
    assert!(slowest < PATIENCE, "{slowest:?}");
}

#[tokio::test]
async fn a_redis_that_falls_silent_is_given_up_and_found_again() {
    let redis = Redis::start();
    let tokens = redis.tokens();
    tokens.ping().await.unwrap();
    redis.signal(Signal::SIGSTOP);
    let slowest = all_fail(&*tokens).await;
    redis.signal(Signal::SIGCONT);
    assert!(slowest < PATIENCE, "{slowest:?}");
    // Redis first works off what it was asked while it slept.
    let mut raw = redis.raw().await;
    let _: String = redis::cmd("PING").query_async(&mut raw).await.unwrap();
    tokens.ping().await.unwrap();
}

/// A way to Redis whose present connections can be made to carry nothing any more, without a word to either end.
async fn road_to(redis: &Redis, stall: Arc<Notify>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, redis) = (listener.local_addr().unwrap().port(), redis.port);
    tokio::spawn(async move {
        loop {
            let (mut ours, _) = listener.accept().await.unwrap();
            let mut theirs = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
            let stall = stall.clone();
            tokio::spawn(async move {
                let carried = tokio::select! {
                    carried = tokio::io::copy_bidirectional(&mut ours, &mut theirs) => carried.is_ok(),
                    () = stall.notified() => std::future::pending().await,
                };
                drop((carried, ours, theirs));
            });
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_died_without_a_word_is_replaced() {
    let redis = Redis::start();
    let stall = Arc::new(Notify::new());
    let tokens = tokens_at(road_to(&redis, stall.clone()).await, sealer());
    tokens.ping().await.unwrap();
    stall.notify_waiters();
    assert!(tokens.ping().await.is_err());
    tokens.ping().await.unwrap();
}

#[test]
fn a_wrong_url_is_refused_without_repeating_its_password() {
    let config = RedisConfig { url: Secret::new("http://:hunter2@host"), prefix: String::new() };
    let refusal = open::share_tokens(&config, sealer()).map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("redis.url") && !refusal.contains("hunter2"), "{refusal}");
}
