//! Exponential back-off with jitter.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The wait after try number `tries` (1 = the first). `jitter` is in `0.0..1.0`; the result lies between
    /// 75 % and 125 % of `base · 2^(tries-1)`, and never above `max`.
    pub fn delay(&self, tries: u32, jitter: f64) -> Duration {
        let doublings = tries.saturating_sub(1).min(30);
        let plain = self.base.saturating_mul(1 << doublings).min(self.max);
        plain.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_delay_stays_in_its_bounds(base in 1u64..10_000, max in 1u64..1_000_000, tries in 0u32..100, jitter in 0.0f64..1.0) {
            let backoff = Backoff { base: Duration::from_millis(base), max: Duration::from_millis(max.max(base)) };
            let delay = backoff.delay(tries, jitter);
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay >= backoff.base.mul_f64(0.74));
        }
    }

    #[test]
    fn it_doubles() {
        let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) };
        let middle: Vec<_> = (1..=8).map(|tries| backoff.delay(tries, 0.5).as_secs()).collect();
        assert_eq!(middle, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
