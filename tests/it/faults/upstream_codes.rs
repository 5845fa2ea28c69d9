//! What WeChat says in so many numbers: the state, the reason, the attempt, what a waiting caller is told, and how often the
//! message is seen.

use std::time::Duration;

use serde_json::{Value, json};

use super::upstream_wechat::{Act, RawWechat, keeps_no_secret};
use crate::harness::TestApp;

/// An errcode as it stands in the answer, and what follows for a message that nobody waits for.
struct Case {
    errcode: &'static str,
    state: &'static str,
    reason: &'static str,
    outcome: &'static str,
    /// Until it is tried again, in seconds.
    wait: Option<std::ops::RangeInclusive<i64>>,
}

fn again(
    errcode: &'static str,
    reason: &'static str,
    outcome: &'static str,
    wait: std::ops::RangeInclusive<i64>,
) -> Case {
    Case { errcode, state: "queued", reason, outcome, wait: Some(wait) }
}

fn ended(errcode: &'static str, reason: &'static str) -> Case {
    Case { errcode, state: "rejected", reason, outcome: "refused", wait: None }
}

async fn message_after(app: &TestApp, wechat: &RawWechat, errcode: &str, touser: &str) -> Value {
    wechat.next_send(Act::ok(format!(r#"{{"errcode":{errcode},"errmsg":"as you like it rid: 1-2-3","msgid":77}}"#)));
    let id = app.send_async(touser).await.field("message_id");
    app.run_until_idle().await;
    app.message(&id).await
}

#[tokio::test]
async fn each_errcode_has_its_end_and_its_pause() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    // The harness's day begins at 00:26 UTC: the next 00:05 of Beijing is 15 h 38 min away.
    let tomorrow = 15 * 3_600 + 38 * 60..=15 * 3_600 + 40 * 60;
    let cases = [
        again("-1", "busy_-1", "busy", 0..=2),
        again("\"-1\"", "busy_-1", "busy", 0..=2),
        again("45011", "throttled_45011", "throttled", 60..=72),
        again("\" 45011 \"", "throttled_45011", "throttled", 60..=72),
        again("40241", "throttled_40241", "throttled", 60..=72),
        again("45009", "quota_45009", "quota_exhausted", tomorrow),
        again("987654", "errcode_987654", "busy", 0..=2),
        again("-987654", "errcode_-987654", "busy", 0..=2),
        again("9223372036854775807", "errcode_9223372036854775807", "busy", 0..=2),
        again("\"-9223372036854775808\"", "errcode_-9223372036854775808", "busy", 0..=2),
        ended("43004", "recipient_refused"),
        ended("\"43004\"", "recipient_refused"),
        ended("40003", "recipient_refused"),
        ended("40037", "message_refused"),
        ended("47003", "message_refused"),
        ended("48001", "account_refused"),
        ended("40013", "account_refused"),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let before = wechat.sends().len();
        let message = message_after(&app, &wechat, case.errcode, &format!("oCODE{number}")).await;
        let name = case.errcode;
        assert_eq!(
            (message["state"].as_str(), message["state_reason"].as_str()),
            (Some(case.state), Some(case.reason)),
            "{name}"
        );
        assert_eq!(wechat.sends().len() - before, 1, "{name}: seen once");
        let attempts = message["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), attempts[0]["outcome"].as_str()), (1, Some(case.outcome)), "{name}");
        assert_eq!(attempts[0]["errmsg"], "as you like it rid: 1-2-3", "{name}");
        assert_eq!(attempts[0]["rid"], "1-2-3", "{name}");
        assert_eq!(message["errcode"].to_string(), name.trim_matches(['"', ' ']), "{name}");
        assert!(message.get("msgid").is_none(), "{name}: an id that was not given for a push is none");
        let wait = message["next_attempt_at"].as_str().map(|at| {
            let due_at = wxgate::domain::clock::Timestamp::parse(at).unwrap();
            due_at.as_seconds() - wxgate::domain::clock::Clock::now(&*app.clock).as_seconds()
        });
        assert_eq!(wait.is_some(), case.wait.is_some(), "{name}");
        if let (Some(wait), Some(range)) = (wait, case.wait) {
            assert!(range.contains(&wait), "{name}: {wait} s");
        }
        app.delete(&format!("/v1/messages/{}", message["message_id"].as_str().unwrap())).send().await;
    }
}

#[tokio::test]
async fn who_waits_is_told_what_ended_it_and_whether_asking_again_helps() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("queue.max_attempts = 1").await;
    for (errcode, status, code, retryable, state) in [
        ("43004", 422, "recipient_refused", false, "rejected"),
        ("47003", 422, "message_refused", false, "rejected"),
        ("48001", 502, "account_refused", false, "rejected"),
        ("-1", 502, "delivery_failed", true, "failed"),
    ] {
        wechat.next_send(Act::ok(format!(r#"{{"errcode":{errcode},"errmsg":"no rid: 1-2-3"}}"#)));
        let reply = app.send(&format!("oTOLD{}", errcode.trim_start_matches('-'))).await;
        let problem = reply.is_problem(status, code).json();
        assert_eq!(problem["retryable"], retryable, "{errcode}");
        let said: i64 = errcode.parse().unwrap();
        assert_eq!(
            problem["upstream"],
            json!({"errcode": said, "errmsg": "no rid: 1-2-3", "rid": "1-2-3"}),
            "{errcode}"
        );
        assert_eq!(app.state_of(problem["message_id"].as_str().unwrap()).await, state, "{errcode}");
    }
    assert_eq!(wechat.sends().len(), 4, "each was seen once");
}

#[tokio::test]
async fn an_unknown_code_is_tried_once_more_and_then_failed() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    for _ in 0..2 {
        wechat.next_send(Act::ok(r#"{"errcode":987654,"errmsg":"new"}"#));
    }
    let id = app.send_async("oNEW").await.field("message_id");
    for _ in 0..5 {
        app.run_until_idle().await;
        app.advance(Duration::from_secs(70)).await;
    }
    let message = app.message(&id).await;
    assert_eq!(
        (&message["state"], &message["state_reason"]),
        (&json!("failed"), &json!("errcode_987654")),
        "{message}"
    );
    assert_eq!(wechat.sends().len(), 2);
}

#[tokio::test]
async fn a_msgid_is_read_in_every_form_and_none_is_made_up() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    for (said, kept) in [
        ("200228332", Some("200228332")),
        ("3487542469355618313", Some("3487542469355618313")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("\"3487542469355618313\"", Some("3487542469355618313")),
        ("\" 7 \"", Some("7")),
        ("-7", Some("-7")),
        ("0", Some("0")),
        ("null", None),
        ("\"\"", None),
        ("\"soon\"", None),
        ("1.5", None),
        ("99999999999999999999", None),
        ("[1]", None),
        ("{}", None),
    ] {
        wechat.next_send(Act::ok(format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{said}}}"#)));
        let reply = app.send("oID").await;
        assert_eq!((reply.status, reply.field("state").as_str()), (200, "sent"), "{said}: {}", reply.text);
        assert_eq!(reply.json()["msgid"].as_str(), kept, "{said}");
    }
    wechat.next_send(Act::ok(r#"{"errcode":0,"errmsg":"ok"}"#));
    let reply = app.send("oID").await;
    assert_eq!((reply.status, reply.json().get("msgid")), (200, None), "absent: {}", reply.text);
    keeps_no_secret(&app);
}
