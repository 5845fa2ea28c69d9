//! The buckets of the limits, shared between nodes. They go by the clock of what keeps them: nodes need no common one.

use std::time::Duration;

use async_trait::async_trait;

use super::{Allowance, Error};
use crate::domain::limit::Rate;

/// No verb takes longer than what is left of the allowance; an error means: decide without. Perhaps it was done all the same.
#[async_trait]
pub trait SharedLimits: Send + Sync {
    /// All asks in one piece, one after the other: each takes one from all of its buckets, or from none. → for each ask, how
    /// its buckets stand, in their order.
    async fn ask(&self, allowance: &mut Allowance, asks: &[SharedAsk]) -> Result<Vec<Vec<BucketStanding>>, Error>;
}

/// One message, and the buckets that it is to be taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAsk {
    pub verb: LimitVerb,
    pub buckets: Vec<SharedBucket>,
}

/// What is wanted of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitVerb {
    /// One of each now, or none.
    Take,
    /// One of each at the earliest time, or none when that is not within this span.
    Reserve { within: Duration },
    /// One of each that has one; the others let it pass too.
    Observe,
    /// Nothing: how do they stand?
    Look,
    /// One of each is given back.
    GiveBack,
}

/// One bucket, by a name that tells nobody whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBucket {
    pub name: String,
    pub rate: Rate,
}

/// How a bucket stood when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketStanding {
    /// One was taken.
    pub is_taken: bool,
    /// Until one more could be, had nothing been taken.
    pub wait: Duration,
    /// Until all are there again.
    pub full_in: Duration,
}
