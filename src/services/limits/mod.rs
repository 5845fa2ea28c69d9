//! How often a client may send, a person may be written to, and the same text may go to the same person: asked once for
//! each message, before it is kept. All limits allow it, or nothing is taken from any.
//!
//! With Redis the nodes share the buckets. What is taken there is taken here too, so that a node that loses sight of Redis
//! goes on from where it stood.

pub(super) mod bucket;
mod local;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use self::local::{Local, Place};
use crate::config::limits::LimitsConfig;
use crate::domain::clock::Timestamp;
use crate::domain::limit::{LimitKind, OnLimit, Rate};
use crate::store::limits::{BucketStanding, LimitVerb, SharedAsk, SharedBucket};
use crate::store::{Allowance, SharedLimits};
use crate::telemetry::metrics::Metrics;

/// Messages in one question to what is shared: it answers nobody else meanwhile.
const AT_ONCE: usize = 100;

/// The limits. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    local: Local,
    shared: Option<Arc<dyn SharedLimits>>,
    observe: bool,
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
    pub on_limit: OnLimit,
    /// A place at or after this is of no use.
    pub until: Timestamp,
}

/// What the limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Go(Pass),
    Refused(Refusal),
}

/// The message may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Not before this time, which is taken; `None`: now. `OnLimit::Defer` alone gets one.
    pub at: Option<Timestamp>,
    pub standings: Vec<Standing>,
    pub taken: Taken,
}

/// What a message has taken, to be given back when it is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    places: Vec<Place>,
    is_shared: bool,
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

/// One message's buckets, and what is wanted of them.
struct Question {
    verb: LimitVerb,
    places: Vec<Place>,
}

