//! What WeChat reports after the attempt (template message page, "TEMPLATESENDJOBFINISH").

use super::secret::Openid;

/// One receipt, correlated by `msgid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub msgid: String,
    pub openid: Openid,
    pub status: ReceiptStatus,
    /// It reports a template message: only such a receipt may settle a message whose `msgid` is not known.
    pub is_template: bool,
}

/// The `Status` text, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptStatus {
    Delivered,
    /// `user_block`, `system_failed`, `freq_limit`, or the raw text behind the colon.
    Undelivered {
        reason: String,
    },
    /// A text that says neither: kept and counted, settles nothing.
    Other {
        text: String,
    },
}

impl ReceiptStatus {
    /// `success` → delivered; `failed…` → undelivered with the rest behind the colon as reason.
    /// `failed: system failed` is seen with and without the blank.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text == "success" {
            return Self::Delivered;
        }
        let Some(rest) = text.strip_prefix("failed") else {
            return Self::Other { text: text.to_owned() };
        };
        let reason = rest.trim_start_matches([':', '：']).trim();
        let reason = match reason {
            "user block" => "user_block",
            "system failed" | "" => "system_failed",
            "freq limit" => "freq_limit",
            other => other,
        };
        Self::Undelivered { reason: reason.to_owned() }
    }

    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Undelivered { .. } => "undelivered",
            Self::Other { .. } => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_status_is_read() {
        let undelivered = |reason: &str| ReceiptStatus::Undelivered { reason: reason.to_owned() };
        for (text, status) in [
            ("success", ReceiptStatus::Delivered),
            (" success\n", ReceiptStatus::Delivered),
            ("failed:user block", undelivered("user_block")),
            ("failed: system failed", undelivered("system_failed")),
            ("failed:system failed", undelivered("system_failed")),
            ("failed:freq limit", undelivered("freq_limit")),
            ("failed: new reason", undelivered("new reason")),
            ("pending", ReceiptStatus::Other { text: "pending".to_owned() }),
        ] {
            assert_eq!(ReceiptStatus::parse(text), status, "{text:?}");
        }
    }
}
