//! The states of a message and its lane in the queue.

use serde::{Deserialize, Serialize};

/// Where a message stands. Stored and shown by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its `send_at`.
    Scheduled,
    /// Ready, or waiting for the next try.
    Queued,
    /// Leased by a worker.
    Sending,
    /// WeChat answered errcode 0; the receipt is pending.
    Sent,
    /// The receipt said success.
    Delivered,
    /// The receipt said failed.
    Undelivered,
    /// WeChat refused it for good.
    Rejected,
    /// Bytes left for WeChat and no answer can be had or repeated safely.
    Unknown,
    /// Retries used up.
    Failed,
    /// `expires_at` passed before WeChat took it.
    Expired,
    /// Canceled by a caller before it was sending.
    Canceled,
}

impl State {
    pub const ALL: [Self; 11] = [
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Rejected,
        Self::Unknown,
        Self::Failed,
        Self::Expired,
        Self::Canceled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing leaves a final state. (`unknown` is final until a receipt or an operator settles it.)
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Delivered | Self::Undelivered | Self::Rejected | Self::Failed | Self::Expired | Self::Canceled
        )
    }

    /// The gateway itself will still do something about it.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued | Self::Sending)
    }
}

/// What a caller asks of the queue: urgent before normal before bulk. Also the queue's lane.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    Urgent,
    #[default]
    Normal,
    Bulk,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == text)
    }
}

/// What to do when an attempt ends without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Repeat with the same `client_msg_id`, inside WeChat's memory of it.
    #[default]
    Retry,
    /// Do not repeat: the message becomes `unknown`.
    Hold,
}

impl OnUnknown {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retry, Self::Hold].into_iter().find(|value| value.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.as_str()));
        }
        for lane in Lane::ALL {
            assert_eq!(Lane::parse(lane.as_str()), Some(lane));
        }
    }
}
