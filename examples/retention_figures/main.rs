//! What a large store costs: accept, lease and settle against an empty one, and accepts while old rows are deleted.
//!
//! Run by `scripts/retention-figures`. In: how many rows. Out: tables on standard output.

mod fill;
mod measure;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use wxgate::config::store::{SqliteConfig, StoreConfig};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::BootId;
use wxgate::domain::seal::Sealer;
use wxgate::store::{Stores, open};

/// The present of both stores; what `fill` makes is older.
const NOW: Timestamp = Timestamp::from_seconds(1_900_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ROUNDS: usize = 7;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(1_000_000), |text| text.parse()).context("the number of rows")?;
    let folder = match arguments.next() {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir()?,
    };
    let begun = Instant::now();
    say(format!("filling a store with {rows} ended messages, {rows} idempotency keys and {rows} callbacks …"))?;
    let full = folder.path().join("full.db");
    fill::fill(&full, rows).await?;
    say(format!("  {:.0} s, {} MiB", begun.elapsed().as_secs_f64(), std::fs::metadata(&full)?.len() / (1 << 20)))?;
    let full = open_at(&full).await?;
    let empty = open_at(&folder.path().join("empty.db")).await?;
    compare(&empty, &full).await?;
    deletion(&full, rows).await?;
    empty.close().await;
    full.close().await;
    Ok(())
}

pub(crate) async fn open_at(path: &Path) -> anyhow::Result<Stores> {
    let config = StoreConfig::Sqlite(SqliteConfig::at(path));
    Ok(open::open(&config, BootId::generate(NOW), Sealer::new([7; 32])).await?)
}

/// One figure of a round.
type Pick = fn(&measure::Round) -> f64;

/// By turns, so that a neighbour on this machine disturbs both alike; the medians count.
async fn compare(empty: &Stores, full: &Stores) -> anyhow::Result<()> {
    say(format!("\n{ROUNDS} rounds by turns, {} messages each, {} at once:\n", measure::MESSAGES, measure::AT_ONCE))?;
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..=ROUNDS {
        for (store, figures) in [empty, full].into_iter().zip(&mut figures) {
            figures.push(measure::round(store).await?);
        }
    }
    // The first one warms up.
    let median = |which: usize, pick: Pick| {
        let mut values: Vec<f64> = figures[which].iter().skip(1).map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    say("microseconds a message     empty      full     ratio")?;
    let lines: [(&str, Pick); 5] = [
        ("accept", |round| round.accept),
        ("claim (lease)", |round| round.lease),
        ("settle", |round| round.settle),
        ("callback with receipt", |round| round.receipt),
        ("accept, one by one", |round| round.alone),
    ];
    for (name, pick) in lines {
        let (small, large) = (median(0, pick), median(1, pick));
        say(format!("{name:<22} {small:>9.1} {large:>9.1} {:>9.2}", large / small))?;
    }
    Ok(())
}

/// Everything old goes, in the batches of the sweep, while callers go on.
async fn deletion(full: &Stores, rows: usize) -> anyhow::Result<()> {
    let (quiet, ()) = measure::accepts_while(full, tokio::time::sleep(Duration::from_secs(5))).await?;
    let begun = Instant::now();
    let (busy, gone) = measure::accepts_while(full, measure::forget(full, NOW.minus(90 * DAY))).await?;
    let (gone, took) = (gone?, begun.elapsed());
    say(format!(
        "\ndeleted {} messages, {} keys and {} callbacks of {rows} each in {:.1} s\n",
        gone.0,
        gone.1,
        gone.2,
        took.as_secs_f64()
    ))?;
    say("milliseconds an accept       p50       p99       max   a second")?;
    for (name, figures) in [("before", quiet), ("while rows are deleted", busy)] {
        say(format!(
            "{name:<22} {:>9.2} {:>9.2} {:>9.2} {:>10.0}",
            figures.at(0.5),
            figures.at(0.99),
            figures.at(1.0),
            figures.per_second()
        ))?;
    }
    Ok(())
}

fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}
