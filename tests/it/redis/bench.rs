//! A gateway whose token dies again and again while many send, and a Redis behind a road.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use wxgate::domain::clock::{Clock, SystemClock};

use crate::harness::{Logs, RedisServer, Road, Setup, TestApp, World};

/// Who waits for one refresh.
const CROWD: usize = 8;
/// What a request may wait for Redis, in all.
const ALLOWED: Duration = Duration::from_millis(100);
/// For WeChat, the disk and a busy machine. A refresh that waits 100 ms for each of its questions takes longer.
const SLACK: Duration = Duration::from_secs(2);

/// A machine with much to do stalls for 100 ms now and then, and that is a trouble of Redis too.
pub(super) const STALL: &str = "kind=\"timeout\"";

pub(super) struct Trial {
    pub(super) app: TestApp,
    pub(super) redis: RedisServer,
    pub(super) road: Road,
    pub(super) logs: Logs,
    people: Vec<String>,
    rounds: u64,
}

impl Trial {
    /// `credentials`: as in `redis://<credentials>host`.
    pub(super) async fn start(redis: RedisServer, credentials: &str) -> Self {
        let logs = Logs::catch();
        let road = Road::to(redis.port).await;
        let config = format!(
            "[redis]\nurl = \"redis://{credentials}127.0.0.1:{}\"\n[token]\nmax_refreshes_per_hour = 1000\n",
            road.port
        );
        // Redis goes by the true time.
        let world = World::starting_at(SystemClock.now()).await;
        let app = TestApp::start_with(Setup { config, world: Some(world), ..Setup::default() }).await;
        Self { app, redis, road, logs, people: Vec::new(), rounds: 0 }
    }

    /// The token dies; a crowd sends and waits for one refresh. → how long the luckiest took: none can be faster than the
    /// refresh, and a slow disk or a busy machine hits not all of them.
    pub(super) async fn round(&mut self) -> Duration {
        self.app.sandbox.revoke_tokens();
        self.rounds += 1;
        let crowd: Vec<String> = (0..CROWD).map(|n| format!("oROUND{}-{n}", self.rounds)).collect();
        let sends = crowd.iter().map(async |person| {
            let begun = Instant::now();
            (self.app.send(person).await, begun.elapsed())
        });
        let mut fastest = Duration::MAX;
        for (reply, took) in join_all(sends).await {
            assert_eq!(reply.status, 200, "{}", reply.text);
            fastest = fastest.min(took);
        }
        self.people.extend(crowd);
        fastest
    }

    /// Rounds for so long. → how long the middle one took.
    pub(super) async fn rounds_for(&mut self, span: Duration) -> Duration {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while begun.elapsed() < span {
            times.push(self.round().await);
        }
        times.sort();
        times[times.len() / 2]
    }

    /// A refresh does not take much longer than it does in peace.
    pub(super) fn nobody_waited_long(calm: Duration, troubled: Duration) {
        let limit = ALLOWED + SLACK.max(calm * 3);
        assert!(troubled < limit, "a refresh took {troubled:?}; {calm:?} in peace");
    }

    /// `ok` or `degraded`, as `/ready` says; it is ready all the while.
    pub(super) async fn redis_stands(&self) -> String {
        let reply = self.app.anonymous(Method::GET, "/ready").send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let components = reply.json()["components"].as_array().unwrap().clone();
        let redis = components.iter().find(|component| component["name"] == "redis").unwrap();
        redis["status"].as_str().unwrap().to_owned()
    }

    /// Redis is well again: so says the gateway within five seconds.
    pub(super) async fn until_it_is_back(&mut self) {
        let begun = Instant::now();
        while self.redis_stands().await != "ok" || self.up().await < 1.0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:#?}", self.logs.with("edis"));
            self.round().await;
        }
    }

    /// The next token that is fetched goes to the other nodes again.
    pub(super) async fn until_the_token_is_shared(&mut self) {
        for _ in 0..50 {
            self.round().await;
            let keys = self.redis.command(&["KEYS", "wxgate:token:shop:*"]).await;
            if matches!(keys, redis::Value::Array(keys) if !keys.is_empty()) {
                // Its refresh gives the right back beside the road.
                super::super::binary::process::until("the lock is given back", async || {
                    let locks = self.redis.command(&["KEYS", "wxgate:token-lock:*"]).await;
                    matches!(locks, redis::Value::Array(locks) if locks.is_empty())
                })
                .await;
                return;
            }
        }
        panic!("{:#?}", self.logs.with("edis"));
    }

    pub(super) async fn up(&self) -> f64 {
        self.app.metric("wxgate_redis_up").await
    }

    pub(super) async fn errors(&self, kind: &str) -> f64 {
        self.app.metric(&format!("wxgate_redis_errors_total{{kind=\"{kind}\"}}")).await
    }

    /// Every message was shown once, and each dead token cost one refresh.
    pub(super) async fn nothing_is_lost_or_doubled(&self) {
        self.app.run_until_idle().await;
        for person in &self.people {
            assert_eq!(self.app.sandbox.deliveries_to(person), 1, "{person}");
        }
        let calls = self.app.sandbox.token_calls();
        assert_eq!((calls.normal, calls.forced), (self.rounds, 0));
        assert_eq!(self.app.metric("wxgate_messages_unaccounted").await, 0.0);
    }

    /// Each trouble is said once at its beginning and once at its end, however many ask.
    pub(super) async fn told(&mut self, troubles: usize) {
        let begun = Instant::now();
        while self.logs.with("redis.away").len() != self.logs.with("redis.back").len() {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:#?}", self.logs.with("redis."));
            self.round().await;
        }
        let away = self.logs.with("redis.away");
        let stalls = away.iter().filter(|line| line.contains(STALL)).count();
        assert!((1..=troubles + 3).contains(&away.len()) && away.len() - stalls <= troubles, "{away:#?}");
        let others: Vec<String> = ["WARN", "ERROR"].iter().flat_map(|level| self.logs.with(level)).collect();
        let is_other = |line: &&String| line.contains("edis") && !line.contains("redis.away");
        let others: Vec<_> = others.iter().filter(is_other).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}
