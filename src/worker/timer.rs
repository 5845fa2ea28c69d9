//! The clock's work: tokens ahead of their end, orphans, expired messages, changed keys, old idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::services::access::Access;
use crate::services::limits::Limits;
use crate::services::sweep::Sweep;
use crate::services::tokens::Tokens;

const TICK: Duration = Duration::from_secs(1);
/// Limits forget who has not asked for long every so many ticks.
const MINUTELY: u64 = 60;
/// Old keys are looked for every so many ticks.
const HOURLY: u64 = 3600;

/// What a tick does.
#[derive(Clone)]
pub struct Timer {
    pub tokens: Tokens,
    pub sweep: Sweep,
    pub access: Access,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
}

impl Timer {
    /// Until `stop`. The first tick comes at once: orphans of a crash do not wait.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = 0u64;
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = interval.tick() => {}
            }
            self.tick(ticks).await;
            ticks += 1;
        }
    }

    /// One tick; `count` is its number.
    pub async fn tick(&self, count: u64) {
        self.tokens.refresh_due();
        report("orphans cannot be taken back", self.sweep.rescue().await);
        report("expired messages cannot be ended", self.sweep.expire().await);
        report("stored keys cannot be read", self.access.refresh().await);
        report("when keys were used cannot be kept", self.access.keep_uses(false).await);
        if count.is_multiple_of(MINUTELY) {
            self.limits.sweep(self.clock.now());
            self.access.sweep();
        }
        if count.is_multiple_of(HOURLY) {
            report("old idempotency keys cannot be forgotten", self.sweep.forget_keys().await);
            report("what is older than its retention cannot be deleted", self.sweep.forget().await);
        }
    }
}

fn report<T>(what: &'static str, result: Result<T, crate::store::Error>) {
    if let Err(error) = result {
        tracing::error!(%error, "{what}");
    }
}
