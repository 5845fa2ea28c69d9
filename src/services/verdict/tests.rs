use super::*;
use crate::domain::ids::MessageId;
use crate::domain::secret::Openid;
use crate::domain::state::Lane;
use crate::upstream::wechat::NoAnswer;

const RULES: RetryRules =
    RetryRules { backoff: Backoff { base: Duration::from_secs(1), max: Duration::from_secs(60) }, max_attempts: 5 };
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn lease() -> Lease {
    Lease {
        message_id: MessageId::generate(NOW),
        generation: 1,
        until: NOW.plus(Duration::from_secs(60)),
        account: "shop".into(),
        touser: Openid::parse("o1").unwrap(),
        body: "{}".into(),
        lane: Lane::Normal,
        on_unknown: OnUnknown::Retry,
        created_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(86_400)),
        tries: 0,
        doubtful_since: None,
        busy_since: None,
        trace: None,
    }
}

fn situation(lease: &Lease) -> Situation<'_> {
    Situation { lease, started_at: NOW, now: NOW, renewed: false, line_failures: 0, jitter: 0.5 }
}

fn answer(errcode: i64) -> Result<Answer, CallError> {
    let text = format!(r#"{{"errcode":{errcode},"errmsg":"x","msgid":7}}"#);
    Ok(Answer::parse(text.as_bytes()).unwrap())
}

fn no_answer() -> Result<Answer, CallError> {
    Err(CallError::NoAnswer { kind: NoAnswer::TimedOut, detail: String::new() })
}

fn next_of(reply: &Result<Answer, CallError>, lease: &Lease) -> Next {
    match RULES.judge(reply, situation(lease)) {
        Verdict::Settle { next, .. } => next,
        Verdict::RenewToken => panic!("a token verdict"),
    }
}

#[test]
fn each_class_has_its_end() {
    let lease = lease();
    assert_eq!(next_of(&answer(0), &lease), Next::Sent { msgid: Some("7".to_owned()) });
    for (code, reason) in [(43004, "recipient_refused"), (47003, "message_refused"), (48001, "account_refused")] {
        assert_eq!(next_of(&answer(code), &lease), Next::Rejected { reason: reason.to_owned() }, "{code}");
    }
    assert_eq!(RULES.judge(&answer(40001), situation(&lease)), Verdict::RenewToken);
    let again = Situation { renewed: true, ..situation(&lease) };
    assert!(matches!(
        RULES.judge(&answer(42001), again),
        Verdict::Settle { outcome: AttemptOutcome::TokenRefused, next: Next::Queued { tries: 1, .. } }
    ));
}

#[test]
fn an_attempt_without_an_answer_is_repeated_only_inside_the_window() {
    let mut lease = lease();
    let Next::Queued { tries, doubtful_since, due_at, .. } = next_of(&no_answer(), &lease) else { panic!() };
    assert_eq!((tries, doubtful_since), (1, Some(NOW)));
    assert_eq!(due_at, NOW.plus(Duration::from_secs(1)));
    lease.doubtful_since = Some(NOW.minus(REPEAT_WINDOW));
    assert!(matches!(next_of(&no_answer(), &lease), Next::Unknown { .. }));
    lease.doubtful_since = None;
    lease.on_unknown = OnUnknown::Hold;
    assert!(matches!(next_of(&no_answer(), &lease), Next::Unknown { .. }));
}

#[test]
fn a_busy_wechat_is_not_repeated_when_its_memory_is_over() {
    let mut lease = lease();
    lease.tries = 1;
    lease.busy_since = Some(NOW.minus(REPEAT_WINDOW));
    assert!(matches!(next_of(&answer(-1), &lease), Next::Unknown { .. }));
    assert!(past_window(&lease, NOW).is_some());
    assert!(past_window(&lease, NOW.minus(REPEAT_WINDOW + Duration::from_secs(1))).is_some(), "a clock that ran back");
}

#[test]
fn used_up_tries_end_as_unknown_in_doubt_and_as_failed_otherwise() {
    let mut lease = lease();
    lease.tries = 4;
    assert!(matches!(next_of(&no_answer(), &lease), Next::Unknown { .. }));
    assert!(matches!(next_of(&answer(-1), &lease), Next::Failed { .. }));
    lease.doubtful_since = Some(NOW);
    assert!(matches!(next_of(&answer(-1), &lease), Next::Unknown { .. }), "the doubt of an earlier try stays");
}

#[test]
fn what_certainly_did_not_arrive_does_not_count() {
    let mut lease = lease();
    lease.tries = 4;
    let refused = Err(CallError::NotSent { detail: String::new() });
    assert!(matches!(next_of(&refused, &lease), Next::Queued { tries: 4, .. }));
    assert!(matches!(next_of(&answer(45011), &lease), Next::Queued { tries: 4, .. }));
    assert!(matches!(next_of(&answer(45009), &lease), Next::Queued { tries: 4, .. }));
}

#[test]
fn a_wait_that_outlasts_the_window_does_not_repeat_what_is_in_doubt() {
    let mut lease = lease();
    lease.doubtful_since = Some(NOW);
    assert!(matches!(next_of(&answer(45009), &lease), Next::Unknown { .. }));
    assert!(matches!(next_of(&answer(45011), &lease), Next::Queued { .. }));
}

#[test]
fn a_duplicate_is_success_only_in_answer_to_our_own_repeat() {
    let mut lease = lease();
    assert!(matches!(next_of(&answer(40241), &lease), Next::Queued { .. }));
    lease.doubtful_since = Some(NOW);
    assert!(matches!(next_of(&answer(40241), &lease), Next::Sent { .. }));
}

#[test]
fn a_repeat_is_begun_so_early_that_also_a_long_call_is_over_before_wechat_forgets() {
    let mut lease = lease();
    lease.doubtful_since = Some(NOW.minus(Duration::from_secs(5 * 60)));
    lease.until = NOW.plus(Duration::from_secs(3600));
    for (seconds, begins) in [(12, true), (200, true), (260, true), (275, false), (302, false)] {
        let late = RULES.too_late(situation(&lease), Duration::from_secs(seconds));
        assert_eq!(late.is_none(), begins, "a call of {seconds} s: {late:?}");
        assert!(begins || matches!(late, Some(Next::Unknown { .. })));
    }
    lease.doubtful_since = None;
    assert_eq!(RULES.too_late(situation(&lease), Duration::from_secs(302)), None, "no repeat");
}

#[test]
fn an_attempt_is_not_begun_past_the_end_of_the_message_or_of_the_lease() {
    let mut lease = lease();
    let late = |lease: &Lease| RULES.too_late(situation(lease), Duration::from_secs(12));
    assert_eq!(late(&lease), None);
    lease.until = NOW.plus(Duration::from_secs(11));
    assert!(matches!(late(&lease), Some(Next::Queued { due_at: NOW, tries: 0, .. })));
    lease.expires_at = NOW;
    assert_eq!(late(&lease), Some(Next::Expired { reason: "expired".to_owned() }));
    lease.doubtful_since = Some(NOW);
    assert_eq!(late(&lease), Some(Next::Unknown { reason: "expired".to_owned() }));
}

#[test]
fn an_unknown_code_is_tried_once_more() {
    let mut lease = lease();
    let next = next_of(&answer(987_654), &lease);
    assert!(matches!(next, Next::Queued { tries: 1, busy_since: Some(NOW), .. }), "it may mean anything: {next:?}");
    lease.tries = 1;
    assert!(matches!(next_of(&answer(987_654), &lease), Next::Failed { .. }));
}

#[test]
fn the_quota_day_begins_at_five_past_midnight_in_beijing() {
    let at = |text: &str| Timestamp::parse(text).unwrap();
    for (now, next) in [
        ("2026-01-01T15:00:00Z", "2026-01-01T16:05:00.000Z"),
        ("2026-01-01T16:04:59Z", "2026-01-01T16:05:00.000Z"),
        ("2026-01-01T16:05:00Z", "2026-01-02T16:05:00.000Z"),
    ] {
        assert_eq!(next_quota_day(at(now)).to_string(), next, "{now}");
    }
}
