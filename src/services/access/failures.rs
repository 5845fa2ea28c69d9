//! Who fails too often is told to wait. Only failures count, and only who fails again is held up: a right key is taken from
//! any address, however many wrong ones came from it. So it costs an attacker nothing but noise, and no neighbour a call.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::config::limits::LimitsConfig;
use crate::domain::clock::Timestamp;
use crate::services::limits::bucket::Bucket;
use crate::telemetry::metrics::Metrics;

/// Its name under `[limits]`, in metrics, and the reason that callers read.
pub(super) const NAME: &str = "auth_failures";
/// Addresses told apart at once; further ones share a bucket.
const ADDRESSES: usize = 50_000;
const SHARED: u64 = 0;
/// A clock that was set back further than this makes every bucket look taken for as long: they are emptied then.
const SET_BACK: Duration = Duration::from_secs(2);

pub(super) struct Failures {
    /// `None`: not limited.
    bucket: Option<Bucket>,
    observe: bool,
    last_asked: AtomicI64,
    metrics: Metrics,
}

impl Failures {
    pub(super) fn new(config: &LimitsConfig, metrics: Metrics) -> Self {
        let bucket = config.auth_failures.map(Bucket::new);
        Self { bucket, observe: config.observe, last_asked: AtomicI64::new(0), metrics }
    }

    /// One more from there. → how long to wait, when it is one too many.
    pub(super) fn count(&self, from: Option<IpAddr>, now: Timestamp) -> Option<Duration> {
        let bucket = self.bucket.as_ref()?;
        let last = Timestamp::from_millis(self.last_asked.swap(now.as_millis(), Ordering::Relaxed));
        if last.since(now) > SET_BACK {
            bucket.clear();
        }
        let key = if bucket.len() < ADDRESSES { key(from) } else { SHARED };
        let wait = bucket.take(key, now).err()?.wait;
        if self.observe {
            self.metrics.rate_limit_observed(NAME);
            return None;
        }
        self.metrics.rate_limited(NAME);
        Some(wait)
    }

    pub(super) fn sweep(&self, now: Timestamp) {
        if let Some(bucket) = &self.bucket {
            bucket.sweep(now);
        }
    }
}

/// Whoever has an IPv6 address has 2⁶⁴ of them.
fn key(from: Option<IpAddr>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match from.map(|ip| ip.to_canonical()) {
        Some(IpAddr::V4(ip)) => ip.octets().hash(&mut hasher),
        Some(IpAddr::V6(ip)) => ip.octets()[..8].hash(&mut hasher),
        None => {}
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::domain::limit::Rate;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    /// One in three seconds, three at once.
    fn failures() -> Failures {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate { count: number(20), per: Duration::from_secs(60), burst: number(3) };
        Failures::new(&LimitsConfig { auth_failures: Some(rate), ..LimitsConfig::default() }, Metrics::new())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_address_has_a_bucket_of_its_own() {
        let failures = failures();
        for _ in 0..3 {
            assert_eq!(failures.count(ip("10.0.0.1"), at(0)), None);
        }
        assert_eq!(failures.count(ip("10.0.0.1"), at(0)), Some(Duration::from_secs(3)));
        assert_eq!(failures.count(ip("10.0.0.2"), at(0)), None);
        assert_eq!(failures.count(ip("10.0.0.1"), at(3_000)), None);
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        let failures = failures();
        for host in 1..=3 {
            assert_eq!(failures.count(ip(&format!("2001:db8:1:2::{host}")), at(0)), None);
        }
        assert!(failures.count(ip("2001:db8:1:2:ffff::9"), at(0)).is_some());
        assert_eq!(failures.count(ip("2001:db8:1:3::1"), at(0)), None);
        for _ in 0..3 {
            assert_eq!(failures.count(ip("::ffff:10.0.0.1"), at(0)), None);
        }
        assert!(failures.count(ip("10.0.0.1"), at(0)).is_some(), "the same address in another dress");
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let failures = failures();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 1_000 {
            failures.count(Some(IpAddr::V4(n.into())), at(0));
        }
        assert!(failures.bucket.as_ref().unwrap().len() <= ADDRESSES + 1);
        assert!(failures.count(ip("10.0.0.1"), at(0)).is_some(), "latecomers share a bucket");
        failures.sweep(at(10_000));
        assert_eq!(failures.bucket.as_ref().unwrap().len(), 0);
        assert_eq!(failures.count(ip("10.0.0.1"), at(10_000)), None);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_for_hours() {
        let failures = failures();
        for _ in 0..4 {
            failures.count(ip("10.0.0.1"), at(7_200_000));
        }
        assert_eq!(failures.count(ip("10.0.0.1"), at(0)), None);
    }

    #[test]
    fn observing_counts_and_makes_nobody_wait() {
        let metrics = Metrics::new();
        let observing = Failures { observe: true, metrics: metrics.clone(), ..failures() };
        for _ in 0..5 {
            assert_eq!(observing.count(None, at(0)), None);
        }
        let text = metrics.render(&crate::telemetry::metrics::Scrape::default());
        assert!(text.contains("wxgate_rate_limit_observed_total{limit=\"auth_failures\"} 2\n"), "{text}");
    }
}
