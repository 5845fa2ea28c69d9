//! The buckets of this process. They decide where nothing is shared, and when what is shared cannot be asked.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::Ask;
use super::bucket::{Bucket, Key};
use crate::config::limits::LimitsConfig;
use crate::domain::clock::Timestamp;
use crate::domain::limit::{LimitKind, Rate};
use crate::store::limits::{BucketStanding, LimitVerb};

/// A clock that was set back further than this makes every bucket look taken for as long: they are emptied then.
const SET_BACK: Duration = Duration::from_secs(2);

pub(super) struct Local {
    buckets: Vec<(LimitKind, Bucket)>,
    last_asked: AtomicI64,
}

/// One key of one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: LimitKind,
    pub(super) rate: Rate,
    pub(super) key: Key,
    bucket: usize,
}

impl Local {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        let rates = [
            (LimitKind::Client, config.client),
            (LimitKind::Openid, config.openid),
            (LimitKind::Identical, config.identical),
        ];
        let buckets = rates.into_iter().filter_map(|(kind, rate)| Some((kind, Bucket::new(rate?)))).collect();
        Self { buckets, last_asked: AtomicI64::new(0) }
    }

    /// What a message is taken from.
    pub(super) fn places(&self, ask: &Ask<'_>) -> Vec<Place> {
        let buckets = self.buckets.iter().enumerate();
        let place = |(index, (kind, bucket)): (usize, &(LimitKind, Bucket))| {
            Some(Place { kind: *kind, rate: bucket.rate, key: key(*kind, ask)?, bucket: index })
        };
        buckets.filter_map(place).collect()
    }

    /// As [`crate::store::SharedLimits::ask`], for one message.
    pub(super) fn ask(&self, verb: LimitVerb, places: &[Place], now: Timestamp) -> Vec<BucketStanding> {
        match verb {
            LimitVerb::Take => self.take(places, now).unwrap_or_else(|| self.look(places, now)),
            LimitVerb::Reserve { within } => self.take(places, now).unwrap_or_else(|| {
                let looks = self.look(places, now);
                match looks.iter().all(|look| look.wait < within) {
                    true => self.reserve(places, now),
                    false => looks,
                }
            }),
            LimitVerb::Observe => {
                let asked = places.iter().map(|place| self.bucket(place).take(place.key, now));
                asked.map(|standing| standing.unwrap_or_else(|early| early)).collect()
            }
            LimitVerb::Look => self.look(places, now),
            LimitVerb::GiveBack => {
                self.give_back(places);
                self.look(places, now)
            }
        }
    }

    /// One of each, however early it is.
    pub(super) fn reserve(&self, places: &[Place], now: Timestamp) -> Vec<BucketStanding> {
        places.iter().map(|place| self.bucket(place).reserve(place.key, now)).collect()
    }

    pub(super) fn look(&self, places: &[Place], now: Timestamp) -> Vec<BucketStanding> {
        places.iter().map(|place| self.bucket(place).look(place.key, now)).collect()
    }

    pub(super) fn give_back(&self, places: &[Place]) {
        for place in places {
            self.bucket(place).give_back(place.key);
        }
    }

    /// Forgets whoever has not asked for so long that it makes no difference.
    pub(super) fn sweep(&self, now: Timestamp) {
        for (_, bucket) in &self.buckets {
            bucket.sweep(now);
        }
    }

    pub(super) fn follow_the_clock(&self, now: Timestamp) {
        let last = Timestamp::from_millis(self.last_asked.swap(now.as_millis(), Ordering::Relaxed));
        if last.since(now) > SET_BACK {
            tracing::warn!("the clock was set back: the limits start anew");
            self.buckets.iter().for_each(|(_, bucket)| bucket.clear());
        }
    }

    /// One of each, or `None`.
    fn take(&self, places: &[Place], now: Timestamp) -> Option<Vec<BucketStanding>> {
        let mut standings = Vec::with_capacity(places.len());
        for (index, place) in places.iter().enumerate() {
            let Ok(standing) = self.bucket(place).take(place.key, now) else {
                self.give_back(&places[..index]);
                return None;
            };
            standings.push(standing);
        }
        Some(standings)
    }

    fn bucket(&self, place: &Place) -> &Bucket {
        &self.buckets[place.bucket].1
    }
}

/// Whom a limit counts, without telling who it is. `DefaultHasher` gives every process of one build the same.
fn key(kind: LimitKind, ask: &Ask<'_>) -> Option<Key> {
    let mut hasher = DefaultHasher::new();
    match kind {
        LimitKind::Client => ask.client.hash(&mut hasher),
        LimitKind::Openid => (ask.account, ask.openid).hash(&mut hasher),
        LimitKind::Identical => (ask.account, ask.openid, ask.content?).hash(&mut hasher),
        // No bucket: `services::quota`.
        LimitKind::Account => return None,
    }
    Some(hasher.finish())
}
