//! A place that is lived in for several cycles: the folder, WeChat, and what has to be there from before.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use wxgate::sandbox::Sandbox;

use crate::aim::Armed;
use crate::books::{Books, Kind};
use crate::redis::Redis;
use crate::subscriber::Subscriber;
use crate::support::process::{Place, Program};

/// Repeats follow fast, and nothing but a crash holds anybody up.
const SETTINGS: &str = r#"
queue = { max_attempts = 40, backoff_base = "10ms", backoff_max = "100ms", breaker_failures = 10000 }
token.max_refreshes_per_hour = 10000
"#;

pub(crate) struct Stay {
    pub(crate) place: Place,
    pub(crate) books: Books,
    /// Of its webhook.
    pub(crate) subscriber: Subscriber,
    /// Slots of the queue, and how long a caller waits: from a crowd at the door to everything at once.
    room: [(&'static str, String); 2],
    /// Started when a cycle wants it.
    pub(crate) redis: Option<Redis>,
    /// Messages of earlier cycles that were over: id → state.
    pub(crate) settled: BTreeMap<String, String>,
    /// How many messages were made very old, by state.
    pub(crate) aged: BTreeMap<String, u64>,
    pub(crate) cycles: u32,
    /// This cycle's weather: some receipts say first this and then that.
    pub(crate) receipts_contradict: bool,
}

impl Stay {
    pub(crate) async fn begin(kind: Kind, rng: &mut StdRng) -> Self {
        let pick = |rng: &mut StdRng, choice: &[&str]| choice[rng.random_range(0..choice.len())].to_owned();
        let room = [
            ("WXGATE__QUEUE__CONCURRENCY", pick(rng, &["3", "16", "64"])),
            ("WXGATE__API__WAIT", pick(rng, &["10s", "100ms"])),
        ];
        let subscriber = Subscriber::start().await;
        let place = Place::prepare(&format!("{SETTINGS}{}", subscriber.setting)).await;
        let books = Books::open(kind, place.folder.path()).await;
        let (settled, aged) = (BTreeMap::new(), BTreeMap::new());
        Self { place, books, subscriber, room, redis: None, settled, aged, cycles: 0, receipts_contradict: false }
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.place.sandbox
    }

    /// What the process is started with, besides its store.
    pub(crate) fn variables(&mut self, armed: Option<Armed>, shares_tokens: bool) -> Vec<(&'static str, String)> {
        let armed = armed.map(|armed| ("WXGATE_FAILPOINT", armed.text()));
        let redis = shares_tokens.then(|| ("WXGATE__REDIS__URL", self.redis.get_or_insert_with(Redis::start).url()));
        self.room.iter().cloned().chain(armed).chain(redis).collect()
    }

    pub(crate) fn spawn(&self, variables: &[(&'static str, String)]) -> Program {
        let mut all = self.books.variables();
        all.extend_from_slice(variables);
        self.place.spawn(&all)
    }

    /// The folder stays when something is to be looked at.
    pub(crate) async fn end(self, keep: bool) {
        if keep {
            let _kept = self.place.folder.keep();
        } else {
            self.books.close().await;
        }
    }
}
