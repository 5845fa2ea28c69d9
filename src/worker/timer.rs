//! The clock's work: tokens ahead of their end, orphans, expired messages, changed keys and accounts; and beside it, hour by hour, what
//! is old enough to be deleted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::services::access::Access;
use crate::services::accounts::Register;
use crate::services::limits::Limits;
use crate::services::quota::Quotas;
use crate::services::suppressions::Suppressions;
use crate::services::sweep::Sweep;
use crate::services::tokens::Tokens;

const TICK: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Ticks in an hour.
const HOURLY: u64 = 3600;

/// What a tick does.
#[derive(Clone)]
pub struct Timer {
    pub tokens: Tokens,
    pub sweep: Sweep,
    pub access: Access,
    pub suppressions: Suppressions,
    pub register: Register,
    pub limits: Limits,
    pub quotas: Quotas,
    pub clock: Arc<dyn Clock>,
}

impl Timer {
    /// Until `stop`. The first tick comes at once: orphans of a crash do not wait. Deleting may take minutes: it holds up
    /// neither the ticks nor the stop.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.every_second() => {}
            () = self.every_minute() => {}
            () = self.every_hour() => {}
        }
    }

    async fn every_second(&self) {
        let mut ticks = paced(TICK);
        loop {
            ticks.tick().await;
            self.look_after().await;
        }
    }

    /// Limits forget who has not asked for long; other nodes may have learnt that an account has no quota left.
    async fn every_minute(&self) {
        let mut minutes = paced(MINUTE);
        loop {
            minutes.tick().await;
            self.limits.sweep(self.clock.now());
            report("parked accounts cannot be read", self.quotas.catch_up().await);
            self.access.sweep();
        }
    }

    async fn every_hour(&self) {
        let mut hours = paced(HOUR);
        loop {
            hours.tick().await;
            self.forget().await;
        }
    }

    /// One tick; `count` is its number, and with each hour's first comes the deleting.
    pub async fn tick(&self, count: u64) {
        self.look_after().await;
        if count.is_multiple_of(HOURLY) {
            self.forget().await;
        }
    }

    async fn look_after(&self) {
        self.tokens.refresh_due();
        self.quotas.refresh_due();
        report("orphans cannot be taken back", self.sweep.rescue().await);
        report("expired messages cannot be ended", self.sweep.expire().await);
        report("stored keys cannot be read", self.access.refresh().await);
        report("what other nodes know of recipients cannot be read", self.suppressions.catch_up().await);
        report("stored accounts cannot be read", self.register.refresh().await);
        report("when keys were used cannot be kept", self.access.keep_uses(false).await);
    }

    async fn forget(&self) {
        report("old idempotency keys cannot be forgotten", self.sweep.forget_keys().await);
        report("what is older than its retention cannot be deleted", self.sweep.forget().await);
    }
}

/// At once, then at least so far apart.
fn paced(span: Duration) -> Interval {
    let mut interval = interval(span);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn report<T>(what: &'static str, result: Result<T, crate::store::Error>) {
    match result {
        Err(error) if error.is_said() => tracing::debug!(%error, "{what}"),
        Err(error) => tracing::error!(%error, "{what}"),
        Ok(_) => {}
    }
}
