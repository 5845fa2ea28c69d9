//! One event on its way to one webhook.

use std::time::Duration;

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::ids::{DeliveryId, EventId, MessageId};

/// Where a delivery stands. Nothing leaves the last three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// To be tried, or tried again.
    Pending,
    /// The endpoint has answered 2xx.
    Delivered,
    /// Given up: every try has failed, or the endpoint is gone.
    Dead,
    /// Its webhook was deleted, or was disabled for longer than events are kept.
    Canceled,
}

impl DeliveryStatus {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Canceled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Canceled => "canceled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A delivery as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub webhook: String,
    pub event_id: EventId,
    pub event_type: String,
    /// Deliveries of one message to one webhook go one after the other.
    pub message_id: Option<String>,
    pub status: DeliveryStatus,
    /// Tries that have ended.
    pub attempts: u32,
    /// When the next try is due; `None`: it is over, or it waits for an earlier one of its message.
    pub next_at: Option<Timestamp>,
    /// What the last try was answered with.
    pub status_code: Option<u16>,
    /// Why the last try failed, in a few words.
    pub error: Option<String>,
    /// How long the last try took.
    pub duration: Option<Duration>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub first_tried_at: Option<Timestamp>,
}

/// Which deliveries: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// [`super::Webhook::key`]
    pub webhook: Option<String>,
    pub status: Option<DeliveryStatus>,
    pub event_id: Option<EventId>,
    pub message_id: Option<MessageId>,
}

/// A delivery whose try is due, with what is to be sent.
#[derive(Clone, Debug)]
pub struct Due {
    pub id: DeliveryId,
    /// Tries that have ended.
    pub attempts: u32,
    pub event: Event,
}

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub id: DeliveryId,
    /// Its number: 1 is the first.
    pub attempt: u32,
    pub outcome: Outcome,
    pub status_code: Option<u16>,
    /// A few words, without anything that was sent or answered.
    pub error: Option<String>,
    /// When it began.
    pub at: Timestamp,
    pub duration: Duration,
}

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    Retry {
        at: Timestamp,
    },
    /// There are no more tries.
    Dead,
}

impl Outcome {
    pub const fn status(self) -> DeliveryStatus {
        match self {
            Self::Delivered => DeliveryStatus::Delivered,
            Self::Retry { .. } => DeliveryStatus::Pending,
            Self::Dead => DeliveryStatus::Dead,
        }
    }

    pub const fn next_at(self) -> Option<Timestamp> {
        match self {
            Self::Retry { at } => Some(at),
            Self::Delivered | Self::Dead => None,
        }
    }
}
