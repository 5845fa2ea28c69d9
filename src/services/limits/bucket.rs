//! One limit over many keys: GCRA on governor's lock-free store. What is kept of a key is the time at which its bucket
//! would be full again; a key whose time has come is forgotten.
//!
//! governor's own verb can neither ask without taking nor take ahead of time, and both are wanted here; its cells, their
//! atomic replacement and their sweeping are used as they are.

use std::time::Duration;

use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};

use crate::domain::clock::Timestamp;
use crate::domain::limit::Rate;
use crate::store::limits::BucketStanding;

/// One of many things that are limited: a hash of its parts.
pub(in crate::services) type Key = u64;

pub(in crate::services) struct Bucket {
    pub(in crate::services) rate: Rate,
    cells: DashMapStateStore<Key>,
    pace: u64,
    /// How far the pace may be run ahead of.
    tolerance: u64,
}

impl Bucket {
    pub(in crate::services) fn new(rate: Rate) -> Self {
        let pace = nanos(rate.pace());
        let tolerance = pace.saturating_mul(u64::from(rate.burst.get() - 1));
        Self { rate, cells: DashMapStateStore::default(), pace, tolerance }
    }

    /// Takes one now; `Err`, and nothing taken, when it is too early.
    pub(in crate::services) fn take(&self, key: Key, now: Timestamp) -> Result<BucketStanding, BucketStanding> {
        let at = nanos_of(now);
        self.cells.measure_and_replace(&key, |full_at| {
            let full_at = full_at.map_or(at, u64::from).max(at);
            if full_at.saturating_sub(self.tolerance) > at {
                return Err(self.standing(full_at, at));
            }
            let next = full_at.saturating_add(self.pace);
            Ok((taken(Duration::ZERO, next, at), Nanos::from(next)))
        })
    }

    /// Undoes a `take`.
    pub(in crate::services) fn give_back(&self, key: Key) {
        let undone: Result<(), std::convert::Infallible> = self.cells.measure_and_replace(&key, |full_at| {
            Ok(((), Nanos::from(full_at.map_or(0, u64::from).saturating_sub(self.pace))))
        });
        let Ok(()) = undone;
    }

    /// Takes one at the earliest time from `now` on; `wait` tells how long that is away.
    pub(in crate::services) fn reserve(&self, key: Key, now: Timestamp) -> BucketStanding {
        let at = nanos_of(now);
        let reserved: Result<BucketStanding, std::convert::Infallible> =
            self.cells.measure_and_replace(&key, |full_at| {
                let full_at = full_at.map_or(at, u64::from).max(at);
                let wait = full_at.saturating_sub(self.tolerance).saturating_sub(at);
                let next = full_at.saturating_add(self.pace);
                Ok((taken(Duration::from_nanos(wait), next, at), Nanos::from(next)))
            });
        let Ok(standing) = reserved;
        standing
    }

    /// As it stands; nothing is taken.
    pub(in crate::services) fn look(&self, key: Key, now: Timestamp) -> BucketStanding {
        let at = nanos_of(now);
        let seen: Result<(), BucketStanding> = self
            .cells
            .measure_and_replace(&key, |full_at| Err(self.standing(full_at.map_or(at, u64::from).max(at), at)));
        seen.map_or_else(|standing| standing, |()| self.standing(at, at))
    }

    /// Forgets the keys whose buckets are full again.
    pub(in crate::services) fn sweep(&self, now: Timestamp) {
        self.cells.retain_recent(Nanos::from(nanos_of(now)));
        self.cells.shrink_to_fit();
    }

    pub(in crate::services) fn clear(&self) {
        self.cells.retain_recent(Nanos::from(u64::MAX));
    }

    pub(in crate::services) fn len(&self) -> usize {
        self.cells.len()
    }

    fn standing(&self, full_at: u64, at: u64) -> BucketStanding {
        let full_in = full_at.saturating_sub(at);
        BucketStanding {
            is_taken: false,
            wait: Duration::from_nanos(full_in.saturating_sub(self.tolerance)),
            full_in: Duration::from_nanos(full_in),
        }
    }
}

fn taken(wait: Duration, full_at: u64, at: u64) -> BucketStanding {
    BucketStanding { is_taken: true, wait, full_in: Duration::from_nanos(full_at.saturating_sub(at)) }
}

fn nanos_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1_000_000)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    /// Thirty a minute, three at once: one in two seconds.
    fn bucket() -> Bucket {
        let number = |n| NonZeroU32::new(n).unwrap();
        Bucket::new(Rate { count: number(30), per: Duration::from_secs(60), burst: number(3) })
    }

    #[test]
    fn the_burst_goes_at_once_and_then_the_pace() {
        let bucket = bucket();
        let remaining = [0, 1, 2].map(|_| bucket.rate.remaining(bucket.take(7, at(0)).unwrap().full_in));
        assert_eq!(remaining, [2, 1, 0]);
        let refused = bucket.take(7, at(0)).unwrap_err();
        assert_eq!((bucket.rate.remaining(refused.full_in), refused.wait), (0, Duration::from_secs(2)));
        assert!(bucket.take(7, at(1_999)).is_err());
        bucket.take(7, at(2_000)).unwrap();
        assert!(bucket.take(7, at(2_000)).is_err());
        // Another key has a bucket of its own.
        bucket.take(8, at(2_000)).unwrap();
    }

    #[test]
    fn a_refusal_takes_nothing_and_a_look_neither() {
        let bucket = bucket();
        for _ in 0..3 {
            bucket.take(7, at(0)).unwrap();
        }
        for _ in 0..100 {
            assert!(bucket.take(7, at(1_000)).is_err());
            assert_eq!(bucket.look(7, at(1_000)).wait, Duration::from_secs(1));
        }
        bucket.take(7, at(2_000)).unwrap();
        assert_eq!(bucket.rate.remaining(bucket.look(9, at(0)).full_in), 3);
    }

    #[test]
    fn reservations_stand_in_line_and_nobody_passes_them() {
        let bucket = bucket();
        let waits = [0, 1, 2, 3, 4].map(|_| bucket.reserve(7, at(0)).wait.as_secs());
        assert_eq!(waits, [0, 0, 0, 2, 4]);
        assert_eq!(bucket.take(7, at(4_000)).unwrap_err().wait, Duration::from_secs(2));
        bucket.take(7, at(6_000)).unwrap();
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let bucket = bucket();
        for key in 0..1_000 {
            bucket.take(key, at(0)).unwrap();
        }
        bucket.sweep(at(1_999));
        assert_eq!(bucket.len(), 1_000);
        bucket.sweep(at(2_001));
        assert_eq!(bucket.len(), 0);
    }
}
