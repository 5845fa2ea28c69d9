//! Rounds → the median of each figure, as a table or as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::processes::Gateway;
use crate::{Round, What};

#[derive(Serialize)]
pub(crate) struct Row {
    what: String,
    requests: usize,
    per_second: f64,
    /// CPU seconds of the gateway for 10,000 answered requests.
    cpu_s_per_10k: f64,
    p50_ms: f64,
    p99_ms: f64,
    not_2xx: usize,
    start_ms: f64,
    idle_mib: f64,
    load_mib: f64,
}

impl Row {
    pub(crate) fn of(what: What, gateway: &Gateway, rounds: Vec<Round>) -> Self {
        let median = |pick: fn(&Round) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(pick).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Self {
            what: format!("{what:?}").to_lowercase(),
            requests: rounds.iter().map(|round| round.tally.times.len()).sum(),
            per_second: median(|round| answered(round) / round.took.as_secs_f64()),
            cpu_s_per_10k: median(|round| round.cpu.as_secs_f64() / answered(round) * 10_000.0),
            p50_ms: median(|round| at(round, 50)),
            p99_ms: median(|round| at(round, 99)),
            not_2xx: rounds.iter().map(|round| round.tally.others).sum(),
            start_ms: millis(gateway.start),
            idle_mib: mib(gateway.idle_bytes),
            load_mib: mib(rounds.iter().map(|round| round.memory_bytes).max().unwrap_or_default()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn answered(round: &Round) -> f64 {
    round.tally.times.len().max(1) as f64
}

fn at(round: &Round, percent: usize) -> f64 {
    let times = &round.tally.times;
    times.get(times.len().saturating_sub(1) * percent / 100).copied().map(millis).unwrap_or_default()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "sizes of memory")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| what | requests | a second | CPU-s/10k | p50 ms | p99 ms | not 2xx | start ms | MiB idle → load |\n\
                | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    let line = |row: &Row| {
        format!(
            "| {} | {} | {:.0} | {:.3} | {:.2} | {:.2} | {} | {:.0} | {:.0} → {:.0} |\n",
            row.what,
            row.requests,
            row.per_second,
            row.cpu_s_per_10k,
            row.p50_ms,
            row.p99_ms,
            row.not_2xx,
            row.start_ms,
            row.idle_mib,
            row.load_mib
        )
    };
    rows.iter().fold(head.to_owned(), |text, row| text + &line(row))
}

pub(crate) fn json(rows: &[Row]) -> serde_json::Result<String> {
    rows.iter().map(|row| Ok(serde_json::to_string(row)? + "\n")).collect()
}
