//! The gateway's own rules, asked about a lease of the model.

use std::sync::Arc;
use std::time::Duration;

use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::MessageId;
use wxgate::domain::message::Lease;
use wxgate::domain::retry::Backoff;
use wxgate::domain::secret::Openid;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, OnUnknown};
use wxgate::services::verdict::{RetryRules, Situation, Verdict};
use wxgate::upstream::wechat::{CallError, NoAnswer};
use wxgate::wechat::answer::Answer;

use crate::gateway::Broken;
use crate::paper::Held;
use crate::world::Wire;

/// Repeats are due at once: the model's minutes are too coarse for a back-off.
const RULES: RetryRules =
    RetryRules { backoff: Backoff { base: Duration::ZERO, max: Duration::ZERO }, max_attempts: 3 };
/// What a call may need of its lease.
const CALL_ROOM: Duration = Duration::from_secs(22);

/// Why an attempt must not begin now.
pub(crate) fn too_late(held: &Held, now: Timestamp, flaw: Option<Broken>) -> Option<Next> {
    RULES.too_late(situation(&lease(held, flaw), now, now), CALL_ROOM)
}

/// What follows from WeChat's answer.
pub(crate) fn judge(held: &Held, reply: Wire, started_at: Timestamp, now: Timestamp, flaw: Option<Broken>) -> Next {
    match RULES.judge(&heard(reply), situation(&lease(held, flaw), started_at, now)) {
        Verdict::Settle { next, .. } => next,
        Verdict::RenewToken => unreachable!("no answer of the model refuses a token"),
    }
}

fn situation(lease: &Lease, started_at: Timestamp, now: Timestamp) -> Situation<'_> {
    Situation { lease, started_at, now, renewed: false, line_failures: 0, jitter: 0.0 }
}

fn heard(reply: Wire) -> Result<Answer, CallError> {
    let text = match reply {
        Wire::Taken(msgid) => format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{msgid}}}"#),
        Wire::Duplicate => r#"{"errcode":40241,"errmsg":"duplicate"}"#.to_owned(),
        Wire::Busy => r#"{"errcode":-1,"errmsg":"system error"}"#.to_owned(),
        Wire::Refused => r#"{"errcode":43004,"errmsg":"require subscribe"}"#.to_owned(),
        Wire::Lost => return Err(CallError::NoAnswer { kind: NoAnswer::TimedOut, detail: String::new() }),
        Wire::NotSent => return Err(CallError::NotSent { detail: String::new() }),
    };
    Ok(Answer::parse(text.as_bytes()).expect("an answer of WeChat"))
}

fn lease(held: &Held, flaw: Option<Broken>) -> Lease {
    let forgets = flaw == Some(Broken::RepeatsAfterWindow);
    let repeats = flaw == Some(Broken::RepeatsWhatIsHeld);
    Lease {
        message_id: MessageId::parse("msg_00000000000000000000000000").expect("an id"),
        generation: held.generation,
        until: held.until,
        account: Arc::from("shop"),
        touser: Openid::parse("oPERSON").expect("an openid"),
        body: Arc::from(""),
        lane: Lane::Normal,
        on_unknown: if repeats { OnUnknown::Retry } else { held.on_unknown },
        created_at: held.created_at,
        expires_at: held.expires_at,
        tries: held.tries,
        doubtful_since: held.doubtful_since.filter(|_| !forgets),
        busy_since: held.busy_since.filter(|_| !forgets),
        trace: None,
    }
}
