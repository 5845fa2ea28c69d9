//! What WeChat's error codes mean (page "Global return codes" and those of the APIs): code → class, cause, cure.
//!
//! A class says what a code *means*; what we *do* about it is the dispatcher's.

mod table;

use std::net::IpAddr;

/// What a code means for a message, its recipient or its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Success,
    /// The access_token: refresh once, repeat once.
    Token,
    /// Busy, or a fault inside WeChat.
    Transient,
    /// A rate: of the account, or of one recipient only (40241, 43108, 43117, 45169).
    ThrottledMinute,
    /// The day's or month's calls are used up.
    QuotaExhausted,
    /// This user cannot get it now.
    PermanentRecipient,
    /// The request is wrong, ours or the caller's.
    PermanentRequest,
    /// Secret, IP list, permission, punishment: an operator must act.
    PermanentAccount,
    /// Not in the list.
    Unknown,
}

impl Class {
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Token,
        Self::Transient,
        Self::ThrottledMinute,
        Self::QuotaExhausted,
        Self::PermanentRecipient,
        Self::PermanentRequest,
        Self::PermanentAccount,
        Self::Unknown,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Token => "token",
            Self::Transient => "transient",
            Self::ThrottledMinute => "throttled-minute",
            Self::QuotaExhausted => "quota-exhausted",
            Self::PermanentRecipient => "permanent-recipient",
            Self::PermanentRequest => "permanent-request",
            Self::PermanentAccount => "permanent-account",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub code: i64,
    /// On a business call.
    pub class: Class,
    /// The cause, in a few words.
    pub meaning: &'static str,
    /// The cure.
    pub action: &'static str,
}

pub fn look_up(code: i64) -> Option<&'static Meaning> {
    let place = table::CODES.binary_search_by_key(&code, |meaning| meaning.code).ok()?;
    table::CODES.get(place)
}

/// Every code that is known, by number.
pub fn all() -> &'static [Meaning] {
    &table::CODES
}

/// Class on a business call.
pub fn class(code: i64) -> Class {
    look_up(code).map_or(Class::Unknown, |meaning| meaning.class)
}

/// Class on a token call (40001 there: the secret is wrong). No token is used there, so none can be refreshed; and a
/// wrong appid, secret or grant_type is the account's configuration.
pub fn class_on_token_call(code: i64) -> Class {
    match (code, class(code)) {
        (40_002 | 41_002 | 41_004, _) | (_, Class::Token) => Class::PermanentAccount,
        (_, class) => class,
    }
}

/// The `rid` at the end of an errmsg: three groups of hex digits, such as `61725984-6126f6f9-040f19c4`.
pub fn rid(errmsg: &str) -> Option<&str> {
    errmsg.match_indices("rid:").find_map(|(at, mark)| {
        let rest = errmsg.get(at + mark.len()..)?.trim_start_matches(' ');
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(rest.len());
        let rid = rest.get(..end)?;
        let groups: Vec<&str> = rid.split('-').collect();
        (groups.len() == 3 && groups.iter().all(|group| !group.is_empty())).then_some(rid)
    })
}

