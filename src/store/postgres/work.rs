//! The writer's task: takes what waits, commits it, and goes on when the connection does not.
//!
//! A connection that is lost is made again at once, once; what was under way runs again. If that fails, everything is refused
//! (and later commands at once) while the connection is tried again and again. When COMMIT was on its way, the database is
//! asked what became of it ([`super::doubt`]); until then its callers wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::batch::{self, Outcome};
use super::command::{Notes, Unit};
use super::connect::CONNECT;
use super::doubt::Doubt;
use super::fault::{self, Fault};
use super::figures;
use super::link::{Dialer, Link};
use super::writer::{Jobs, Order, answer_all};
use crate::store::Error;
use crate::store::figures::Figures;

/// Commands in one transaction at most.
const BATCH: usize = 256;
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the figures are read anew: other nodes change them too.
const REFRESH: Duration = Duration::from_secs(2);
/// How often a batch is run that met others.
const RUNS: u32 = 3;

pub(super) struct Work {
    dialer: Dialer,
    figures: Arc<Figures>,
    line: Line,
    redial: Option<BoxFuture<'static, Result<Link, Error>>>,
    /// Of the last transaction that was tried.
    number: i64,
    /// The one transaction whose end is not known.
    doubt: Option<Doubt>,
    /// When the figures are read again.
    refresh_at: Instant,
    /// Why the last batch was refused: said once, not for every batch that meets it.
    trouble: Option<String>,
}

enum Line {
    Up(Link),
    /// Why.
    Down(Error),
}

/// What one try came to, when not to its end.
enum Failure {
    /// Nothing was written.
    Nothing(Error, Fault),
    /// The same: there is no connection, and it is being made.
    Away(Error),
    Doubt(Error, Notes),
}

/// What there is to do.
enum Step {
    /// So many; none when there will be none any more.
    Orders(usize),
    Dialed(Result<Link, Error>),
    /// Those in doubt have waited long enough.
    Overdue,
    /// The figures are.
    Stale,
}

