//! `[queue]`.

use std::time::Duration;

use super::read::Section;
use super::wechat::WechatConfig;
use crate::domain::retry::Backoff;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Attempts under way at once.
    pub concurrency: usize,
    pub max_attempts: u32,
    pub backoff: Backoff,
    /// How long a lease is held; longer than one whole attempt can take.
    pub lease: Duration,
    /// Bad calls in a row that shut an account's line to WeChat.
    pub breaker_failures: u32,
    /// How long it stays shut before one message probes.
    pub breaker_open: Duration,
}

/// What an attempt needs beside the calls themselves: the queue, the store, a slow machine.
const LEASE_MARGIN: Duration = Duration::from_secs(5);

impl QueueConfig {
    pub(super) fn read(section: &mut Section<'_>, wechat: &WechatConfig) -> Self {
        let (millisecond, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
        let config = Self {
            concurrency: section.count("concurrency", 1..=10_000),
            max_attempts: section.count("max_attempts", 1..=100),
            backoff: Backoff {
                base: section.span("backoff_base", millisecond..=hour),
                max: section.span("backoff_max", millisecond..=24 * hour),
            },
            lease: section.span("lease", Duration::from_secs(1)..=hour),
            breaker_failures: section.count("breaker_failures", 1..=10_000),
            breaker_open: section.span("breaker_open", millisecond..=hour),
        };
        if config.backoff.base > config.backoff.max {
            section.wrong("backoff_base", "must not be longer than queue.backoff_max");
        }
        config.check_lease(section, wechat);
        config
    }

    /// A lease that ends while its attempt still runs would send the message a second time.
    fn check_lease(&self, section: &Section<'_>, wechat: &WechatConfig) {
        let call = wechat.timeout + wechat.connect_timeout;
        let stale_token_and_again = 4 * wechat.timeout + LEASE_MARGIN;
        if self.lease <= call + LEASE_MARGIN {
            let least = (call + LEASE_MARGIN).as_secs() + 1;
            let sum = "wechat.timeout + wechat.connect_timeout + 5s";
            section.wrong("lease", format!("has to be longer than {sum}: at least \"{least}s\""));
        } else if self.lease < stale_token_and_again {
            let enough = stale_token_and_again.as_secs();
            section.warn(
                "lease",
                &format!("an attempt that has to renew its token can take longer; \"{enough}s\" is enough"),
            );
        }
    }
}
