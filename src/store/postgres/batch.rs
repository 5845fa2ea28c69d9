//! One transaction: locks first, then the commands, then what they add up to, then the commit.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;

use super::command::{Notes, Unit};
use super::fault::{self, Fault, unavailable};
use super::link::Link;
use super::lock_key::LockKey;
use super::nodes::Nodes;
use super::sql::Sql;
use super::writer::Job;
use super::{events, figures};
use crate::failpoint::{Point, reach};
use crate::store::Error;

/// How long a transaction may take.
const LIMIT: Duration = Duration::from_secs(10);

/// `$1`: the keys, sorted, so that no two nodes wait for each other.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key";
/// `$1` channels, `$2` payloads.
pub(super) const NOTIFY: &str =
    "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS t (channel, payload)";

/// What became of it.
pub(super) enum Outcome {
    Committed(Notes),
    /// Nothing was written.
    Failed(Error, Fault),
    /// The connection was lost when COMMIT was on its way.
    InDoubt(Error, Notes),
}

/// Runs all of them under this number, or none.
pub(super) async fn commit(nodes: Option<&Nodes>, link: &Link, number: i64, jobs: &mut [Box<dyn Job>]) -> Outcome {
    let unit = Unit::new(&link.client).with_suppressed(&link.suppressed);
    let sent = AtomicBool::new(false);
    let work = AssertUnwindSafe(transact(nodes, &unit, number, jobs, &sent)).catch_unwind();
    let done = tokio::time::timeout(LIMIT, work).await;
    let notes = unit.into_notes();
    let is_sent = sent.load(Ordering::Relaxed);
    let (error, fault) = match done {
        Ok(Ok(Ok(()))) => return Outcome::Committed(notes),
        Ok(Ok(Err(error))) => (error, notes.fault.unwrap_or(Fault::Refused)),
        Ok(Err(_)) => {
            tracing::error!("a command of the store panicked; it was rolled back");
            (unavailable("a defect of the gateway stopped this write; the log tells where"), Fault::Refused)
        }
        Err(_) => (fault::silent(), Fault::Lost),
    };
    match fault {
        Fault::Lost if is_sent => Outcome::InDoubt(error, notes),
        fault => Outcome::Failed(error, fault),
    }
}

async fn transact(
    nodes: Option<&Nodes>,
    unit: &Unit<'_>,
    number: i64,
    jobs: &mut [Box<dyn Job>],
    sent: &AtomicBool,
) -> Result<(), Error> {
    let mut keys: Vec<_> = jobs.iter().flat_map(|job| job.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    // In the order written, and none waits for the answer to the one before.
    let (begun, locked, done) = futures_util::join!(unit.simple("BEGIN"), lock(unit, &keys), run(unit, jobs));
    begun.and(locked).and(done)?;

    events::finish(unit).await?;
    let tidings = unit.take_tidings();
    let (deltas, news) = unit.sums(nodes);
    let Some(nodes) = nodes else {
        if !deltas.is_empty() || !tidings.is_empty() {
            return Err(unavailable("only the process that serves this database may change messages"));
        }
        sent.store(true, Ordering::Relaxed);
        return unit.simple("COMMIT").await;
    };
    reach(Point::CommitBefore);
    sent.store(true, Ordering::Relaxed);
    let figures = figures::write(unit, nodes.boot(), number, &deltas);
    let events = events::write(unit, &tidings);
    let (counted, written, told, committed) =
        futures_util::join!(figures, events, tell(unit, &news), unit.simple("COMMIT"));
    // A transaction that failed is rolled back by COMMIT, which says nothing about it.
    let done = counted.and(written).and(told).and(committed);
    if done.is_ok() {
        reach(Point::CommitAfter);
    }
    done
}

async fn tell(unit: &Unit<'_>, news: &[(&'static str, String)]) -> Result<(), Error> {
    if !news.is_empty() {
        let channels: Vec<_> = news.iter().map(|(channel, _)| *channel).collect();
        let payloads: Vec<_> = news.iter().map(|(_, payload)| payload.as_str()).collect();
        unit.rows(NOTIFY, &[&channels, &payloads]).await?;
    }
    Ok(())
}

