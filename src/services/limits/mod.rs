//! How often a client may send, a person may be written to, and the same text may go to the same person: asked once for
//! each message, before it is kept. All limits allow it, or nothing is taken from any.

pub(super) mod bucket;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use self::bucket::{Bucket, Key};
use crate::config::limits::LimitsConfig;
use crate::domain::clock::Timestamp;
use crate::domain::limit::{LimitKind, OnLimit, Rate};
use crate::telemetry::metrics::Metrics;

/// A clock that was set back further than this makes every bucket look taken for as long: they are emptied then.
const SET_BACK: Duration = Duration::from_secs(2);

/// The limits of this process. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    buckets: Vec<(LimitKind, Bucket)>,
    observe: bool,
    last_asked: AtomicI64,
    metrics: Metrics,
}

/// Who wants to write what to whom.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub client: &'a str,
    pub account: &'a str,
    pub openid: &'a str,
    /// A hash of what the person would read; `None`: it is meant to be said again.
    pub content: Option<u64>,
}

/// What the limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Now.
    Go(Vec<Standing>),
    /// Not before this time, which is taken: `OnLimit::Defer` alone gets this.
    Later {
        at: Timestamp,
        standings: Vec<Standing>,
    },
    Refused(Refusal),
}

/// Which limit refused, and how long it will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: LimitKind,
    pub wait: Duration,
    pub standings: Vec<Standing>,
}

/// One limit as it stands for one asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub kind: LimitKind,
    pub rate: Rate,
    /// How many more would be taken at once.
    pub remaining: u32,
    /// Until all of its burst is there again.
    pub full_in: Duration,
}

impl Limits {
    pub fn new(config: &LimitsConfig, metrics: Metrics) -> Self {
        let rates = [
            (LimitKind::Client, config.client),
            (LimitKind::Openid, config.openid),
            (LimitKind::Identical, config.identical),
        ];
        let buckets = rates.into_iter().filter_map(|(kind, rate)| Some((kind, Bucket::new(rate?)))).collect();
        Self(Arc::new(Inner { buckets, observe: config.observe, last_asked: AtomicI64::new(0), metrics }))
    }

    /// Asks every limit, and takes one of each when all allow it. With `Defer`, a place ahead of time is taken instead of a
    /// refusal, as long as it lies before `until`.
    pub fn ask(&self, ask: Ask<'_>, on_limit: OnLimit, now: Timestamp, until: Timestamp) -> Answer {
        self.follow_the_clock(now);
        let asked: Vec<(LimitKind, &Bucket, Key)> = self.0.asked(ask).collect();
        let mut standings = Vec::with_capacity(asked.len());
        for (index, (kind, bucket, key)) in asked.iter().enumerate() {
            match bucket.take(*key, now) {
                Ok(standing) => standings.push(of(*kind, bucket.rate, standing)),
                Err(_) if self.0.observe => self.0.metrics.rate_limit_observed(kind.as_str()),
                Err(_) => {
                    for (_, bucket, key) in &asked[..index] {
                        bucket.give_back(*key);
                    }
                    return self.held_up(&asked, on_limit, now, until);
                }
            }
        }
        Answer::Go(standings)
    }

    /// Undoes an `ask` that was not refused.
    pub fn give_back(&self, ask: Ask<'_>) {
        for (_, bucket, key) in self.0.asked(ask) {
            bucket.give_back(key);
        }
    }

    /// As every limit stands; nothing is taken.
    pub fn look(&self, ask: Ask<'_>, now: Timestamp) -> Vec<Standing> {
        self.0.asked(ask).map(|(kind, bucket, key)| of(kind, bucket.rate, bucket.look(key, now))).collect()
    }

    /// Forgets whoever has not asked for so long that it makes no difference.
    pub fn sweep(&self, now: Timestamp) {
        for (_, bucket) in &self.0.buckets {
            bucket.sweep(now);
        }
    }

    fn held_up(
        &self,
        asked: &[(LimitKind, &Bucket, Key)],
        on_limit: OnLimit,
        now: Timestamp,
        until: Timestamp,
    ) -> Answer {
        let looks = asked.iter().map(|(kind, bucket, key)| (*kind, bucket.rate, bucket.look(*key, now)));
        let looks: Vec<_> = looks.collect();
        let standings = looks.iter().map(|(kind, rate, look)| of(*kind, *rate, *look)).collect();
        let longest = looks.iter().max_by_key(|(.., look)| look.wait);
        let (kind, wait) = longest.map_or((LimitKind::Client, Duration::ZERO), |(kind, _, look)| (*kind, look.wait));
        if on_limit == OnLimit::Defer && now.plus(wait) < until {
            let waits = asked.iter().map(|(_, bucket, key)| bucket.reserve(*key, now));
            let wait = waits.max().unwrap_or_default();
            return Answer::Later { at: now.plus(round_up(wait)), standings };
        }
        self.0.metrics.rate_limited(kind.as_str());
        Answer::Refused(Refusal { kind, wait, standings })
    }

