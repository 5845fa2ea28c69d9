//! Whether a webhook is on, and how far it has come.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::event::Position;

/// What is kept of a webhook beside its settings, also of one in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// [`super::Webhook::key`]
    pub webhook: String,
    /// `None`: it is enabled.
    pub disabled: Option<Disabled>,
    /// Events up to here were looked at: what fits has a delivery.
    pub cursor: Position,
    pub created_at: Timestamp,
}

/// Since when a webhook gets nothing, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub reason: DisabledReason,
    pub since: Timestamp,
}

/// Its text never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// It has answered 410.
    Gone,
    /// Somebody has switched it off.
    Operator,
}

impl DisabledReason {
    pub const ALL: [Self; 2] = [Self::Gone, Self::Operator];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Operator => "operator",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}
