//! Many clients post the same thing at once, the gateway is killed in the middle, and each goes on until it has an answer: as
//! many messages as keys, and each on one phone once.
//!
//! `scripts/idempotency-storm` runs ten thousand keys, fifty posts each.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::binary::process::{Place, until_within};
use crate::harness::order_notice;

/// Posts under way at once.
const AT_ONCE: usize = 256;
/// The long one takes minutes.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug)]
#[expect(dead_code, reason = "some are only printed")]
struct Figures {
    answers: usize,
    /// Posts that had no answer: the connection broke, or nobody listened.
    unanswered: usize,
    replayed: usize,
    shed: usize,
    messages: i64,
    deliveries: usize,
    took: Duration,
    posting_took: Duration,
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    unanswered: AtomicUsize,
    replayed: AtomicUsize,
    shed: AtomicUsize,
}

/// One client that wants to be sure.
struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
    counts: Arc<Counts>,
    room: Arc<Semaphore>,
}

impl Client {
    /// → the id of the message.
    async fn insist(&self, number: usize) -> String {
        loop {
            let place = self.room.acquire().await.unwrap();
            let request = self.http.post(format!("{}/send-template", self.url)).bearer_auth(&self.key);
            let request =
                request.header("idempotency-key", format!("order-{number}")).header("prefer", "respond-async");
            let answer = request.json(&order_notice(&format!("oSTORM{number}"))).send().await;
            let body = match answer {
                Ok(response) if response.status().is_success() => {
                    let is_replay = response.headers().contains_key("idempotency-replayed");
                    response.json::<serde_json::Value>().await.ok().map(|body| (is_replay, body))
                }
                Ok(response) if response.status() == 503 => {
                    self.counts.shed.fetch_add(1, Ordering::SeqCst);
                    None
                }
                Ok(response) => panic!("{}: {:?}", response.status(), response.text().await),
                Err(_) => None,
            };
            drop(place);
            if let Some((is_replay, body)) = body {
                self.counts.answered.fetch_add(1, Ordering::SeqCst);
                self.counts.replayed.fetch_add(usize::from(is_replay), Ordering::SeqCst);
                return body["message_id"].as_str().unwrap().to_owned();
            }
            self.counts.unanswered.fetch_add(1, Ordering::SeqCst);
            // A client's own pause before it asks again.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn storm(keys: usize, posts: usize) -> Figures {
    let started = Instant::now();
    let place = Place::prepare("").await;
    let program = place.start().await;
    let counts = Arc::new(Counts::default());
    let client = Arc::new(Client {
        http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(AT_ONCE).build().unwrap(),
        url: program.url.clone(),
        key: program.key.clone(),
        counts: counts.clone(),
        room: Arc::new(Semaphore::new(AT_ONCE)),
    });
    // All posts of a key close together, so that they meet.
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..keys {
        for _ in 0..posts {
            let client = client.clone();
            tasks.spawn(async move { (number, client.insist(number).await) });
        }
    }
    until_within(PATIENCE, "half of them have an answer", async || {
        counts.answered.load(Ordering::SeqCst) >= keys * posts / 2
    })
    .await;
    program.kill();
    let program = place.start().await;
    let mut ids = vec![None; keys];
    while let Some(done) = tasks.join_next().await {
        let (number, id) = done.unwrap();
        let first = ids[number].get_or_insert_with(|| id.clone());
        assert_eq!(*first, id, "key {number} has two messages");
    }
    let posting_took = started.elapsed();
    let different: HashSet<_> = ids.iter().flatten().collect();
    assert_eq!(different.len(), keys);
    let under_way = |state: &str| format!("wxgate_messages_total{{account=\"shop\",state=\"{state}\"}}");
    until_within(PATIENCE, "every message has ended", async || {
        let queued = program.metric(&under_way("queued")).await;
        let sending = program.metric(&under_way("sending")).await;
        queued + sending + program.metric(&under_way("sent")).await == 0.0
    })
    .await;
    assert_eq!(program.metric("wxgate_messages_unaccounted").await, 0.0);
    assert_eq!(program.metric(&under_way("delivered")).await, keys as f64);
    let conn = rusqlite::Connection::open(place.folder.path().join("wxgate.db")).unwrap();
    let messages: i64 = conn.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    let twice: Vec<_> =
        (0..keys).filter(|number| place.sandbox.deliveries_to(&format!("oSTORM{number}")) != 1).collect();
    assert_eq!(twice, [0_usize; 0], "not exactly once on the phone");
    Figures {
        answers: counts.answered.load(Ordering::SeqCst),
        unanswered: counts.unanswered.load(Ordering::SeqCst),
        replayed: counts.replayed.load(Ordering::SeqCst),
        shed: counts.shed.load(Ordering::SeqCst),
        messages,
        deliveries: keys - twice.len(),
        took: started.elapsed(),
        posting_took,
    }
}

fn check(figures: &Figures, keys: usize, posts: usize) {
    let _ = writeln!(std::io::stderr(), "{keys} keys, {posts} posts each: {figures:#?}");
    assert_eq!((figures.messages, figures.deliveries), (i64::try_from(keys).unwrap(), keys), "{figures:?}");
    assert_eq!(figures.answers, keys * posts, "{figures:?}");
    assert!(figures.unanswered > figures.shed, "the kill met somebody: {figures:?}");
    assert!(figures.replayed >= keys * (posts - 1) - figures.unanswered, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_messages_as_keys_across_a_kill() {
    check(&storm(300, 20).await, 300, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: scripts/idempotency-storm runs it"]
async fn ten_thousand_keys_fifty_posts_each() {
    check(&storm(10_000, 50).await, 10_000, 50);
}