async fn lock(unit: &Unit<'_>, keys: &[LockKey]) -> Result<(), Error> {
    if !keys.is_empty() {
        unit.rows(LOCK, &[&keys]).await?;
    }
    Ok(())
}

/// Those without keys one after the other, then the others, each row of them that share a key in its order.
async fn run(unit: &Unit<'_>, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
    let (single, rows) = sort_out(jobs);
    for job in single {
        job.run(unit).await?;
    }
    try_join_all(rows.into_iter().map(|row| async move {
        for job in row {
            job.run(unit).await?;
        }
        Ok::<_, Error>(())
    }))
    .await?;
    Ok(())
}

type Row<'a> = Vec<&'a mut Box<dyn Job>>;

fn sort_out(jobs: &mut [Box<dyn Job>]) -> (Row<'_>, Vec<Row<'_>>) {
    let (mut single, mut rows): (Row<'_>, Vec<Row<'_>>) = (Vec::new(), Vec::new());
    let mut row_of: HashMap<LockKey, usize> = HashMap::new();
    for job in jobs {
        let keys = job.keys().to_vec();
        if keys.is_empty() {
            single.push(job);
            continue;
        }
        let mut known: Vec<usize> = keys.iter().filter_map(|key| row_of.get(key)).copied().collect();
        known.sort_unstable();
        known.dedup();
        let Some((&home, others)) = known.split_first() else {
            row_of.extend(keys.iter().map(|key| (*key, rows.len())));
            rows.push(vec![job]);
            continue;
        };
        for other in others {
            let moved = std::mem::take(&mut rows[*other]);
            rows[home].extend(moved);
            row_of.values_mut().filter(|row| *row == other).for_each(|row| *row = home);
        }
        rows[home].push(job);
        row_of.extend(keys.iter().map(|key| (*key, home)));
    }
    (single, rows)
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    struct Keyed(&'static str, Vec<LockKey>);

    #[async_trait]
    impl Job for Keyed {
        fn keys(&self) -> &[LockKey] {
            &self.1
        }

        async fn run(&mut self, _unit: &Unit<'_>) -> Result<(), Error> {
            Err(unavailable(self.0))
        }

        fn answer(self: Box<Self>, _outcome: Result<(), Error>) {}
    }

    /// `"ab"`: a job with the keys a and b.
    fn jobs(names: &[&'static str]) -> Vec<Box<dyn Job>> {
        let key = |letter: char| LockKey::callback("shop", &letter.to_string());
        names.iter().map(|name| Box::new(Keyed(name, name.chars().map(key).collect())) as Box<dyn Job>).collect()
    }

    #[test]
    fn those_that_share_a_key_run_in_their_order_and_the_others_beside_them() {
        for (names, single, expected) in [
            (vec!["a", "b", "a", "b"], 0, vec![2, 2]),
            (vec!["", "a", ""], 2, vec![1]),
            // The third ties the first two together, and what comes later follows.
            (vec!["a", "b", "ab", "b", "c", "a"], 0, vec![5, 1]),
            (vec!["a", "b", "c", "bc", "ac"], 0, vec![5]),
        ] {
            let mut jobs = jobs(&names);
            let keys: Vec<_> = jobs.iter().map(|job| job.keys().to_vec()).collect();
            let (alone, rows) = sort_out(&mut jobs);
            assert_eq!(alone.len(), single, "{names:?}");
            let mut sizes: Vec<_> = rows.iter().map(Vec::len).filter(|size| *size > 0).collect();
            sizes.sort_by_key(|size| std::cmp::Reverse(*size));
            assert_eq!(sizes, expected, "{names:?}");
            for key in keys.iter().flatten() {
                let rows_with_it = rows.iter().filter(|row| row.iter().any(|job| job.keys().contains(key)));
                assert_eq!(rows_with_it.count(), 1, "{names:?}: nobody else has it");
            }
        }
    }
}
