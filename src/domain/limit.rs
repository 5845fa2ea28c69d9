//! Rates: how often something may happen, and how much of it at once.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many in a span of time, spread evenly, `burst` of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
    pub burst: NonZeroU32,
}

impl Rate {
    /// The time that one takes at an even pace, in whole µs, so that every node and store counts alike; never zero.
    pub fn pace(&self) -> Duration {
        let nanos = (self.per / self.count.get()).as_nanos();
        Duration::from_micros(u64::try_from((nanos + 500) / 1_000).unwrap_or(u64::MAX).max(1))
    }

    /// How many there are at once when all of them are so far away.
    pub fn remaining(&self, full_in: Duration) -> u32 {
        let pace = self.pace().as_nanos();
        let free = (pace * u128::from(self.burst.get())).saturating_sub(full_in.as_nanos());
        u32::try_from(free / pace).unwrap_or(u32::MAX)
    }
}

/// How fast an account's messages go to WeChat: as at first, and in the long run at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub first: Rate,
    /// In `first.per`.
    pub top: NonZeroU32,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    Client,
    Openid,
    Identical,
    /// What WeChat, or the operator, lets the account send in a day.
    Account,
}

impl LimitKind {
    pub const ALL: [Self; 4] = [Self::Client, Self::Openid, Self::Identical, Self::Account];

    /// Its name under `[limits]`, in metrics and in `RateLimit` headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Openid => "openid",
            Self::Identical => "identical",
            Self::Account => "account",
        }
    }

    /// What a refusal calls it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Client => "client_rate",
            Self::Openid => "openid_rate",
            Self::Identical => "identical_message",
            Self::Account => "account_quota",
        }
    }
}

/// What to do with a message that meets a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// 429, nothing is stored.
    #[default]
    Reject,
    /// It is `scheduled` for the earliest time at which every limit allows it.
    Defer,
}

impl OnLimit {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "reject" => Some(Self::Reject),
            "defer" => Some(Self::Defer),
            _ => None,
        }
    }
}
