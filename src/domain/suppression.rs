//! An openid of an account that WeChat lets nobody write to, as far as we were told.

use super::clock::Timestamp;
use super::secret::Openid;

/// What told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// 43004: does not follow the account.
    NotSubscribed,
    /// 43019: the operator has put them on the account's blacklist.
    Blacklisted,
    /// 40003: no openid of this account.
    InvalidOpenid,
    /// The receipt said so: they refuse the messages of this account.
    UserBlock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub account: String,
    pub openid: Openid,
    pub reason: SuppressionReason,
    /// WeChat's words.
    pub errmsg: String,
    /// When WeChat said it last.
    pub since: Timestamp,
}

/// Which of an account's suppressions a list shows. Empty fields do not filter.
#[derive(Clone, Debug, Default)]
pub struct SuppressionFilter {
    pub openid: Option<Openid>,
    pub reason: Option<SuppressionReason>,
    /// Not before.
    pub since_after: Option<Timestamp>,
    /// Before.
    pub since_before: Option<Timestamp>,
}

impl SuppressionReason {
    pub const ALL: [Self; 4] = [Self::NotSubscribed, Self::Blacklisted, Self::InvalidOpenid, Self::UserBlock];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSubscribed => "not_subscribed",
            Self::Blacklisted => "blacklisted",
            Self::InvalidOpenid => "invalid_openid",
            Self::UserBlock => "user_block",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The errcode that says it; a receipt has none.
    pub const fn errcode(self) -> Option<i64> {
        match self {
            Self::NotSubscribed => Some(43_004),
            Self::Blacklisted => Some(43_019),
            Self::InvalidOpenid => Some(40_003),
            Self::UserBlock => None,
        }
    }

    pub fn of_errcode(errcode: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.errcode() == Some(errcode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_word_and_its_code() {
        for reason in SuppressionReason::ALL {
            assert_eq!(SuppressionReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            if let Some(errcode) = reason.errcode() {
                assert_eq!(SuppressionReason::of_errcode(errcode), Some(reason));
            }
        }
        assert_eq!(SuppressionReason::of_errcode(45_009), None);
    }
}
