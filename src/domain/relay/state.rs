//! What came of relaying a callback.

/// How a relayed callback stands; kept with its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelayState {
    /// The back end is being asked, or the process died while it was.
    Pending,
    /// Its answer was given to WeChat.
    Answered,
    /// It had nothing to say.
    Silent,
    /// No connection, or an HTTP error.
    Failed,
    /// What it said is no answer to this callback.
    Invalid,
    /// It was not asked: it is down, or too many are under way.
    Skipped,
    /// No answer in time, and none that came later was passed on.
    Late,
    /// A late answer is on its way as a customer-service message, or the process died while it was.
    LateSending,
    LateSent,
    /// WeChat did not take it.
    LateRefused,
    /// WeChat may have taken it.
    LateUnknown,
}

impl RelayState {
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Answered,
        Self::Silent,
        Self::Failed,
        Self::Invalid,
        Self::Skipped,
        Self::Late,
        Self::LateSending,
        Self::LateSent,
        Self::LateRefused,
        Self::LateUnknown,
    ];

    /// As stored, in events and as the label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Skipped => "skipped",
            Self::Late => "late",
            Self::LateSending => "late_sending",
            Self::LateSent => "late_sent",
            Self::LateRefused => "late_refused",
            Self::LateUnknown => "late_unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read_back() {
        for state in RelayState::ALL {
            assert_eq!(RelayState::parse(state.as_str()), Some(state));
        }
    }
}
