//! One cycle: the lives that were planned, a clean start, everybody's repeats, quiet, the count.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::aim::Aim;
use crate::books::Books;
use crate::check::Count;
use crate::life::wait_until;
use crate::load::Crowd;
use crate::person::{Answer, Cancel};
use crate::stay::Stay;
use crate::support::process::Program;
use crate::weather;

/// Longer than a cycle takes on a busy machine, whatever it has to wait for.
const PATIENCE: Duration = Duration::from_secs(300);
const UNDER_WAY: &str = "SELECT count(*) FROM messages WHERE state IN ('scheduled', 'queued', 'sending')";
/// Events that the webhook has not been told, or of which that is not known yet.
const UNTOLD: &str = "SELECT count(*) FROM events WHERE id NOT IN
    (SELECT event_id FROM deliveries WHERE status = 'delivered')";
/// What `Deed::Age` has made so old that it is deleted at the start.
const OLD: &str = "SELECT count(*) FROM messages WHERE updated_at = 0";

/// What came of a cycle.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) kills: u64,
    pub(crate) count: Count,
    /// From the start of the process until it is ready and has taken up the first orphan.
    pub(crate) recovery: Option<Duration>,
}

impl Stay {
    /// Whatever goes wrong stands in the outcome.
    pub(crate) async fn cycle(&mut self, aim: Aim, seed: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let cycle = tokio::time::timeout(PATIENCE, self.try_cycle(aim, seed, &mut outcome)).await;
        if let Err(fault) = cycle.unwrap_or_else(|_| Err(format!("the cycle is not over after {PATIENCE:?}"))) {
            outcome.count.faults.push(fault);
        }
        self.cycles += 1;
        outcome
    }

    async fn try_cycle(&mut self, aim: Aim, seed: u64, outcome: &mut Outcome) -> Result<(), String> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut crowd = Crowd::default();
        self.receipts_contradict = weather::change(self.sandbox(), &mut rng);
        let lives = aim.lives(&mut rng);
        for (number, life) in lives.iter().enumerate() {
            let tag = format!("{}-{number}", self.cycles);
            self.live(life, rng.random(), &tag, &mut crowd).await?;
            outcome.kills += 1;
        }
        let books = self.books.frozen(self.place.folder.path()).await?;
        books.check_integrity().await?;
        let orphans = orphans_in(&books).await?;
        if let Some(deed) = aim.afterwards() {
            self.act(deed).await?;
        }
        let shares_tokens = lives.iter().any(|life| life.shares_tokens);
        let (mut program, recovery) = self.recover(&orphans, shares_tokens).await?;
        outcome.recovery = Some(recovery);
        make_good(&program, &mut crowd).await;
        let visitors = std::mem::take(&mut crowd.visitors).join_all().await;
        self.quiet().await?;
        outcome.count = self.count(&program, &crowd, &visitors).await?;
        outcome.count.faults.append(&mut crowd.faults);
        if let Some(status) = program.status() {
            return Err(format!("the process ended with {status} while nobody meant it harm"));
        }
        retire(program, rng.random()).await
    }

    /// Starts it, and waits until it is ready and goes on with what the dead one left.
    async fn recover(&mut self, orphans: &[Orphan], shares_tokens: bool) -> Result<(Program, Duration), String> {
        let variables = self.variables(None, shares_tokens);
        let started = Instant::now();
        let program = self.spawn(&variables);
        wait_until("the gateway is ready", async || Ok(program.answers("/ready").await)).await?;
        if !orphans.is_empty() {
            let taken_up = taken_up(orphans);
            wait_until("the first orphan is taken up", async || Ok(self.books.number(&taken_up).await? > 0)).await?;
        }
        Ok((program, started.elapsed()))
    }

    /// Waits until every message has come as far as it will.
    async fn quiet(&self) -> Result<(), String> {
        let quiet = wait_until("nothing is under way", async || {
            let is_quiet = self.books.number(UNDER_WAY).await? == 0 && self.books.number(OLD).await? == 0;
            Ok(is_quiet && self.sandbox().pending_receipts() == 0 && self.books.number(UNTOLD).await? == 0)
        });
        let Err(fault) = quiet.await else { return Ok(()) };
        let left =
            "SELECT id, state, touser, state_reason FROM messages WHERE state IN ('scheduled', 'queued', 'sending')";
        let (receipts, untold) = (self.sandbox().pending_receipts(), self.books.number(UNTOLD).await?);
        Err(format!(
            "{fault}; receipts: {receipts}; events that were not delivered: {untold}; messages: {:?}",
            self.books.rows(left).await?
        ))
    }
}

struct Orphan {
    id: String,
    boot: String,
}

async fn orphans_in(books: &Books) -> Result<Vec<Orphan>, String> {
    // A process that died before it made them has left no tables.
    let Ok(rows) = books.rows("SELECT id, lease_boot FROM messages WHERE state = 'sending'").await else {
        return Ok(Vec::new());
    };
    Ok(rows.into_iter().map(|mut row| Orphan { boot: row.remove(1), id: row.remove(0) }).collect())
}

/// SQL: how many of them were lent again, or settled.
fn taken_up(orphans: &[Orphan]) -> String {
    let any = orphans.iter().map(|orphan| {
        let Orphan { id, boot } = orphan;
        format!("(id = '{id}' AND (lease_boot <> '{boot}' OR state NOT IN ('sending', 'queued')))")
    });
    format!("SELECT count(*) FROM messages WHERE {}", any.collect::<Vec<_>>().join(" OR "))
}

/// Whoever had no answer asks again when that is safe, and everything for much later is canceled.
async fn make_good(program: &Program, crowd: &mut Crowd) {
    let ends = stream::iter(&mut crowd.people).map(async |person| {
        if person.answer == Answer::Lost && person.key.is_some() {
            person.send(program).await?;
            if person.answer == Answer::Lost {
                return Err(format!("{}: no answer from a gateway that lives", person.openid));
            }
        }
        if person.cancel == Cancel::Wanted {
            person.cancel(program).await?;
        }
        Ok(())
    });
    let ends: Vec<Result<(), String>> = ends.buffer_unordered(8).collect().await;
    crowd.faults.extend(ends.into_iter().filter_map(Result::err));
}

/// In good order or not: the next cycle finds everything either way.
async fn retire(program: Program, in_good_order: bool) -> Result<(), String> {
    if !in_good_order {
        program.kill();
        return Ok(());
    }
    program.signal(Signal::SIGTERM);
    match program.ended().await {
        Some(0) => Ok(()),
        code => Err(format!("it was told to stop and ended with {code:?}")),
    }
}
