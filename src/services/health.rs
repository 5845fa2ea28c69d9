//! Is all well? Components for `/ready`, figures for `/metrics`. Every check is bounded and remembered for a moment,
//! so that probes cannot hammer the disk.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout};

use super::accounts::Accounts;
use super::pace::Paces;
use super::quota::{QuotaStanding, Quotas};
use super::tokens::Tokens;
use crate::domain::clock::Clock;
use crate::domain::state::State;
use crate::domain::trouble::Trouble;
use crate::store;
use crate::store::redis::Link;
use crate::telemetry::metrics::{QuotaFigures, RedisFigures, Scrape};

/// How long one check may take.
const CHECK: Duration = Duration::from_secs(1);
/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

const TOO_LITTLE_ROOM: &str = "its volume has too little room: no send is accepted; what was accepted goes on";

/// How a component stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// Something is lacking, and the gateway goes on without it.
    Degraded,
    /// Nothing can be accepted.
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Component {
    /// `storage`, `redis`, `token.<account>`, and `quota.<account>` while that is used up.
    #[schema(example = "storage")]
    pub name: String,
    pub status: Status,
    /// One short sentence when it is not `ok`. Anybody may read it: it says nothing about causes inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
}

#[derive(Clone)]
pub struct Health {
    checks: Checks,
    ready: Arc<Rounds<Vec<Component>>>,
    slow: Arc<Rounds<Slow>>,
}

/// The doors that the checks knock at.
#[derive(Clone)]
struct Checks {
    counts: Arc<dyn store::Counts>,
    redis: Option<Link>,
    tokens: Tokens,
    quotas: Quotas,
    paces: Paces,
    accounts: Accounts,
    clock: Arc<dyn Clock>,
    troubles: Arc<Troubles>,
}

/// Checks that fail: said when it begins, and when it is over.
#[derive(Default)]
struct Troubles {
    storage: Trouble,
    oldest_ready: Trouble,
    unmatched_receipts: Trouble,
}

/// Figures that cost a query.
#[derive(Clone, Copy, Debug, Default)]
struct Slow {
    oldest_ready: Option<Duration>,
    unmatched_receipts: Option<u64>,
}

impl Health {
    pub fn new(
        counts: Arc<dyn store::Counts>,
        redis: Option<Link>,
        tokens: Tokens,
        (quotas, paces): (Quotas, Paces),
        accounts: Accounts,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let checks = Checks { counts, redis, tokens, quotas, paces, accounts, clock, troubles: Arc::default() };
        Self { checks, ready: Arc::default(), slow: Arc::default() }
    }

    /// Every component. The gateway is ready unless one is [`Status::Down`]: it works without Redis, and takes messages
    /// while WeChat is away.
    pub async fn ready(&self) -> Vec<Component> {
        let checks = self.checks.clone();
        self.ready.join(FRESH, || async move { checks.components().await }.boxed()).await
    }

    /// What `/metrics` adds to what was counted on the way.
    pub async fn figures(&self) -> Scrape {
        let checks = self.checks.clone();
        let slow = self.slow.join(FRESH, || async move { checks.slow().await }.boxed()).await;
        self.checks.figures(slow)
    }
}

/// Rounds of checks: whoever comes soon after the start of one shares it, under way or over. The lock is held while a
/// round is looked up, never while one runs.
struct Rounds<T>(Mutex<Option<(Instant, Round<T>)>>);

type Round<T> = Shared<BoxFuture<'static, T>>;

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Rounds<T> {
    /// The round that began less than `fresh` ago; `begin` makes a new one when there is none.
    fn join(&self, fresh: Duration, begin: impl FnOnce() -> BoxFuture<'static, T>) -> Round<T> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, round)) = last.as_ref()
            && at.elapsed() < fresh
        {
            return round.clone();
        }
        let round = begin().shared();
        *last = Some((Instant::now(), round.clone()));
        round
    }
}

impl Checks {
    async fn components(&self) -> Vec<Component> {
        let (storage, redis) = tokio::join!(self.storage(), self.redis());
        let mut components = vec![storage];
        components.extend(redis);
        components.extend(self.accounts.table().keys().map(|account| self.token(account)));
        let parked = self.quotas.standings().into_iter().filter(|standing| standing.is_parked);
        components.extend(parked.map(|standing| Component {
            name: format!("quota.{}", standing.account),
            status: Status::Degraded,
            detail: Some("used up: messages wait for the next day of Beijing"),
        }));
        components
    }

    async fn storage(&self) -> Component {
        let (status, detail) = match bounded("storage", &self.troubles.storage, self.counts.probe()).await {
            Some(()) if self.counts.space().is_some_and(|space| space.is_short) => {
                (Status::Down, Some(TOO_LITTLE_ROOM))
            }
            Some(()) => (Status::Ok, None),
            None => (Status::Down, Some("nothing can be written")),
        };
        Component { name: "storage".to_owned(), status, detail }
    }

    async fn redis(&self) -> Option<Component> {
        // The link tells of a trouble itself, once.
        let (status, detail) = match self.redis.as_ref()?.is_up().await {
            true => (Status::Ok, None),
            false => (Status::Degraded, Some("away: each node works for itself")),
        };
        Some(Component { name: "redis".to_owned(), status, detail })
    }

