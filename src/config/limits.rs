//! `[limits]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::read::Section;
use crate::domain::limit::{LimitKind, Pace, Rate};

/// Words for spans, as in `per = "minute"`.
const SPANS: [(&str, Duration); 4] = [
    ("second", Duration::from_secs(1)),
    ("minute", Duration::from_secs(60)),
    ("hour", Duration::from_secs(3600)),
    ("day", Duration::from_secs(24 * 3600)),
];

/// How often messages are accepted; `None`: as often as anybody likes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    pub client: Option<Rate>,
    pub openid: Option<Rate>,
    pub identical: Option<Rate>,
    /// How fast messages of one account go to WeChat.
    pub account: Option<Pace>,
    /// Wrong keys, tokens and signatures from one address.
    pub auth_failures: Option<Rate>,
    /// What would be refused is only counted.
    pub observe: bool,
    pub suppression: SuppressionConfig,
}

/// Whether sends to people are refused whom WeChat has refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuppressionConfig {
    pub is_on: bool,
    /// After which WeChat is asked again; `None`: never.
    pub age: Option<Duration>,
}

impl LimitsConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let observe = section.choice("mode", &[("enforce", false), ("observe", true)], false);
        let suppression = SuppressionConfig::read(section);
        let mut rate = |name: &str| {
            let mut limit = section.section(name);
            let rate = read_rate(&mut limit);
            limit.close();
            rate
        };
        Self {
            client: rate(LimitKind::Client.as_str()),
            openid: rate(LimitKind::Openid.as_str()),
            identical: rate(LimitKind::Identical.as_str()),
            auth_failures: rate("auth_failures"),
            account: read_pace(section.section("account")),
            observe,
            suppression,
        }
    }
}

impl SuppressionConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let is_on = section.switch("suppression");
        let age = section.span("suppression_age", Duration::ZERO..=Duration::from_secs(3650 * 24 * 3600));
        Self { is_on, age: Some(age).filter(|age| !age.is_zero()) }
    }
}

fn read_pace(mut section: Section<'_>) -> Option<Pace> {
    let first = read_rate(&mut section);
    let top = NonZeroU32::new(section.count("top", 0..=1_000_000));
    section.close();
    let first = first?;
    Some(Pace { first, top: top.map_or(first.count, |top| top.max(first.count)) })
}

fn read_rate(section: &mut Section<'_>) -> Option<Rate> {
    let count = NonZeroU32::new(section.count("rate", 0..=1_000_000));
    let per = section.choice("per", &SPANS, SPANS[1].1);
    let burst = NonZeroU32::new(section.count("burst", 1..=1_000_000));
    Some(Rate { count: count?, per, burst: burst? })
}
