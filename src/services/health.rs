//! Is all well? Components for `/ready`, figures for `/metrics`. Every check is bounded and remembered for a moment,
//! so that probes cannot hammer the disk.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::accounts::Accounts;
use super::tokens::Tokens;
use crate::domain::clock::Clock;
use crate::domain::state::State;
use crate::store;
use crate::telemetry::metrics::Scrape;

/// How long one check may take.
const CHECK: Duration = Duration::from_secs(1);
/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

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
    /// `storage`, `redis`, `token.<account>`.
    #[schema(example = "storage")]
    pub name: String,
    pub status: Status,
    /// One short sentence when it is not `ok`. Anybody may read it: it says nothing about causes inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
}

/// The last answer and when it was made.
type Remembered<T> = Mutex<Option<(Instant, T)>>;

#[derive(Clone)]
pub struct Health {
    counts: Arc<dyn store::Counts>,
    shared: Option<Arc<dyn store::SharedTokens>>,
    tokens: Tokens,
    accounts: Accounts,
    clock: Arc<dyn Clock>,
    ready: Arc<Remembered<Vec<Component>>>,
    slow: Arc<Remembered<Slow>>,
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
        shared: Option<Arc<dyn store::SharedTokens>>,
        tokens: Tokens,
        accounts: Accounts,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { counts, shared, tokens, accounts, clock, ready: Arc::default(), slow: Arc::default() }
    }

    /// Every component. The gateway is ready unless one is [`Status::Down`]: it works without Redis, and takes messages
    /// while WeChat is away.
    pub async fn ready(&self) -> Vec<Component> {
        // Held over the checks: callers that come together share one round of them.
        let mut known = self.ready.lock().await;
        if let Some((at, components)) = known.as_ref()
            && at.elapsed() < FRESH
        {
            return components.clone();
        }
        let (storage, redis) = tokio::join!(self.storage(), self.redis());
        let mut components = vec![storage];
        components.extend(redis);
        components.extend(self.accounts.iter().map(|account| self.token(&account.name)));
        *known = Some((Instant::now(), components.clone()));
        components
    }

    async fn storage(&self) -> Component {
        let (status, detail) = match bounded("storage", self.counts.probe()).await {
            Some(()) => (Status::Ok, None),
            None => (Status::Down, Some("nothing can be written")),
        };
        Component { name: "storage".to_owned(), status, detail }
    }

    async fn redis(&self) -> Option<Component> {
        let shared = self.shared.as_ref()?;
        let (status, detail) = match bounded("redis", shared.ping()).await {
            Some(()) => (Status::Ok, None),
            None => (Status::Degraded, Some("away: tokens are not shared between nodes")),
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

    /// What `/metrics` adds to what was counted on the way.
    pub async fn figures(&self) -> Scrape {
        // The two are not read at one moment: a sum that lies between two readings is right.
        let before = self.counts.accepted();
        let states = self.counts.states();
        let after = self.counts.accepted();
        let slow = self.slow().await;
        let mut scrape = Scrape {
            accepted: after,
            unaccounted: unaccounted(before, states.iter().map(|line| line.count).sum(), after),
            oldest_ready: slow.oldest_ready,
            unmatched_receipts: slow.unmatched_receipts,
            tokens: self.token_lives(),
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
        let mut known = self.slow.lock().await;
        if let Some((at, slow)) = *known
            && at.elapsed() < FRESH
        {
            return slow;
        }
        let now = self.clock.now();
        let (oldest, unmatched) = tokio::join!(
            bounded("oldest_ready", self.counts.oldest_ready(now)),
            bounded("unmatched_receipts", self.counts.unmatched_receipts()),
        );
        let oldest_ready = oldest.map(|due| due.map_or(Duration::ZERO, |due| now.since(due)));
        let slow = Slow { oldest_ready, unmatched_receipts: unmatched };
        *known = Some((Instant::now(), slow));
        slow
    }

    fn token_lives(&self) -> Vec<(String, f64)> {
        let now = self.clock.now();
        let life = |account: &str| {
            let expires_at = self.tokens.status(account).and_then(|status| status.expires_at);
            expires_at.map_or(0.0, |at| at.since(now).as_secs_f64())
        };
        self.accounts.iter().map(|account| (account.name.to_string(), life(&account.name))).collect()
    }
}

/// Accepted less accounted for, given what was accepted before and after the states were read.
fn unaccounted(before: u64, accounted: u64, after: u64) -> i64 {
    let nearest = accounted.clamp(before.min(after), after);
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    whole(nearest) - whole(accounted)
}

/// `None` when the check failed or took too long; the cause is in the log.
async fn bounded<T>(what: &'static str, check: impl Future<Output = Result<T, store::Error>>) -> Option<T> {
    within(CHECK, what, check).await
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    check: impl Future<Output = Result<T, store::Error>>,
) -> Option<T> {
    match timeout(limit, check).await {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            tracing::warn!(component = what, %error, "a health check failed");
            None
        }
        Err(_) => {
            tracing::warn!(component = what, "a health check took longer than {limit:?}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_between_two_readings_is_accounted_for() {
        assert_eq!(unaccounted(10, 10, 10), 0);
        assert_eq!(unaccounted(10, 11, 12), 0);
        assert_eq!(unaccounted(10, 9, 12), 1);
        assert_eq!(unaccounted(10, 15, 12), -3);
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_fails_is_given_up() {
        assert_eq!(within(Duration::ZERO, "test", std::future::pending::<Result<(), _>>()).await, None);
        assert_eq!(bounded("test", async { Err::<(), _>(store::Error::Overloaded) }).await, None);
        assert_eq!(bounded("test", async { Ok(7) }).await, Some(7));
    }
}
