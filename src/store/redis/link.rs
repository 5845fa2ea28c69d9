//! The way to Redis that all its doors share. What is asked through it never holds up anybody for long: at the first sign
//! of trouble nobody asks any more, and a task beside looks for the end of it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::{Fault, Kind};
use super::line::{CONNECT, Line, ask};
use super::probe::{self, Watcher};
use crate::config::store::RedisConfig;
use crate::store::{Allowance, Error};

/// How often a refusal that concerns one request alone is told.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Cheap to clone; every clone is the same link. It connects when first used: Redis may be absent, now or later.
#[derive(Clone)]
pub struct Link(pub(super) Arc<Inner>);

/// How Redis stands, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub is_up: bool,
    /// What kind of failure, how often so far.
    pub errors: Vec<(&'static str, u64)>,
}

/// Nothing came of a request.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    /// Redis may have done it all the same.
    pub(super) was_asked: bool,
    reason: String,
}

pub(super) struct Inner {
    line: Line,
    prefix: String,
    standing: watch::Sender<Standing>,
    errors: [AtomicU64; Kind::ALL.len()],
    refusal_told_at: Mutex<Option<Instant>>,
    watcher: OnceLock<Watcher>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Up,
    Away { since: Instant },
}

impl Link {
    /// No I/O. `Unavailable` when the URL is none.
    pub fn new(config: &RedisConfig) -> Result<Self, Error> {
        // The error would repeat the URL, and with it the password.
        let client = Client::open(config.url.expose()).map_err(|_| Error::Unavailable {
            reason: "redis.url is not of the form redis://[:password@]host[:port][/db]".to_owned(),
        })?;
        Ok(Self(Arc::new(Inner {
            line: Line::new(client),
            prefix: config.prefix.clone(),
            standing: watch::Sender::new(Standing::Untried),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
            refusal_told_at: Mutex::default(),
            watcher: OnceLock::new(),
        })))
    }

    /// Asks whether Redis does what the doors need; in trouble the answer is at hand. At most [`Allowance::WHOLE`], and as
    /// much again for a connection.
    pub async fn is_up(&self) -> bool {
        self.0.watch();
        if !self.0.is_away() {
            self.0.probe(Allowance::WHOLE).await;
        }
        *self.0.standing.borrow() == Standing::Up
    }

    /// For `doctor`: `Err` says what is wrong.
    pub async fn try_out(&self) -> Result<(), String> {
        self.0.probe(CONNECT).await.map_or(Ok(()), |fault| Err(fault.reason))
    }

    /// As it is known now; nobody is asked.
    pub fn state(&self) -> LinkState {
        let count = |kind: Kind| (kind.label(), self.0.errors[kind as usize].load(Ordering::Relaxed));
        let is_up = *self.0.standing.borrow() == Standing::Up;
        LinkState { is_up, errors: Kind::ALL.map(count).to_vec() }
    }

    pub(super) fn key(&self, name: impl Display) -> String {
        self.0.key(name)
    }

    /// Runs a verb within what is left of the allowance.
    pub(super) async fn run<T, F>(
        &self,
        allowance: &mut Allowance,
        verb: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Unanswered>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.0.watch();
        let not_asked = |reason: &str| Unanswered { was_asked: false, reason: reason.to_owned() };
        if self.0.is_away() {
            return Err(not_asked("Redis is away"));
        }
        if allowance.left().is_zero() {
            return Err(not_asked("Redis took too long before"));
        }
        let begun = Instant::now();
        let (number, connected) = self.0.line.connected(allowance.left()).await;
        allowance.spend(begun.elapsed());
        let was_asked = connected.is_ok();
        let answer = match connected {
            Ok(connection) => {
                let begun = Instant::now();
                let answer = ask(allowance.left(), verb(connection)).await;
                allowance.spend(begun.elapsed());
                answer
            }
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(value) => {
                self.0.answered();
                Ok(value)
            }
            Err(fault) => {
                match fault.is_of_the_request {
                    true => self.0.refused(&fault),
                    false => self.0.failed(number, &fault),
                }
                Err(Unanswered { was_asked, reason: format!("Redis: {}", fault.reason) })
            }
        }
    }

    /// Returns when Redis answers again, at once when nothing else is known.
    pub(super) async fn recovered(&self) {
        let is_not_away = |standing: &Standing| !matches!(standing, Standing::Away { .. });
        // The sender lives as long as this link.
        let _ = self.0.standing.subscribe().wait_for(is_not_away).await;
    }
}

impl Inner {
    pub(super) fn is_away(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Away { .. })
    }

    pub(super) fn key(&self, name: impl Display) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Asks for what the doors need; a connection may take `limit`, the answer no longer than a request may wait. This alone
    /// ends a trouble, and any failure of it begins one.
    pub(super) async fn probe(&self, limit: Duration) -> Option<Fault> {
        let (number, connected) = self.line.connected(limit).await;
        let answer = match connected {
            Ok(connection) => ask(Allowance::WHOLE, probe::ask(connection, self.key("probe"))).await,
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(()) => {
                self.succeeded();
                None
            }
            Err(fault) => {
                self.failed(number, &fault);
                Some(fault)
            }
        }
    }

    fn failed(&self, number: u64, fault: &Fault) {
        self.count(fault);
        if !self.line.give_up(number, fault) {
            return;
        }
        let began = self.standing.send_if_modified(|standing| {
            let begins = !matches!(standing, Standing::Away { .. });
            if begins {
                *standing = Standing::Away { since: Instant::now() };
            }
            begins
        });
        match began {
            true => tracing::warn!(
                kind = fault.kind.label(),
                error = %fault.reason,
                "redis.away: Redis is of no use for now; each node works for itself until it is back"
            ),
            false => tracing::debug!(kind = fault.kind.label(), error = %fault.reason, "Redis is still away"),
        }
        if let Some(watcher) = self.watcher.get() {
            watcher.hurry();
        }
    }

    /// The first answer of all; in trouble one that was on its way says nothing.
    fn answered(&self) {
        if *self.standing.borrow() == Standing::Untried {
            self.standing.send_if_modified(|standing| {
                let is_first = *standing == Standing::Untried;
                if is_first {
                    *standing = Standing::Up;
                }
                is_first
            });
        }
    }

    fn succeeded(&self) {
        let Standing::Away { since } = self.standing.send_replace(Standing::Up) else { return };
        tracing::info!(away_s = since.elapsed().as_secs(), "redis.back: Redis is of use again");
    }

    fn refused(&self, fault: &Fault) {
        self.count(fault);
        {
            let mut told_at = self.refusal_told_at.lock().unwrap_or_else(PoisonError::into_inner);
            if told_at.is_some_and(|at| at.elapsed() < TOLD_AGAIN) {
                return;
            }
            *told_at = Some(Instant::now());
        }
        tracing::warn!(error = %fault.reason, "Redis refuses a request: is something else kept under our prefix?");
    }

    fn count(&self, fault: &Fault) {
        self.errors[fault.kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// From the first use on somebody looks after it.
    fn watch(self: &Arc<Self>) {
        self.watcher.get_or_init(|| Watcher::start(Arc::downgrade(self)));
    }
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unavailable { reason: unanswered.reason }
    }
}
