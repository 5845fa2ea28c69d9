//! The report: a line for each aim, as a table for people and as JSON for machines.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::aim::Aim;
use crate::books::Kind;
use crate::cycle::Outcome;

pub(crate) struct Report {
    kind: Kind,
    seed: u64,
    lines: Vec<Line>,
    /// Every loss, doubling and fault, with how to see it again.
    failures: Vec<String>,
}

#[derive(Clone)]
struct Line {
    aim: Aim,
    cycles: u64,
    kills: u64,
    acknowledged: u64,
    lost: usize,
    doubled: usize,
    faults: usize,
    unknown: u64,
    recoveries: Vec<Duration>,
}

impl Report {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let lines = Aim::all().into_iter().map(Line::new).collect();
        Self { kind, seed, lines, failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, aim: Aim, outcome: &Outcome) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.aim == aim) {
            line.add(outcome);
        }
    }

    pub(crate) fn add_failure(&mut self, failure: String) {
        self.failures.push(failure);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// "lost 0, doubled 0, other faults 0".
    pub(crate) fn summary(&self) -> String {
        let total = self.total();
        format!("lost {}, doubled {}, other faults {}", total.lost, total.doubled, total.faults)
    }

    /// Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "Store: {}. Seed: {}.\n\n\
             | point | cycles | kills | acknowledged | lost | doubled | unknown | recovery p50 | max |\n\
             | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n",
            self.kind.name(),
            self.seed
        );
        for line in self.lines.iter().filter(|line| line.cycles > 0) {
            let _ = writeln!(table, "{}", line.row(&line.aim.name()));
        }
        let total = self.total();
        let _ = writeln!(table, "{}", total.row("**all**"));
        let _ = writeln!(
            table,
            "\nOther faults: {}. Recovery over all: p50 {}, p99 {}, max {}.",
            total.faults,
            millis(total.percentile(50)),
            millis(total.percentile(99)),
            millis(total.percentile(100)),
        );
        table
    }

    pub(crate) fn json(&self) -> Value {
        let lines = self.lines.iter().filter(|line| line.cycles > 0);
        json!({
            "store": self.kind.name(),
            "seed": self.seed,
            "total": self.total().json("all"),
            "points": lines.map(|line| line.json(&line.aim.name())).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }

    fn total(&self) -> Line {
        self.lines.iter().fold(Line::new(Aim::AnyMoment), |mut total, line| {
            total.cycles += line.cycles;
            total.kills += line.kills;
            total.acknowledged += line.acknowledged;
            total.lost += line.lost;
            total.doubled += line.doubled;
            total.faults += line.faults;
            total.unknown += line.unknown;
            total.recoveries.extend(&line.recoveries);
            total
        })
    }
}

impl Line {
    const fn new(aim: Aim) -> Self {
        let recoveries = Vec::new();
        Self { aim, cycles: 0, kills: 0, acknowledged: 0, lost: 0, doubled: 0, faults: 0, unknown: 0, recoveries }
    }

    fn add(&mut self, outcome: &Outcome) {
        let count = &outcome.count;
        self.cycles += 1;
        self.kills += outcome.kills;
        self.acknowledged += count.acknowledged;
        self.lost += count.lost.len();
        self.doubled += count.doubled.len();
        self.faults += count.faults.len();
        self.unknown += count.unknown;
        self.recoveries.extend(outcome.recovery);
    }

    fn row(&self, name: &str) -> String {
        let Self { cycles, kills, acknowledged, lost, doubled, unknown, .. } = self;
        let (p50, max) = (millis(self.percentile(50)), millis(self.percentile(100)));
        format!("| {name} | {cycles} | {kills} | {acknowledged} | {lost} | {doubled} | {unknown} | {p50} | {max} |")
    }

    fn json(&self, name: &str) -> Value {
        let recovery = |percent| self.percentile(percent).map(|span| span.as_millis());
        json!({
            "point": name,
            "cycles": self.cycles,
            "kills": self.kills,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "doubled": self.doubled,
            "other_faults": self.faults,
            "unknown": self.unknown,
            "recovery_ms": { "p50": recovery(50), "p99": recovery(99), "max": recovery(100) },
        })
    }

    /// The least recovery that so many percent do not exceed.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied()
    }
}

fn millis(span: Option<Duration>) -> String {
    span.map_or_else(|| "–".to_owned(), |span| format!("{} ms", span.as_millis()))
}