/// The address that WeChat saw, out of the errmsg of 40164: `invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in …`.
pub fn ip_in(errmsg: &str) -> Option<IpAddr> {
    let mut words = errmsg.split([' ', ',', '\t', '\n']).skip_while(|word| *word != "ip" && *word != "ipv6");
    words.find_map(|word| word.parse::<IpAddr>().ok()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_codes_are_sorted_and_each_says_something() {
        assert!(all().is_sorted_by(|a, b| a.code < b.code));
        for meaning in all() {
            assert_eq!(look_up(meaning.code), Some(meaning));
            assert!(!meaning.meaning.is_empty() && meaning.action.ends_with('.'), "{meaning:?}");
        }
    }

    #[test]
    fn every_class_has_as_many_codes_as_documented() {
        let counts: Vec<_> =
            Class::ALL.map(|class| all().iter().filter(|meaning| meaning.class == class).count()).into();
        assert_eq!(counts, COUNTS);
        assert_eq!(counts.iter().sum::<usize>(), 307);
    }

    const COUNTS: [usize; 9] = [1, 4, 6, 12, 8, 24, 189, 59, 4];

    #[test]
    fn the_codes_of_the_send_call_have_their_class() {
        for (code, expected) in [
            (0, Class::Success),
            (-1, Class::Transient),
            (40_001, Class::Token),
            (40_014, Class::Token),
            (41_001, Class::Token),
            (42_001, Class::Token),
            (40_003, Class::PermanentRecipient),
            (43_004, Class::PermanentRecipient),
            (43_019, Class::PermanentRecipient),
            (43_101, Class::PermanentRecipient),
            (50_002, Class::PermanentRecipient),
            (40_037, Class::PermanentRequest),
            (40_165, Class::PermanentRequest),
            (40_249, Class::PermanentRequest),
            (47_001, Class::PermanentRequest),
            (47_003, Class::PermanentRequest),
            (40_013, Class::PermanentAccount),
            (43_116, Class::PermanentAccount),
            (48_001, Class::PermanentAccount),
            (48_004, Class::PermanentAccount),
            (40_241, Class::ThrottledMinute),
            (43_117, Class::ThrottledMinute),
            (45_011, Class::ThrottledMinute),
            (45_009, Class::QuotaExhausted),
            (12_345, Class::Unknown),
            (i64::MIN, Class::Unknown),
            (i64::MAX, Class::Unknown),
        ] {
            assert_eq!(class(code), expected, "{code}");
        }
    }

    #[test]
    fn on_a_token_call_the_account_is_at_fault() {
        for code in [
            40_001, 40_002, 40_013, 40_014, 40_125, 40_164, 40_243, 41_002, 41_004, 42_001, 50_004, 50_007, 61_024,
            89_501, 89_502, 89_503, 89_504, 89_505, 89_506, 89_507,
        ] {
            assert_eq!(class_on_token_call(code), Class::PermanentAccount, "{code}");
        }
        for (code, expected) in [
            (0, Class::Success),
            (-1, Class::Transient),
            (45_009, Class::QuotaExhausted),
            (45_011, Class::ThrottledMinute),
            (43_002, Class::PermanentRequest),
            (12_345, Class::Unknown),
        ] {
            assert_eq!(class_on_token_call(code), expected, "{code}");
        }
    }

    #[test]
    fn a_rid_is_found_where_there_is_one() {
        for (errmsg, expected) in [
            ("require subscribe rid: 61725984-6126f6f9-040f19c4", Some("61725984-6126f6f9-040f19c4")),
            ("ok rid:1-2-3, more at https://mmbizurl.cn", Some("1-2-3")),
            ("rid: x rid: ABC-def-09", Some("ABC-def-09")),
            ("invalid appid hint: [abc]", None),
            ("rid: 1-2", None),
            ("rid: 1-2-3-4", None),
            ("rid: 1--3", None),
            ("rid:", None),
            ("", None),
        ] {
            assert_eq!(rid(errmsg), expected, "{errmsg}");
        }
    }

    #[test]
    fn the_refused_address_is_found() {
        let found = |errmsg: &str| ip_in(errmsg).map(|address| address.to_string());
        let errmsg = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1-2-3";
        assert_eq!(found(errmsg).as_deref(), Some("203.0.113.7"));
        assert_eq!(found("invalid ip ipv6 2001:db8::1, not in whitelist").as_deref(), Some("2001:db8::1"));
        assert_eq!(found("invalid ip ipv6 ::ffff:203.0.113.7, not").as_deref(), Some("203.0.113.7"));
        assert_eq!(found("invalid appid"), None);
        assert_eq!(found("invalid ip"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(errmsg in "(rid:|ip |[0-9a-f.:\\- ]|\\PC){0,20}") {
            let _ = (rid(&errmsg), ip_in(&errmsg));
        }
    }
}
