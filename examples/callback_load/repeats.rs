//! Many callbacks of which some come again: as many events as there were different ones, each once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::stream::{self, TryStreamExt};
use wxgate::domain::clock::{Clock, SystemClock};

use super::letter::{seal, text};
use super::place::Place;
use super::say;

/// Posts at once.
const AT_ONCE: usize = 64;
const FIRST_ID: u64 = 7_000_000_000_000_000_000;
/// Events of a page.
const PAGE: usize = 200;

pub(crate) async fn run(place: &Place, count: usize, percent: usize) -> anyhow::Result<()> {
    ensure!(count.is_multiple_of(100) && percent < 100, "a multiple of 100, and less than 100 %");
    let different = count - count / 100 * percent;
    say(format!("{count} callbacks, {different} of them different, {AT_ONCE} at once …"))?;
    let (done, begun) = (AtomicUsize::new(0), Instant::now());
    let posts = stream::iter((0..count).map(Ok)).try_for_each_concurrent(AT_ONCE, |number| {
        let done = &done;
        async move {
            let which = which(number, percent);
            let now = SystemClock.now();
            let plain = text(&format!("oREPEAT{:021}", which % 100_000), FIRST_ID + u64::try_from(which)?, now);
            place.post(seal(&plain, number, now)?).await?;
            done.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(())
        }
    });
    tokio::select! {
        posted = posts => posted?,
        () = progress(&done, count, begun) => {}
    }
    let took = begun.elapsed();
    let per_second = f64::from(u32::try_from(count)?) / took.as_secs_f64();
    say(format!("  {:.1} s, {per_second:.0} a second; counting events …", took.as_secs_f64()))?;
    let (events, doubled, strange) = count_events(place, different).await?;
    say(format!(
        "\n{events} events of {different} different callbacks; {doubled} told twice, {strange} of nothing that was sent"
    ))?;
    ensure!(events == different && doubled == 0 && strange == 0, "the events are not those of the callbacks");
    Ok(())
}

/// The number of the callback that is posted as this one: of each hundred, the last so many repeat others. Every second
/// repeats one of the same hundred, which may still be under way; the rest any of those before.
fn which(number: usize, percent: usize) -> usize {
    let (hundred, place) = (number / 100, number % 100);
    let fresh = 100 - percent;
    let first = hundred * fresh;
    if place < fresh {
        first + place
    } else if place.is_multiple_of(2) {
        first + (place - fresh) % fresh
    } else {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (first + fresh)
    }
}

async fn progress(done: &AtomicUsize, count: usize, begun: Instant) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let _ = say(format!("  {} s: {} of {count}", begun.elapsed().as_secs(), done.load(Ordering::Relaxed)));
    }
}

/// → all, those told twice, and those of nothing that was sent.
async fn count_events(place: &Place, different: usize) -> anyhow::Result<(usize, usize, usize)> {
    let mut told = vec![false; different];
    let (mut events, mut doubled, mut strange) = (0, 0, 0);
    let mut after = String::new();
    loop {
        let page = place.get(&format!("/v1/events?limit={PAGE}{after}")).await?;
        let list = page["data"].as_array().context("a page of events")?;
        for event in list.iter().filter(|event| event["type"] == "callback.text") {
            events += 1;
            let id: Option<u64> = event["data"]["msg_id"].as_str().and_then(|id| id.parse().ok());
            let which = id.and_then(|id| usize::try_from(id.checked_sub(FIRST_ID)?).ok());
            match which.and_then(|which| told.get_mut(which)) {
                Some(seen) => doubled += usize::from(std::mem::replace(seen, true)),
                None => strange += 1,
            }
        }
        let Some(last) = list.last().and_then(|event| event["id"].as_str()) else {
            return Ok((events, doubled, strange));
        };
        after = format!("&after={last}");
    }
}
