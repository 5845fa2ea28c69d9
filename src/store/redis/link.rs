//! The line to Redis that all its doors share. What is asked through it never holds up anybody for long: at the first sign
//! of trouble nobody asks any more, and a task beside looks for the end of it.

use std::fmt::Display;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::fault::{Fault, Kind};
use super::probe::{self, Watcher};
use crate::config::store::RedisConfig;
use crate::store::{Allowance, Error};

/// Of a limit, what is left for an answer that is here already: a machine that was busy for long sees the limit first.
const LATE: Duration = Duration::from_millis(10);
/// How often a refusal that concerns one request alone is told.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Cheap to clone; every clone is the same line. It connects when first used: Redis may be absent, now or later.
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
    client: Client,
    prefix: String,
    /// Never held across an await.
    line: Mutex<Line>,
    standing: watch::Sender<Standing>,
    errors: [AtomicU64; Kind::ALL.len()],
    watcher: OnceLock<Watcher>,
}

type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

#[derive(Default)]
struct Line {
    connection: Option<Connecting>,
    /// Of the present connection: the failure of an older one says nothing any more.
    number: u64,
    refusal_told_at: Option<Instant>,
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
            client,
            prefix: config.prefix.clone(),
            line: Mutex::default(),
            standing: watch::Sender::new(Standing::Untried),
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
            watcher: OnceLock::new(),
        })))
    }

    /// Asks whether Redis does what the doors need; in trouble the answer is at hand. At most [`Allowance::WHOLE`].
    pub async fn is_up(&self) -> bool {
        self.0.watch();
        if !self.0.is_away() {
            self.0.probe(Allowance::WHOLE).await;
        }
        *self.0.standing.borrow() == Standing::Up
    }

    /// For `doctor`: asks within `limit`; `Err` says what is wrong.
    pub async fn try_out(&self, limit: Duration) -> Result<(), String> {
        self.0.probe(limit).await.map_or(Ok(()), |fault| Err(fault.reason))
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
        let answer = self.0.ask(allowance.left(), verb).await;
        allowance.spend(begun.elapsed());
        let (number, fault) = match answer {
            Ok(value) => {
                self.0.answered();
                return Ok(value);
            }
            Err(failed) => failed,
        };
        let reason = format!("Redis: {}", fault.reason);
        match fault.is_of_the_request {
            true => self.0.refused(&fault),
            false => self.0.failed(number, &fault),
        }
        Err(Unanswered { was_asked: true, reason })
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

    /// Asks for what the doors need. It alone ends a trouble; any failure of it begins one.
    pub(super) async fn probe(&self, limit: Duration) -> Option<Fault> {
        let key = self.key("probe");
        match self.ask(limit, |connection| probe::ask(connection, key)).await {
            Ok(()) => {
                self.succeeded();
                None
            }
            Err((number, fault)) => {
                self.failed(number, &fault);
                Some(fault)
            }
        }
    }

    /// `Err`: on which connection, and why.
    async fn ask<T, F>(&self, limit: Duration, verb: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, (u64, Fault)>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (number, connecting) = self.connection();
        let answer = async {
            let connection = connecting.await.map_err(|error| Fault::of_connecting(&error))?;
            verb(connection).await.map_err(|error| Fault::of(&error))
        };
        let mut answer = pin!(answer);
        let answer = match timeout(limit.saturating_sub(LATE), &mut answer).await {
            Ok(answer) => answer,
            Err(_) => timeout(LATE, answer).await.unwrap_or_else(|_| Err(Fault::silence())),
        };
        answer.map_err(|fault| (number, fault))
    }

    /// The present connection, or the making of one that all who come meanwhile share.
    fn connection(&self) -> (u64, Connecting) {
        let mut line = self.line();
        if let Some(connection) = &line.connection {
            return (line.number, connection.clone());
        }
        let client = self.client.clone();
        let connecting = async move {
            // Whoever asks has a limit of its own.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        let connecting = connecting.boxed().shared();
        line.number += 1;
        line.connection = Some(connecting.clone());
        (line.number, connecting)
    }

    /// The present connection is given up: its peer may have vanished without a word, or the answers on it be misplaced.
    fn failed(&self, number: u64, fault: &Fault) {
        self.count(fault);
        let mut line = self.line();
        if line.number != number {
            return;
        }
        line.connection = None;
        let began = self.standing.send_if_modified(|standing| {
            let begins = !matches!(standing, Standing::Away { .. });
            if begins {
                *standing = Standing::Away { since: Instant::now() };
            }
            begins
        });
        drop(line);
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
        let mut line = self.line();
        if line.refusal_told_at.is_some_and(|at| at.elapsed() < TOLD_AGAIN) {
            return;
        }
        line.refusal_told_at = Some(Instant::now());
        drop(line);
        tracing::warn!(error = %fault.reason, "Redis refuses a request: is something else kept under our prefix?");
    }

    fn count(&self, fault: &Fault) {
        self.errors[fault.kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// From the first use on somebody looks after the line.
    fn watch(self: &Arc<Self>) {
        self.watcher.get_or_init(|| Watcher::start(Arc::downgrade(self)));
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Unanswered> for Error {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unavailable { reason: unanswered.reason }
    }
}
