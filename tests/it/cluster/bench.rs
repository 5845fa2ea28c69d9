//! Two gateways that share a Redis, each by a road of its own.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use wxgate::sandbox::Sandbox;

use crate::binary::process::{Place, Program, wechat};
use crate::harness::{RedisServer, Road, order_notice};

/// Longer than a send waits for its outcome.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Pair {
    pub(super) sandbox: Sandbox,
    pub(super) redis: RedisServer,
    pub(super) roads: [Road; 2],
    pub(super) places: [Place; 2],
    rounds: usize,
    people: Vec<String>,
}

impl Pair {
    /// Each with a file of its own for its messages.
    pub(super) async fn prepare() -> Self {
        Self::with(&format!("secrets.key = \"{}=\"", "A".repeat(43)), ["", ""]).await
    }

    /// `common`: settings of both, `secrets.key` among them. `own`: of each.
    pub(super) async fn with(common: &str, own: [&str; 2]) -> Self {
        let (sandbox, url) = wechat().await;
        let redis = RedisServer::start();
        let roads = [Road::to(redis.port).await, Road::to(redis.port).await];
        let place = |number: usize| {
            let redis = format!("redis.url = \"redis://127.0.0.1:{}\"", roads[number].port);
            let extra = format!("{common}\n{redis}\ntoken.max_refreshes_per_hour = 1000\n{}", own[number]);
            Place::beside(sandbox.clone(), &url, &extra)
        };
        let places = [place(0), place(1)];
        Self { sandbox, redis, roads, places, rounds: 0, people: Vec::new() }
    }

    pub(super) async fn start(&self) -> [Program; 2] {
        [self.places[0].start().await, self.places[1].start().await]
    }

    /// The token dies, and many send through both gateways at once.
    pub(super) async fn round(&mut self, programs: &[Program; 2]) {
        self.sandbox.revoke_tokens();
        self.rounds += 1;
        let people: Vec<String> = (0..16).map(|n| format!("oROUND{}-{n}", self.rounds)).collect();
        let sends = people.iter().enumerate().map(|(n, person)| send(&programs[n % 2], person));
        for (status, text) in join_all(sends).await {
            assert_eq!(status, 200, "{text}");
        }
        self.people.extend(people);
    }

    pub(super) fn nobody_got_it_twice(&self) {
        for person in &self.people {
            assert_eq!(self.sandbox.deliveries_to(person), 1, "{person}");
        }
    }

    /// The generation that Redis holds.
    pub(super) async fn shared_generation(&self) -> Option<i64> {
        let mut raw = self.redis.raw().await;
        let key = "wxgate:token:shop:wx0000000000000demo";
        redis::cmd("HGET").arg(key).arg("generation").query_async(&mut raw).await.unwrap()
    }
}

/// A synchronous send → status and body.
pub(super) async fn send(program: &Program, person: &str) -> (u16, String) {
    let request = program.request(Method::POST, "/send-template").json(&order_notice(person));
    let response = request.timeout(PATIENCE).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A send that nobody waits for.
pub(super) async fn hand_over(program: &Program, person: &str) {
    let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
    assert_eq!(request.json(&order_notice(person)).send().await.unwrap().status(), 202);
}

/// Text and generation of the token that a gateway hands out.
pub(super) async fn token(program: &Program) -> (String, i64) {
    let body = program.get("/v1/accounts/shop/token").await;
    (body["access_token"].as_str().unwrap().to_owned(), body["generation"].as_i64().unwrap())
}

/// As `/metrics` says it.
pub(super) async fn is_up(program: &Program) -> bool {
    metrics(program).await.contains("\nwxgate_redis_up 1\n")
}

async fn metrics(program: &Program) -> String {
    program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

/// How often Redis failed a gateway: a busy machine may stall for longer than a request waits for Redis.
pub(super) async fn redis_errors(programs: &[Program; 2]) -> u64 {
    let mut sum = 0;
    for program in programs {
        let text = metrics(program).await;
        let counts = text.lines().filter_map(|line| line.strip_prefix("wxgate_redis_errors_total{")?.rsplit_once(' '));
        sum += counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum::<u64>();
    }
    sum
}
