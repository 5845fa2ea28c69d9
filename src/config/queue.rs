//! `[queue]`.

use std::time::Duration;

use crate::domain::retry::Backoff;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Attempts under way at once.
    pub concurrency: usize,
    pub max_attempts: u32,
    pub backoff: Backoff,
    /// How long a lease is held; longer than one whole attempt can take.
    pub lease: Duration,
    /// Transport failures in a row that open an account's circuit breaker.
    pub breaker_failures: u32,
    /// How long it stays open before one message probes.
    pub breaker_open: Duration,
}
