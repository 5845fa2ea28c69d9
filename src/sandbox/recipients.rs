//! Recipients with a scripted outcome. In: an openid. Out: its script, or none: an ordinary person.

/// What happens to messages for this openid. `sim-ok-2` follows the script of `sim-ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Ok,
    UserBlock,
    SystemFailed,
    NotSubscribed,
    Invalid,
    Busy,
    Slow8s,
    NoReceipt,
    Reset,
    Quota,
    TokenOnce,
    Garbage,
}

const SCRIPTS: &[(&str, Script)] = &[
    ("sim-ok", Script::Ok),
    ("sim-user-block", Script::UserBlock),
    ("sim-system-failed", Script::SystemFailed),
    ("sim-not-subscribed", Script::NotSubscribed),
    ("sim-invalid", Script::Invalid),
    ("sim-busy", Script::Busy),
    ("sim-slow-8s", Script::Slow8s),
    ("sim-no-receipt", Script::NoReceipt),
    ("sim-reset", Script::Reset),
    ("sim-quota", Script::Quota),
    ("sim-token-once", Script::TokenOnce),
    ("sim-garbage", Script::Garbage),
];

/// Their names, for the page and the help text.
pub fn scripted_recipients() -> impl Iterator<Item = &'static str> {
    SCRIPTS.iter().map(|(name, _)| *name)
}

impl Script {
    pub(super) fn of(openid: &str) -> Option<Self> {
        let follows =
            |name: &str| openid.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        openid.starts_with("sim-").then(|| SCRIPTS.iter().find(|(name, _)| follows(name)))?.map(|(_, script)| *script)
    }

    /// The errcode that this recipient always gives.
    pub(super) const fn errcode(self) -> Option<i64> {
        match self {
            Self::NotSubscribed => Some(43004),
            Self::Invalid => Some(40003),
            Self::Quota => Some(45009),
            _ => None,
        }
    }

    /// The status of the receipt; `None`: no receipt comes.
    pub(super) const fn receipt(script: Option<Self>) -> Option<&'static str> {
        match script {
            Some(Self::UserBlock) => Some("failed:user block"),
            Some(Self::SystemFailed) => Some("failed: system failed"),
            Some(Self::NoReceipt) => None,
            _ => Some("success"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_keeps_the_script_and_a_stranger_has_none() {
        assert_eq!(Script::of("sim-ok"), Some(Script::Ok));
        assert_eq!(Script::of("sim-ok-17"), Some(Script::Ok));
        assert_eq!(Script::of("sim-slow-8s-a"), Some(Script::Slow8s));
        for stranger in ["sim-okay", "sim-", "oTEST", "xsim-ok"] {
            assert_eq!(Script::of(stranger), None, "{stranger}");
        }
        assert_eq!(scripted_recipients().count(), 12);
    }
}