impl Work {
    pub(super) fn new(dialer: Dialer, link: Link, figures: Arc<Figures>) -> Self {
        let number = link.last.unwrap_or_default();
        let (line, refresh_at) = (Line::Up(link), Instant::now() + REFRESH);
        Self { dialer, figures, line, redial: None, number, doubt: None, refresh_at, trouble: None }
    }

    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            match self.next(&mut orders, &mut waiting).await {
                Step::Orders(0) => break,
                Step::Orders(_) => {
                    let jobs = self.sort_out(&mut waiting, &mut orders);
                    self.work_off(jobs).await;
                }
                Step::Dialed(dialed) => self.connected(dialed).await,
                Step::Overdue => self.stop_waiting(),
                Step::Stale => {}
            }
            if self.refresh_at <= Instant::now() {
                self.refresh().await;
            }
        }
        self.stop_waiting();
    }

    /// What comes next. Nothing is lost when it is not waited for to the end.
    async fn next(&mut self, orders: &mut mpsc::Receiver<Order>, waiting: &mut Vec<Order>) -> Step {
        if let Line::Up(_) = self.line {
            let taken = tokio::time::timeout_at(self.refresh_at, orders.recv_many(waiting, BATCH)).await;
            return taken.map_or(Step::Stale, Step::Orders);
        }
        let dialer = &self.dialer;
        let redial = self.redial.get_or_insert_with(|| redial(dialer.clone()).boxed());
        let deadline = self.doubt.as_ref().and_then(Doubt::waits_until);
        tokio::select! {
            count = orders.recv_many(waiting, BATCH) => Step::Orders(count),
            dialed = redial => {
                self.redial = None;
                Step::Dialed(dialed)
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Step::Overdue,
        }
    }

    fn sort_out(&self, waiting: &mut Vec<Order>, orders: &mut mpsc::Receiver<Order>) -> Jobs {
        let mut jobs = Jobs::with_capacity(waiting.len());
        for order in waiting.drain(..) {
            match order {
                Order::Run(job) => jobs.push(job),
                Order::Stop => orders.close(),
            }
        }
        jobs
    }

    fn stop_waiting(&mut self) {
        if let Some(doubt) = &mut self.doubt {
            doubt.stop_waiting();
        }
    }

    async fn work_off(&mut self, mut jobs: Jobs) {
        let (mut runs, mut was_lost) = (0, false);
        while !jobs.is_empty() {
            runs += 1;
            let (error, fault) = match self.commit(&mut jobs).await {
                Ok(notes) => {
                    self.figures.add(&notes.deltas);
                    if let (true, Some(nodes)) = (notes.has_told, &self.dialer.nodes) {
                        nodes.events.ring();
                    }
                    self.recovered();
                    return answer_all(jobs, &Ok(()));
                }
                Err(Failure::Doubt(error, notes)) => return self.doubt(jobs, notes, &error).await,
                Err(Failure::Away(error)) => return self.refuse(jobs, &error),
                Err(Failure::Nothing(error, fault)) => (error, fault),
            };
            match fault {
                Fault::Again if runs < RUNS => {}
                Fault::Lost if was_lost || !self.dial_at_once().await => return self.refuse(jobs, &error),
                Fault::Lost => was_lost = true,
                _ if jobs.len() == 1 => return self.refuse(jobs, &error),
                _ => {
                    tracing::warn!(%error, commands = jobs.len(), "a batch was rolled back; its commands run one by one");
                    for job in std::mem::take(&mut jobs) {
                        Box::pin(self.work_off(vec![job])).await;
                    }
                }
            }
        }
    }

    async fn doubt(&mut self, jobs: Jobs, notes: Notes, error: &Error) {
        tracing::warn!(%error, "the connection was lost during a commit: the database is asked what became of it");
        self.doubt = Some(Doubt::new(self.number, jobs, notes));
        self.dial_at_once().await;
    }

    async fn commit(&mut self, jobs: &mut Jobs) -> Result<Notes, Failure> {
        let link = match &self.line {
            Line::Up(link) => link,
            Line::Down(error) => return Err(Failure::Away(error.clone())),
        };
        self.number += 1;
        let failure = match batch::commit(self.dialer.nodes.as_deref(), link, self.number, jobs).await {
            Outcome::Committed(notes) => return Ok(notes),
            Outcome::InDoubt(error, notes) => Failure::Doubt(error, notes),
            Outcome::Failed(error, Fault::Lost) => Failure::Nothing(error, Fault::Lost),
            Outcome::Failed(error, fault) => match link.roll_back().await {
                Ok(()) => return Err(Failure::Nothing(error, fault)),
                Err(_) => Failure::Nothing(error, Fault::Lost),
            },
        };
        let (Failure::Nothing(error, _) | Failure::Away(error) | Failure::Doubt(error, _)) = &failure;
        self.line = Line::Down(error.clone());
        Err(failure)
    }

    /// → is the line up again?
    async fn dial_at_once(&mut self) -> bool {
        let dialed = self.dialer.dial().await;
        self.connected(dialed).await;
        matches!(self.line, Line::Up(_))
    }

    /// The one way back to [`Line::Up`]: what is in doubt comes first.
    async fn connected(&mut self, dialed: Result<Link, Error>) {
        let checked = match (dialed, &mut self.doubt) {
            (Ok(link), Some(doubt)) => {
                let nodes = self.dialer.nodes.as_deref();
                doubt.clear(nodes, &link, &self.figures).await.map(|()| link)
            }
            (dialed, _) => dialed,
        };
        match checked {
            Ok(link) => {
                self.doubt = None;
                self.line = Line::Up(link);
                self.refresh_at = Instant::now();
            }
            Err(error) => self.line = Line::Down(error),
        }
    }

    /// Other nodes change the figures too.
    async fn refresh(&mut self) {
        self.refresh_at = Instant::now() + REFRESH;
        let (Line::Up(link), Some(_)) = (&self.line, &self.dialer.nodes) else { return };
        let unit = Unit::new(&link.client);
        let sums = tokio::time::timeout(CONNECT, figures::load(&unit)).await.unwrap_or_else(|_| Err(fault::silent()));
        match sums {
            Ok(sums) => self.figures.replace(sums),
            Err(error) => {
                tracing::warn!(%error, "the figures could not be read");
                self.line = Line::Down(error);
            }
        }
    }

    fn refuse(&mut self, jobs: Jobs, error: &Error) {
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::error!(%error, "the store did not write");
            self.trouble = Some(trouble);
        }
        answer_all(jobs, &Err(error.clone()));
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the store writes again");
        }
    }
}

async fn redial(dialer: Dialer) -> Result<Link, Error> {
    tokio::time::sleep(PAUSE).await;
    dialer.dial().await
}
