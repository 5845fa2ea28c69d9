//! The long run: as many cycles as `scripts/crash` asks for, several places side by side, and the report.

use std::io::Write;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::aim::Aim;
use crate::books::Kind;
use crate::report::Report;
use crate::series::Series;

/// Cycles in one place.
const SERIES: usize = 12;
const PROGRESS: Duration = Duration::from_secs(10);

/// What `scripts/crash` hands over.
struct Wanted {
    iterations: usize,
    seed: u64,
    lanes: usize,
    /// Only this series of the run.
    only: Option<usize>,
}

/// One run over one store.
struct Run {
    kind: Kind,
    wanted: Wanted,
    report: Mutex<Report>,
    next: AtomicUsize,
    done: AtomicUsize,
    begun: Instant,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told to: scripts/crash runs it"]
async fn the_long_run() {
    let stores = variable::<String>("STORE").unwrap_or_else(|| "sqlite".to_owned());
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| stores == kind.name() || stores == "both").collect();
    assert!(!kinds.is_empty(), "there is no store {stores:?}: sqlite, postgres or both");
    let (mut reports, mut is_clean) = (Vec::new(), true);
    for kind in kinds {
        let report = Run::new(kind).walk().await;
        let _ = writeln!(std::io::stdout(), "\n{}", report.table());
        is_clean &= report.is_clean();
        reports.push(report.json());
    }
    if let Some(path) = variable::<String>("OUT") {
        std::fs::write(&path, serde_json::to_string_pretty(&reports).unwrap() + "\n").unwrap();
    }
    assert!(is_clean, "not every cycle was clean: see above");
}

impl Run {
    fn new(kind: Kind) -> Self {
        let wanted = Wanted {
            iterations: variable("ITERATIONS").unwrap_or(100),
            seed: seed(),
            lanes: variable("LANES").unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            only: variable("SERIES"),
        };
        let report = Mutex::new(Report::new(kind, wanted.seed));
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { kind, wanted, report, next, done, begun: Instant::now() }
    }

    async fn walk(self) -> Report {
        let lanes = (0..self.wanted.lanes.max(1)).map(|_| self.lane());
        let progress = async {
            loop {
                tokio::time::sleep(PROGRESS).await;
                self.say_progress();
            }
        };
        tokio::select! {
            _ = futures_util::future::join_all(lanes) => {}
            () = progress => {}
        }
        self.say_progress();
        self.report.into_inner().unwrap()
    }

    /// One series after the other, until there is none left.
    async fn lane(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let aims = self.aims_of(number);
            if aims.is_empty() {
                return;
            }
            if self.wanted.only.is_some_and(|only| only != number) {
                continue;
            }
            let series = Series { kind: self.kind, seed: self.wanted.seed, number, aims };
            let failure = series.run(|aim, outcome| {
                self.report().add(aim, outcome);
                self.done.fetch_add(1, Ordering::Relaxed);
            });
            if let Some(failure) = failure.await {
                let again = format!(
                    "again: scripts/crash --store {} --seed {} --iterations {} --series {number}",
                    self.kind.name(),
                    self.wanted.seed,
                    self.wanted.iterations
                );
                say(&format!("\nNOT CLEAN: {failure}\n{again}\n"));
                self.report().add_failure(format!("{failure}\n{again}"));
            }
        }
    }

    /// Every aim in its turn over the whole run.
    fn aims_of(&self, number: usize) -> Vec<Aim> {
        let aims = Aim::all();
        let cycles = number * SERIES..((number + 1) * SERIES).min(self.wanted.iterations);
        cycles.map(|cycle| aims[cycle % aims.len()]).collect()
    }

    fn say_progress(&self) {
        let (done, all) = (self.done.load(Ordering::Relaxed), self.wanted.iterations);
        let spent = self.begun.elapsed().as_secs_f64();
        let each = spent / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
        let left = f64::from(u32::try_from(all.saturating_sub(done)).unwrap_or(u32::MAX)) * each;
        let summary = self.report().summary();
        say(&format!("{}: {done}/{all} cycles, {summary}, {each:.2} s a cycle, {left:.0} s left", self.kind.name()));
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap()
    }
}

/// `WXGATE_CRASH_SEED`, otherwise always the same.
pub(crate) fn seed() -> u64 {
    variable("SEED").unwrap_or(1)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(format!("WXGATE_CRASH_{name}")).ok().filter(|text| !text.is_empty())?;
    let value = text.parse().ok();
    assert!(value.is_some(), "WXGATE_CRASH_{name}={text} cannot be read");
    value
}

/// Progress: to standard error, past the test runner's own capture.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