    fn token(&self, account: &str) -> Component {
        let state = self.tokens.status(account).map_or("missing", |status| status.state);
        let (status, detail) = match state {
            "ready" => (Status::Ok, None),
            "failing" => (Status::Degraded, Some("the last refresh failed: the log tells why")),
            _ => (Status::Degraded, Some("no token yet")),
        };
        Component { name: format!("token.{account}"), status, detail }
    }

    fn figures(&self, slow: Slow) -> Scrape {
        let states = self.counts.states();
        let mut scrape = Scrape {
            accepted: self.counts.accepted(),
            unaccounted: self.counts.unaccounted(),
            oldest_ready: slow.oldest_ready,
            unmatched_receipts: slow.unmatched_receipts,
            storage_free_bytes: self.counts.space().map(|space| space.free_bytes),
            tokens: self.token_lives(),
            quotas: self.quotas.standings().into_iter().map(|one| self.quota(one)).collect(),
            redis: self.redis.as_ref().map(|link| {
                let state = link.state();
                RedisFigures { is_up: state.is_up, errors: state.errors }
            }),
            queue_depth: crate::domain::state::Lane::ALL.map(|lane| (lane, 0)).to_vec(),
            messages: Vec::new(),
        };
        for line in states {
            let lane = scrape.queue_depth.iter_mut().find(|(lane, _)| *lane == line.lane);
            if let (State::Queued, Some((_, depth))) = (line.state, lane) {
                *depth += line.count;
            }
            let same =
                |(account, state, _): &&mut (String, State, u64)| *account == line.account && *state == line.state;
            match scrape.messages.iter_mut().find(same) {
                Some((_, _, count)) => *count += line.count,
                None => scrape.messages.push((line.account, line.state, line.count)),
            }
        }
        scrape
    }

    async fn slow(&self) -> Slow {
        let now = self.clock.now();
        let (oldest, unmatched, _) = tokio::join!(
            bounded("oldest_ready", &self.troubles.oldest_ready, self.counts.oldest_ready(now)),
            bounded("unmatched_receipts", &self.troubles.unmatched_receipts, self.counts.unmatched_receipts()),
            // For the state that the figures tell.
            self.redis(),
        );
        let oldest_ready = oldest.map(|due| due.map_or(Duration::ZERO, |due| now.since(due)));
        Slow { oldest_ready, unmatched_receipts: unmatched }
    }

    fn quota(&self, standing: QuotaStanding) -> QuotaFigures {
        QuotaFigures {
            is_parked: standing.is_parked,
            remaining: standing.remaining,
            per_second: self.paces.per_second(&standing.account, self.clock.now()),
            account: standing.account.to_string(),
        }
    }

    fn token_lives(&self) -> Vec<(String, f64)> {
        let now = self.clock.now();
        let life = |account: &str| {
            let expires_at = self.tokens.status(account).and_then(|status| status.expires_at);
            expires_at.map_or(0.0, |at| at.since(now).as_secs_f64())
        };
        self.accounts.table().keys().map(|account| (account.clone(), life(account))).collect()
    }
}

/// `None` when the check failed or took too long; the cause is in the log.
async fn bounded<T>(
    what: &'static str,
    trouble: &Trouble,
    check: impl Future<Output = Result<T, store::Error>>,
) -> Option<T> {
    within(CHECK, what, trouble, check).await
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    trouble: &Trouble,
    check: impl Future<Output = Result<T, store::Error>>,
) -> Option<T> {
    match timeout(limit, check).await {
        Ok(Ok(value)) => {
            if trouble.ends() {
                tracing::info!(component = what, "a health check passes again");
            }
            Some(value)
        }
        Ok(Err(error)) => {
            if trouble.begins() {
                tracing::warn!(component = what, %error, "a health check failed");
            }
            None
        }
        Err(_) => {
            if trouble.begins() {
                tracing::warn!(component = what, "a health check took longer than {limit:?}");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_come_together_share_one_round() {
        let (rounds, begun, end) = (Rounds::default(), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let ask = |fresh| {
            let (begun, end) = (begun.clone(), end.clone());
            rounds.join(fresh, || {
                async move {
                    let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
                    end.notified().await;
                    number
                }
                .boxed()
            })
        };
        // Who began it leaves; the round goes on for the others.
        assert!(timeout(Duration::ZERO, ask(FRESH)).await.is_err());
        end.notify_one();
        assert_eq!(tokio::join!(ask(Duration::MAX), ask(Duration::MAX)), (1, 1));
        assert_eq!(ask(Duration::MAX).await, 1, "also when it is over");
        end.notify_one();
        assert_eq!(ask(Duration::ZERO).await, 2);
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_fails_is_given_up() {
        let trouble = Trouble::default();
        assert_eq!(within(Duration::ZERO, "test", &trouble, std::future::pending::<Result<(), _>>()).await, None);
        assert_eq!(bounded("test", &trouble, async { Err::<(), _>(store::Error::Overloaded) }).await, None);
        assert_eq!(bounded("test", &trouble, async { Ok(7) }).await, Some(7));
    }
}
