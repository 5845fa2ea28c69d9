//! What `Queue::settle` writes when a lease ends.

use super::attempt::{Attempt, AttemptOutcome};
use super::clock::Timestamp;
use super::state::State;

/// The end of one lease: the attempts made under it and where the message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub attempts: Vec<Attempt>,
    pub next: Next,
}

impl Settlement {
    /// When the first attempt began that WeChat answered with "busy" under this lease, or as the lease told.
    pub fn busy_since(&self) -> Option<Timestamp> {
        if let Next::Queued { busy_since: Some(since), .. } = &self.next {
            return Some(*since);
        }
        self.attempts.iter().find(|attempt| attempt.outcome == AttemptOutcome::Busy).map(|attempt| attempt.at)
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// WeChat took it. `msgid` is missing only when WeChat answered a repeat without one.
    Sent {
        msgid: Option<String>,
    },
    /// Again at `due_at`.
    Queued {
        due_at: Timestamp,
        reason: String,
        /// New count of attempts that count against `queue.max_attempts`.
        tries: u32,
        /// Kept from the lease, or set by this attempt.
        doubtful_since: Option<Timestamp>,
        /// As `doubtful_since`; only carried to the next lease.
        busy_since: Option<Timestamp>,
    },
    /// Not before `due_at`: no attempt was made, and none is in doubt.
    Scheduled {
        due_at: Timestamp,
        reason: String,
    },
    Rejected {
        reason: String,
    },
    Unknown {
        reason: String,
    },
    Failed {
        reason: String,
    },
    Expired {
        reason: String,
    },
}

impl Next {
    pub const fn state(&self) -> State {
        match self {
            Self::Sent { .. } => State::Sent,
            Self::Queued { .. } => State::Queued,
            Self::Scheduled { .. } => State::Scheduled,
            Self::Rejected { .. } => State::Rejected,
            Self::Unknown { .. } => State::Unknown,
            Self::Failed { .. } => State::Failed,
            Self::Expired { .. } => State::Expired,
        }
    }
}