    fn follow_the_clock(&self, now: Timestamp) {
        let last = Timestamp::from_millis(self.0.last_asked.swap(now.as_millis(), Ordering::Relaxed));
        if last.since(now) > SET_BACK {
            tracing::warn!("the clock was set back: the limits start anew");
            self.0.buckets.iter().for_each(|(_, bucket)| bucket.clear());
        }
    }
}

impl Inner {
    fn asked<'a>(&'a self, ask: Ask<'a>) -> impl Iterator<Item = (LimitKind, &'a Bucket, Key)> {
        self.buckets.iter().filter_map(move |(kind, bucket)| Some((*kind, bucket, key(*kind, ask)?)))
    }
}

/// Whom a limit counts. `DefaultHasher` gives every process the same.
fn key(kind: LimitKind, ask: Ask<'_>) -> Option<Key> {
    let mut hasher = DefaultHasher::new();
    match kind {
        LimitKind::Client => ask.client.hash(&mut hasher),
        LimitKind::Openid => (ask.account, ask.openid).hash(&mut hasher),
        LimitKind::Identical => (ask.account, ask.openid, ask.content?).hash(&mut hasher),
    }
    Some(hasher.finish())
}

fn of(kind: LimitKind, rate: Rate, standing: bucket::Standing) -> Standing {
    Standing { kind, rate, remaining: standing.remaining, full_in: standing.full_in }
}

/// To whole milliseconds, which is what rows keep.
fn round_up(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    fn rate(count: u32, burst: u32) -> Option<Rate> {
        let number = |n| NonZeroU32::new(n).unwrap();
        Some(Rate { count: number(count), per: Duration::from_secs(60), burst: number(burst) })
    }

    fn limits(config: LimitsConfig) -> Limits {
        Limits::new(&config, Metrics::new())
    }

    fn to(openid: &str, content: u64) -> Ask<'_> {
        Ask { client: "crm", account: "shop", openid, content: Some(content) }
    }

    fn ask(limits: &Limits, what: Ask<'_>, on_limit: OnLimit, now: Timestamp) -> Answer {
        limits.ask(what, on_limit, now, now.plus(Duration::from_secs(3600)))
    }

    fn refused_by(answer: Answer) -> Option<LimitKind> {
        match answer {
            Answer::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    #[test]
    fn a_refusal_by_one_limit_takes_nothing_from_the_others() {
        let limits = limits(LimitsConfig { client: rate(60, 3), openid: rate(60, 2), ..LimitsConfig::default() });
        for _ in 0..2 {
            assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
        }
        for _ in 0..50 {
            assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Openid));
        }
        assert!(matches!(ask(&limits, to("o2", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
        assert_eq!(refused_by(ask(&limits, to("o3", 1), OnLimit::Reject, at(0))), Some(LimitKind::Client));
    }

    #[test]
    fn only_the_same_words_to_the_same_person_are_identical() {
        let limits = limits(LimitsConfig { identical: rate(1, 1), ..LimitsConfig::default() });
        for (openid, content) in [("o1", 1), ("o1", 2), ("o2", 1)] {
            assert!(matches!(ask(&limits, to(openid, content), OnLimit::Reject, at(0)), Answer::Go(_)));
        }
        assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Identical));
        let meant = Ask { content: None, ..to("o1", 1) };
        assert!(matches!(ask(&limits, meant, OnLimit::Reject, at(0)), Answer::Go(_)));
    }

    #[test]
    fn deferred_ones_get_places_one_after_the_other() {
        let limits = limits(LimitsConfig { openid: rate(60, 1), ..LimitsConfig::default() });
        let mut places = Vec::new();
        for _ in 0..4 {
            match ask(&limits, to("o1", 1), OnLimit::Defer, at(0)) {
                Answer::Go(_) => places.push(at(0)),
                Answer::Later { at, .. } => places.push(at),
                Answer::Refused(_) => panic!("deferred ones are not refused"),
            }
        }
        assert_eq!(places, [at(0), at(1_000), at(2_000), at(3_000)]);
        let too_late = limits.ask(to("o1", 1), OnLimit::Defer, at(0), at(4_000));
        assert_eq!(refused_by(too_late), Some(LimitKind::Openid));
    }

    #[test]
    fn observing_counts_and_lets_pass() {
        let limits = limits(LimitsConfig { openid: rate(1, 1), observe: true, ..LimitsConfig::default() });
        for _ in 0..3 {
            assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
        }
        let text = limits.0.metrics.render(&crate::telemetry::metrics::Scrape::default());
        assert!(text.contains("wxgate_rate_limit_observed_total{limit=\"openid\"} 2\n"), "{text}");
        assert!(!text.contains("wxgate_rate_limited_total{limit=\"openid\"}"), "{text}");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let limits = limits(LimitsConfig { openid: rate(1, 1), ..LimitsConfig::default() });
        assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(7_200_000)), Answer::Go(_)));
        assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
        assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Openid));
    }
}
