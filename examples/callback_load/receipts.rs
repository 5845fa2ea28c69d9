//! A mass send, then its receipts at a steady rate while sends go on. The clock of each callback starts when it is due, not
//! when this program comes round to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tokio_util::task::TaskTracker;
use wxgate::domain::clock::{Clock, SystemClock};

use super::latency::Latency;
use super::letter::{Letter, receipt, seal};
use super::place::Place;
use super::say;

/// Items of a batch.
const BATCH: usize = 1_000;
/// What the acknowledgement of 99 of 100 may take.
const GOAL: Duration = Duration::from_millis(200);

pub(crate) async fn run(place: &Place, per_second: usize, seconds: usize, sends: usize) -> anyhow::Result<()> {
    let count = per_second * seconds;
    mass_send(place, count).await?;
    say(format!("sealing {count} receipts …"))?;
    let letters = letters(place)?;
    ensure!(letters.len() == count, "{} of {count} messages were taken", letters.len());
    say(format!("{per_second} receipts and {sends} sends a second for {seconds} s …"))?;
    let load = Arc::new(Load {
        acknowledged: Latency::default(),
        accepted: Latency::default(),
        failed: AtomicUsize::default(),
        http: Post { url: place.url.clone(), key: place.key.clone(), http: place.http.clone() },
    });
    let tracker = TaskTracker::new();
    let begun = Instant::now();
    let receipts = steady(begun, per_second, letters.into_iter(), |letter, due| {
        tracker.spawn(load.clone().receipt(letter, due));
    });
    let others = steady(begun, sends.max(1), 0..sends * seconds, |number, due| {
        tracker.spawn(load.clone().message(number, due));
    });
    tokio::join!(receipts, others, progress(&load, begun, Duration::from_secs(u64::try_from(seconds)?)));
    tracker.close();
    tracker.wait().await;
    let took = begun.elapsed();
    let failed = load.failed.load(Ordering::Relaxed);
    say(format!("\nreceipts acknowledged: {}", load.acknowledged.line()))?;
    say(format!("sends accepted:        {}", load.accepted.line()))?;
    say(format!("failed: {failed}; {:.1} s; {:.0} receipts a second", took.as_secs_f64(), rate(count, took)))?;
    let delivered = settled(place, "delivered", count).await?;
    say(format!("messages delivered: {delivered} of {count}"))?;
    ensure!(failed == 0 && delivered == count, "something was not taken");
    ensure!(load.acknowledged.is_within(GOAL), "p99 is above {GOAL:?}");
    Ok(())
}

/// Every message is taken by WeChat before the first receipt comes.
async fn mass_send(place: &Place, count: usize) -> anyhow::Result<()> {
    say(format!("sending {count} messages …"))?;
    let begun = Instant::now();
    for start in (0..count).step_by(BATCH) {
        let messages: Vec<_> =
            (start..count.min(start + BATCH)).map(|number| json!({"touser": format!("oMASS{number:023}")})).collect();
        let body = json!({"template_id": "TPL-ORDER", "data": {"thing1": "茉莉花茶"}, "messages": messages});
        place.send("/send-template/batch", &body).await?;
    }
    settled(place, "sent", count).await?;
    say(format!("  {:.1} s, {:.0} a second", begun.elapsed().as_secs_f64(), rate(count, begun.elapsed())))?;
    Ok(())
}

/// Waits until so many messages are in this state; → how many are.
async fn settled(place: &Place, state: &str, count: usize) -> anyhow::Result<usize> {
    let begun = Instant::now();
    loop {
        let there = place.messages(state).await?;
        if there >= count || begun.elapsed() > Duration::from_secs(600) {
            return Ok(there);
        }
        if begun.elapsed().as_secs() % 10 == 9 {
            say(format!("  {there} {state}"))?;
        }
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
}

fn letters(place: &Place) -> anyhow::Result<Vec<Letter>> {
    let now = SystemClock.now();
    let mut letters = Vec::new();
    for (number, message) in place.sandbox.messages().into_iter().enumerate() {
        if let Some(msgid) = &message.msgid {
            letters.push(seal(&receipt(&message.openid, msgid, now), number, now)?);
        }
    }
    Ok(letters)
}

/// Begins one after the other, evenly, whatever became of those before.
async fn steady<T>(
    begun: Instant,
    per_second: usize,
    things: impl Iterator<Item = T>,
    mut begin: impl FnMut(T, Instant),
) {
    let step = Duration::from_secs_f64(1.0 / f64::from(u32::try_from(per_second).unwrap_or(u32::MAX)));
    for (number, thing) in (0_u32..).zip(things) {
        let due = begun + step * number;
        tokio::time::sleep_until(due.into()).await;
        begin(thing, due);
    }
}

async fn progress(load: &Load, begun: Instant, until: Duration) {
    while begun.elapsed() < until {
        tokio::time::sleep(Duration::from_secs(10).min(until)).await;
        let seconds = begun.elapsed().as_secs();
        let _ = say(format!("  {seconds} s: {} receipts, {} sends", load.acknowledged.count(), load.accepted.count()));
    }
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

struct Load {
    acknowledged: Latency,
    accepted: Latency,
    failed: AtomicUsize,
    http: Post,
}

/// What a task of its own needs to reach the gateway.
struct Post {
    url: String,
    key: String,
    http: reqwest::Client,
}

impl Load {
    async fn receipt(self: Arc<Self>, letter: Letter, due: Instant) {
        let url = format!("{}/wechat/shop?{}", self.http.url, letter.query);
        let request = self.http.http.post(url).header("content-type", "text/xml").body(letter.body);
        self.ask(request, 200, &self.acknowledged, due).await;
    }

    async fn message(self: Arc<Self>, number: usize, due: Instant) {
        let body = json!({
            "touser": format!("oOTHER{number:022}"), "template_id": "TPL-ORDER", "data": {"thing1": "茉莉花茶"}, "async": true,
        });
        let url = format!("{}/send-template", self.http.url);
        let request = self.http.http.post(url).bearer_auth(&self.http.key).json(&body);
        self.ask(request, 202, &self.accepted, due).await;
    }

    async fn ask(&self, request: reqwest::RequestBuilder, expected: u16, latency: &Latency, due: Instant) {
        let answer = async {
            let answer = request.send().await?;
            let status = answer.status();
            answer.bytes().await.map(|_| status)
        };
        match answer.await {
            Ok(status) if status == expected => latency.add(due.elapsed()),
            _ => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }
}