impl Limits {
    /// `shared`: the buckets of all nodes.
    pub fn new(config: &LimitsConfig, shared: Option<Arc<dyn SharedLimits>>, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { local: Local::new(config), shared, observe: config.observe, metrics }))
    }

    /// Asks every limit for each message, one after the other, and takes one of each when all allow it. With `Defer`, a place
    /// ahead of time is taken instead of a refusal. `waited`: what the request has spent of its allowance.
    pub async fn ask(&self, asks: &[Ask<'_>], now: Timestamp, waited: Duration) -> Vec<Answer> {
        self.0.local.follow_the_clock(now);
        let questions: Vec<Question> = asks.iter().map(|ask| self.question(ask, now)).collect();
        let mut answers = Vec::with_capacity(asks.len());
        let mut allowance = Allowance::after(waited);
        for piece in questions.chunks(AT_ONCE) {
            if let [question] = piece
                && let Some(refused) = self.refused_here(question, now)
            {
                answers.push(refused);
                continue;
            }
            let shared = self.ask_shared(piece, &mut allowance).await;
            for (index, question) in piece.iter().enumerate() {
                let standings = match shared.as_ref().and_then(|shared| shared.get(index)) {
                    Some(standings) => {
                        self.take_here_too(question, standings, now);
                        standings.clone()
                    }
                    None => self.0.local.ask(question.verb, &question.places, now),
                };
                answers.push(self.answer(question, &standings, shared.is_some(), now));
            }
        }
        answers
    }

    /// A refusal that no bucket has to say.
    pub fn refuse(&self, kind: LimitKind, wait: Duration) -> Refusal {
        self.0.metrics.rate_limited(kind.as_str());
        Refusal { kind, wait, standings: Vec::new() }
    }

    /// Undoes what passed.
    pub async fn give_back(&self, taken: Vec<Taken>) {
        for taken in &taken {
            self.0.local.give_back(&taken.places);
        }
        let shared = taken.into_iter().filter(|taken| taken.is_shared);
        let questions: Vec<Question> =
            shared.map(|taken| Question { verb: LimitVerb::GiveBack, places: taken.places }).collect();
        let mut allowance = Allowance::default();
        for piece in questions.chunks(AT_ONCE) {
            // What cannot be given back comes back with time.
            let _ = self.ask_shared(piece, &mut allowance).await;
        }
    }

    /// As every limit stands; nothing is taken.
    pub async fn look(&self, ask: &Ask<'_>, now: Timestamp, waited: Duration) -> Vec<Standing> {
        let question = Question { verb: LimitVerb::Look, places: self.0.local.places(ask) };
        let shared = self.ask_shared(std::slice::from_ref(&question), &mut Allowance::after(waited)).await;
        let standings = shared.and_then(|shared| shared.into_iter().next());
        told(&question, &standings.unwrap_or_else(|| self.0.local.look(&question.places, now)))
    }

    /// Forgets whoever has not asked for so long that it makes no difference.
    pub fn sweep(&self, now: Timestamp) {
        self.0.local.sweep(now);
    }

    fn question(&self, ask: &Ask<'_>, now: Timestamp) -> Question {
        let verb = match ask.on_limit {
            _ if self.0.observe => LimitVerb::Observe,
            OnLimit::Reject => LimitVerb::Take,
            OnLimit::Defer => LimitVerb::Reserve { within: ask.until.since(now) },
        };
        Question { verb, places: self.0.local.places(ask) }
    }

    /// `None`: nothing is shared, it cannot be asked, or there is nothing to ask.
    async fn ask_shared(&self, questions: &[Question], allowance: &mut Allowance) -> Option<Vec<Vec<BucketStanding>>> {
        let shared = self.0.shared.as_ref()?;
        if questions.iter().all(|question| question.places.is_empty()) {
            return None;
        }
        let asks: Vec<SharedAsk> = questions.iter().map(Question::shared).collect();
        match shared.ask(allowance, &asks).await {
            Ok(standings) => Some(standings),
            Err(error) => {
                tracing::debug!(%error, "this process decides about limits by itself");
                self.0.metrics.limit_fallbacks(asks.len());
                None
            }
        }
    }

    /// What this node alone has taken is too much already: nobody else need be asked.
    fn refused_here(&self, question: &Question, now: Timestamp) -> Option<Answer> {
        if self.0.shared.is_none() || question.verb != LimitVerb::Take {
            return None;
        }
        let standings = self.0.local.look(&question.places, now);
        let is_refused = standings.iter().any(|standing| !standing.wait.is_zero());
        is_refused.then(|| self.answer(question, &standings, false, now))
    }

    fn take_here_too(&self, question: &Question, standings: &[BucketStanding], now: Timestamp) {
        for (place, standing) in question.places.iter().zip(standings) {
            if standing.is_taken {
                self.0.local.reserve(std::slice::from_ref(place), now);
            }
        }
    }

    fn answer(&self, question: &Question, standings: &[BucketStanding], is_shared: bool, now: Timestamp) -> Answer {
        let Question { verb, places } = question;
        let longest = places.iter().zip(standings).max_by_key(|(_, standing)| standing.wait);
        let longest = longest.map(|(place, standing)| (place.kind, standing.wait));
        if let Some((kind, wait)) = longest
            && *verb != LimitVerb::Observe
            && standings.iter().any(|standing| !standing.is_taken)
        {
            self.0.metrics.rate_limited(kind.as_str());
            return Answer::Refused(Refusal { kind, wait, standings: told(question, standings) });
        }
        let mut taken = Taken { places: Vec::with_capacity(places.len()), is_shared };
        for (place, standing) in places.iter().zip(standings) {
            match standing.is_taken {
                true => taken.places.push(*place),
                false => self.0.metrics.rate_limit_observed(place.kind.as_str()),
            }
        }
        let wait = longest.map_or(Duration::ZERO, |(_, wait)| wait);
        let is_later = matches!(verb, LimitVerb::Reserve { .. }) && !wait.is_zero();
        let at = is_later.then(|| now.plus(round_up(wait)));
        Answer::Go(Pass { at, standings: told(question, standings), taken })
    }
}

impl Question {
    fn shared(&self) -> SharedAsk {
        let bucket = |place: &Place| SharedBucket {
            name: format!("{}:{:016x}", place.kind.as_str(), place.key),
            rate: place.rate,
        };
        SharedAsk { verb: self.verb, buckets: self.places.iter().map(bucket).collect() }
    }
}

fn told(question: &Question, standings: &[BucketStanding]) -> Vec<Standing> {
    let told = question.places.iter().zip(standings).map(|(place, standing)| Standing {
        kind: place.kind,
        rate: place.rate,
        remaining: place.rate.remaining(standing.full_in),
        full_in: standing.full_in,
    });
    told.collect()
}

/// To whole milliseconds, which is what rows keep.
fn round_up(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
