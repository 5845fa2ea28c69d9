//! The load: waves of about forty requests of every kind, until the process is dead.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wxgate::sandbox::{CallbackRequest, Sandbox};

use crate::person::{Answer, Cancel, Key, Kind, Person};
use crate::support::process::Caller;

/// Requests under way at once.
const PARALLEL: usize = 12;
const MUCH_LATER: Duration = Duration::from_secs(3600);
/// How long somebody waits for the state in which they act.
const STATE_PATIENCE: Duration = Duration::from_secs(3);

/// What the person's client does once the request is answered.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    /// Sends it again, with the same key.
    Repeat,
    Cancel,
    /// Waits until it is `undelivered`, and sends it again as a new message.
    Retry,
    /// Waits until it is `unknown`, and says that it has failed.
    Resolve,
}

/// Somebody writes to the account.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) openid: String,
    /// At least one of the callbacks was acknowledged.
    pub(crate) is_acknowledged: bool,
}

/// What came of the load.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) people: Vec<Person>,
    /// Their callbacks are repeated until the process is back: they end after the load.
    pub(crate) visitors: JoinSet<Visitor>,
    pub(crate) faults: Vec<String>,
}

/// Who comes next.
pub(crate) struct Load {
    rng: StdRng,
    /// Makes every name the only one of its kind.
    tag: String,
    names: usize,
    has_quota_met: bool,
}

impl Load {
    pub(crate) fn new(seed: u64, tag: &str, has_quota_met: bool) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), tag: tag.to_owned(), names: 0, has_quota_met }
    }

    /// Wave after wave, until `dead`.
    pub(crate) async fn run(mut self, caller: &Caller, sandbox: &Sandbox, dead: &CancellationToken, into: &mut Crowd) {
        while !dead.is_cancelled() {
            for _ in 0..4 {
                into.visitors.spawn(visit(sandbox.clone(), self.name(), self.rng.random_range(0..60)));
            }
            let wave = stream::iter(self.wave()).take_until(dead.cancelled());
            let ended = wave.map(|(person, then)| act(person, then, caller, dead)).buffer_unordered(PARALLEL);
            let mut ended = std::pin::pin!(ended);
            while let Some((person, fault)) = ended.next().await {
                into.people.push(person);
                into.faults.extend(fault);
            }
        }
    }

    fn wave(&mut self) -> Vec<(Person, Then)> {
        let mut wave = Vec::new();
        for n in 0..8 {
            wave.push((self.somebody(Kind::Ordinary, false), Then::Nothing));
            let priority = ["urgent", "normal", "bulk"][n % 3];
            wave.push((self.somebody(Kind::Ordinary, true).priority(priority), Then::Nothing));
            let key = if n % 4 == 0 { Key::Body } else { Key::Header };
            let then = if self.rng.random_bool(0.5) { Then::Repeat } else { Then::Nothing };
            wave.push((self.somebody(Kind::Ordinary, n % 2 == 0).with_key(key), then));
        }
        for _ in 0..4 {
            let soon = Duration::from_millis(self.rng.random_range(10..100));
            wave.push((self.somebody(Kind::Ordinary, true).with_key(Key::Header).scheduled(soon), Then::Nothing));
        }
        for _ in 0..3 {
            let mut person = self.somebody(Kind::Ordinary, true).with_key(Key::Header).scheduled(MUCH_LATER);
            person.cancel = Cancel::Wanted;
            wave.push((person, Then::Cancel));
        }
        for is_async in [true, false] {
            wave.push((self.somebody(Kind::Busy, is_async).with_key(Key::Header), Then::Nothing));
            wave.push((self.somebody(Kind::Ordinary, is_async).held().with_key(Key::Header), Then::Nothing));
        }
        wave.push((self.somebody(Kind::Reset, true).with_key(Key::Header), Then::Nothing));
        wave.push((self.somebody(Kind::Garbage, false).held().with_key(Key::Header), Then::Resolve));
        wave.push((self.somebody(Kind::NotSubscribed, false).with_key(Key::Header), Then::Repeat));
        wave.push((self.somebody(Kind::NoReceipt, true), Then::Nothing));
        wave.push((self.somebody(Kind::Failed, true).with_key(Key::Header), Then::Retry));
        if self.has_quota_met {
            wave.push((self.somebody(Kind::Quota, true), Then::Nothing));
        }
        wave.shuffle(&mut self.rng);
        wave
    }

    fn somebody(&mut self, kind: Kind, is_async: bool) -> Person {
        Person::new(&self.name(), kind, is_async)
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("o{}-{}", self.tag, self.names)
    }
}

async fn act(mut person: Person, then: Then, caller: &Caller, dead: &CancellationToken) -> (Person, Option<String>) {
    let mut done = person.send(caller).await;
    if done.is_ok() && person.answer != Answer::Lost {
        match then {
            Then::Nothing => {}
            Then::Repeat => done = person.send(caller).await,
            Then::Cancel => done = person.cancel(caller).await,
            Then::Retry if is_in(&person, "undelivered", caller, dead).await => person.retry(caller).await,
            Then::Resolve if is_in(&person, "unknown", caller, dead).await => person.resolve(caller).await,
            Then::Retry | Then::Resolve => {}
        }
    }
    (person, done.err())
}

/// Comes the message to this state?
async fn is_in(person: &Person, state: &str, caller: &Caller, dead: &CancellationToken) -> bool {
    let Some(id) = person.id() else { return false };
    let looks = async {
        loop {
            let answer = caller.request(reqwest::Method::GET, &format!("/v1/messages/{id}")).send().await.ok()?;
            let message: serde_json::Value = answer.json().await.ok()?;
            if message["state"] == state {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let looks = tokio::time::timeout(STATE_PATIENCE, looks);
    matches!(dead.run_until_cancelled(looks).await, Some(Ok(Some(()))))
}

/// Writes a text, which WeChat tells us at least once, twice for every other person.
async fn visit(sandbox: Sandbox, openid: String, after_ms: u64) -> Visitor {
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    let msg_id = i64::from(rand::random::<u32>()) + 1;
    let times = 1 + after_ms % 2;
    let mut is_acknowledged = false;
    for _ in 0..times {
        let request = CallbackRequest::text(&openid, "在吗").msg_id(msg_id).attempts(3);
        is_acknowledged |= sandbox.send_callback(request).await.is_ok_and(|result| result.accepted);
    }
    Visitor { openid, is_acknowledged }
}
