use std::num::NonZeroU32;

use futures_util::FutureExt;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn rate(count: u32, burst: u32) -> Option<Rate> {
    let number = |n| NonZeroU32::new(n).unwrap();
    Some(Rate { count: number(count), per: Duration::from_secs(60), burst: number(burst) })
}

fn limits(config: LimitsConfig) -> Limits {
    Limits::new(&config, None, Metrics::new())
}

fn to(openid: &str, content: u64) -> Ask<'_> {
    let until = at(24 * 3_600_000);
    Ask { client: "crm", account: "shop", openid, content: Some(content), on_limit: OnLimit::Reject, until }
}

/// Where nothing is shared nobody waits.
fn ask(limits: &Limits, what: Ask<'_>, on_limit: OnLimit, now: Timestamp) -> Answer {
    let answers = limits.ask(&[Ask { on_limit, ..what }], now, Duration::ZERO).now_or_never().unwrap();
    answers.into_iter().next().unwrap()
}

fn refused_by(answer: Answer) -> Option<LimitKind> {
    match answer {
        Answer::Refused(refusal) => Some(refusal.kind),
        _ => None,
    }
}

#[test]
fn a_refusal_by_one_limit_takes_nothing_from_the_others() {
    let limits = limits(LimitsConfig { client: rate(60, 3), openid: rate(60, 2), ..LimitsConfig::default() });
    for _ in 0..2 {
        assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
    }
    for _ in 0..50 {
        assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Openid));
    }
    assert!(matches!(ask(&limits, to("o2", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
    assert_eq!(refused_by(ask(&limits, to("o3", 1), OnLimit::Reject, at(0))), Some(LimitKind::Client));
}

#[test]
fn only_the_same_words_to_the_same_person_are_identical() {
    let limits = limits(LimitsConfig { identical: rate(1, 1), ..LimitsConfig::default() });
    for (openid, content) in [("o1", 1), ("o1", 2), ("o2", 1)] {
        assert!(matches!(ask(&limits, to(openid, content), OnLimit::Reject, at(0)), Answer::Go(_)));
    }
    assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Identical));
    let meant = Ask { content: None, ..to("o1", 1) };
    assert!(matches!(ask(&limits, meant, OnLimit::Reject, at(0)), Answer::Go(_)));
}

#[test]
fn deferred_ones_get_places_one_after_the_other() {
    let limits = limits(LimitsConfig { openid: rate(60, 1), ..LimitsConfig::default() });
    let mut places = Vec::new();
    for _ in 0..4 {
        match ask(&limits, to("o1", 1), OnLimit::Defer, at(0)) {
            Answer::Go(pass) => places.push(pass.at.unwrap_or(at(0))),
            Answer::Refused(_) => panic!("deferred ones are not refused"),
        }
    }
    assert_eq!(places, [at(0), at(1_000), at(2_000), at(3_000)]);
    let too_late = Ask { until: at(4_000), ..to("o1", 1) };
    assert_eq!(refused_by(ask(&limits, too_late, OnLimit::Defer, at(0))), Some(LimitKind::Openid));
}

#[test]
fn observing_counts_and_lets_pass() {
    let limits = limits(LimitsConfig { openid: rate(1, 1), observe: true, ..LimitsConfig::default() });
    for _ in 0..3 {
        assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
    }
    let text = limits.0.metrics.render(&crate::telemetry::metrics::Scrape::default());
    assert!(text.contains("wxgate_rate_limit_observed_total{limit=\"openid\"} 2\n"), "{text}");
    assert!(!text.contains("wxgate_rate_limited_total{limit=\"openid\"}"), "{text}");
}

#[test]
fn a_clock_that_is_set_back_locks_nobody_out() {
    let limits = limits(LimitsConfig { openid: rate(1, 1), ..LimitsConfig::default() });
    assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(7_200_000)), Answer::Go(_)));
    assert!(matches!(ask(&limits, to("o1", 1), OnLimit::Reject, at(0)), Answer::Go(_)));
    assert_eq!(refused_by(ask(&limits, to("o1", 1), OnLimit::Reject, at(0))), Some(LimitKind::Openid));
}
