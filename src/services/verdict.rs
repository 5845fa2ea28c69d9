//! What we do about what WeChat said: rules over plain values. `wechat::errcode` says what a code means; here stands what
//! follows for the message.
//!
//! Two clocks bound every repeat. WeChat remembers a `client_msg_id` for ten minutes (template message page): an attempt
//! that WeChat may have taken is repeated only inside that time less a margin. And `expires_at` ends everything.

use std::time::Duration;

use crate::domain::attempt::AttemptOutcome;
use crate::domain::clock::Timestamp;
use crate::domain::message::Lease;
use crate::domain::retry::Backoff;
use crate::domain::settlement::Next;
use crate::domain::state::OnUnknown;
use crate::upstream::wechat::CallError;
use crate::wechat::answer::Answer;
use crate::wechat::errcode::{self, Class};

/// Ten minutes less a margin for clocks and for the way.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(9 * 60);
/// The reason of what may not be repeated any more.
pub const WINDOW_OVER: &str = "repeat_window_over";
/// How much of that margin is for the way. What may be longer under way, because `wechat.timeout` is long, is begun earlier.
const WAY: Duration = Duration::from_secs(30);
/// The minute quotas of WeChat start anew within it.
const THROTTLE_PAUSE: Duration = Duration::from_secs(60);
/// How far the back-off grows for what never left.
const LINE_DOUBLINGS: u32 = 4;
const DAY_SECONDS: i64 = 24 * 3600;
/// WeChat's day begins at 16:00 UTC; five minutes later it has surely begun.
const QUOTA_DAY_SHIFT_SECONDS: i64 = 8 * 3600 - 300;
/// Repeats after the quota day begins are spread over this long.
const QUOTA_SPREAD: Duration = Duration::from_secs(60);
/// The account's calls of this minute are used up; the other rates of its class concern one recipient.
const ACCOUNT_RATE: i64 = 45011;
/// "Duplicate of a message sent within 60 seconds" (undocumented).
const DUPLICATE: i64 = 40241;

/// How often, and how far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRules {
    pub backoff: Backoff,
    pub max_attempts: u32,
}

/// What one attempt means for its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lease ends here.
    Settle { outcome: AttemptOutcome, next: Next },
    /// The token was refused: once more with another one, at once.
    RenewToken,
}

/// What the rules need to know of the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub lease: &'a Lease,
    /// When the attempt began.
    pub started_at: Timestamp,
    pub now: Timestamp,
    /// A token was renewed under this lease already.
    pub renewed: bool,
    /// Failures to reach WeChat in a row, for the pace of retries.
    pub line_failures: u32,
    /// 0.0..1.0.
    pub jitter: f64,
}

impl RetryRules {
    pub fn judge(&self, reply: &Result<Answer, CallError>, at: Situation<'_>) -> Verdict {
        match reply {
            Ok(answer) => self.judge_answer(answer, at),
            Err(CallError::NotSent { .. }) => settle(AttemptOutcome::NotSent, self.wait_for_line(at, "not_connected")),
            Err(CallError::NoAnswer { kind, .. }) => {
                settle(AttemptOutcome::Ambiguous, self.after_no_answer(kind.as_str(), at))
            }
        }
    }

    fn judge_answer(&self, answer: &Answer, at: Situation<'_>) -> Verdict {
        let code = answer.errcode;
        let is_repeat = at.lease.doubtful_since.is_some() || at.lease.busy_since.is_some();
        if code == DUPLICATE && is_repeat {
            return settle(AttemptOutcome::Accepted, Next::Sent { msgid: answer.msgid.clone() });
        }
        match errcode::class(code) {
            Class::Success => settle(AttemptOutcome::Accepted, Next::Sent { msgid: answer.msgid.clone() }),
            Class::Token if !at.renewed => Verdict::RenewToken,
            Class::Token => {
                let next =
                    self.again_or(at, "token_refused", THROTTLE_PAUSE, Next::Failed { reason: "token_refused".into() });
                settle(AttemptOutcome::TokenRefused, next)
            }
            Class::Transient => settle(AttemptOutcome::Busy, self.after_busy(code, at)),
            Class::ThrottledMinute => {
                let pause = THROTTLE_PAUSE.mul_f64(1.0 + 0.2 * at.jitter);
                settle(AttemptOutcome::Throttled, self.wait(at, at.now.plus(pause), format!("throttled_{code}")))
            }
            Class::QuotaExhausted => {
                let due_at = next_quota_day(at.now).plus(QUOTA_SPREAD.mul_f64(at.jitter));
                settle(AttemptOutcome::QuotaExhausted, self.wait(at, due_at, format!("quota_{code}")))
            }
            Class::PermanentRecipient => refuse("recipient_refused", at),
            Class::PermanentRequest => refuse("message_refused", at),
            Class::PermanentAccount => refuse("account_refused", at),
            // It may mean anything, also that the message was shown.
            Class::Unknown if at.lease.tries == 0 => settle(
                AttemptOutcome::Busy,
                self.queue(at, self.backoff.delay(1, at.jitter), format!("errcode_{code}"), busy_since(at)),
            ),
            Class::Unknown => settle(AttemptOutcome::Refused, give_up(at, format!("errcode_{code}"))),
        }
    }

    /// Why an attempt must not begin now. `call_room`: how long it may take. A lease that has less left is given back, nothing
    /// sent.
    pub fn too_late(&self, at: Situation<'_>, call_room: Duration) -> Option<Next> {
        if at.now >= at.lease.expires_at {
            let reason = "expired".to_owned();
            return Some(match at.lease.doubtful_since {
                Some(_) => Next::Unknown { reason },
                None => Next::Expired { reason },
            });
        }
        // Its request may reach WeChat as late as the call may end.
        if let Some(stop) = past_window(at.lease, at.now.plus(call_room.saturating_sub(WAY))) {
            return Some(stop);
        }
        let ends_early = at.now.plus(call_room) > at.lease.until;
        ends_early.then(|| self.wait(at, at.now, "lease_too_short".to_owned()))
    }

    /// No token, no connection, an open breaker: nothing left, so it does not count and may go on until the message expires.
    pub fn wait_for_line(&self, at: Situation<'_>, reason: &str) -> Next {
        // The breaker sets the pace of a broken line; what waits for it shall be ready when the line is.
        let pause = self.backoff.delay(at.line_failures.clamp(1, LINE_DOUBLINGS), at.jitter);
        self.wait(at, at.now.plus(pause), reason.to_owned())
    }

    /// As `wait_for_line`, at a given time.
    pub fn wait(&self, at: Situation<'_>, due_at: Timestamp, reason: String) -> Next {
        if let Some(stop) = past_window(at.lease, due_at) {
            return stop;
        }
        Next::Queued {
            due_at,
            reason,
            tries: at.lease.tries,
            doubtful_since: at.lease.doubtful_since,
            busy_since: at.lease.busy_since,
        }
    }

    fn after_no_answer(&self, reason: &str, at: Situation<'_>) -> Next {
        let unknown = Next::Unknown { reason: reason.to_owned() };
        if at.lease.on_unknown == OnUnknown::Hold {
            return unknown;
        }
        let since = at.lease.doubtful_since.unwrap_or(at.started_at);
        let tries = at.lease.tries.saturating_add(1);
        let due_at = at.now.plus(self.backoff.delay(tries, at.jitter));
        if tries >= self.max_attempts || past_window(at.lease, due_at).is_some() {
            return unknown;
        }
        Next::Queued {
            due_at,
            reason: reason.to_owned(),
            tries,
            doubtful_since: Some(since),
            busy_since: at.lease.busy_since,
        }
    }

    /// -1 and its like: WeChat answered that it did not do it, but is known to have done it now and then (error codes page,
    /// field reports), so it too is repeated only inside the window. When the tries are used up the answer stands: `failed`.
    fn after_busy(&self, code: i64, at: Situation<'_>) -> Next {
        let reason = format!("busy_{code}");
        let tries = at.lease.tries.saturating_add(1);
        if tries >= self.max_attempts {
            return give_up(at, reason);
        }
        self.queue(at, self.backoff.delay(tries, at.jitter), reason, busy_since(at))
    }

    fn again_or(&self, at: Situation<'_>, reason: &str, pause: Duration, otherwise: Next) -> Next {
        let tries = at.lease.tries.saturating_add(1);
        if tries >= self.max_attempts {
            return if at.lease.doubtful_since.is_some() {
                Next::Unknown { reason: reason.to_owned() }
            } else {
                otherwise
            };
        }
        self.queue(at, pause.mul_f64(1.0 + 0.2 * at.jitter), reason.to_owned(), at.lease.busy_since)
    }

    /// Again after `pause`, counted as a try.
    fn queue(&self, at: Situation<'_>, pause: Duration, reason: String, busy_since: Option<Timestamp>) -> Next {
        let due_at = at.now.plus(pause);
        if let Some(stop) = past_window(at.lease, due_at) {
            return stop;
        }
        Next::Queued {
            due_at,
            reason,
            tries: at.lease.tries.saturating_add(1),
            doubtful_since: at.lease.doubtful_since,
            busy_since,
        }
    }
}

/// When the first attempt began that WeChat did not take, and may have shown all the same.
fn busy_since(at: Situation<'_>) -> Option<Timestamp> {
    Some(at.lease.busy_since.unwrap_or(at.started_at))
}

/// A message that WeChat may have must not be tried (again) at `due_at`, when WeChat will have forgotten its
/// `client_msg_id`: it ends as `unknown`. A clock that runs backwards tells nothing about WeChat's: the window is over then.
pub fn past_window(lease: &Lease, due_at: Timestamp) -> Option<Next> {
    let is_over = |since: Timestamp| due_at < since || due_at >= since.plus(REPEAT_WINDOW);
    let over = lease.doubtful_since.is_some_and(is_over) || lease.busy_since.is_some_and(is_over);
    over.then(|| Next::Unknown { reason: WINDOW_OVER.to_owned() })
}

/// WeChat is asked for more than it can or will do now, for whichever message.
pub fn is_congestion(code: i64) -> bool {
    code == ACCOUNT_RATE || errcode::class(code) == Class::Transient
}

/// A refusal settles the message, unless an earlier attempt may have been taken: then the doubt stays. A refusal of the
/// person or the text answers the doubt as well, because the earlier attempt met the same rule.
fn refuse(reason: &str, at: Situation<'_>) -> Verdict {
    let in_doubt = at.lease.doubtful_since.is_some() && reason == "account_refused";
    let next = if in_doubt {
        Next::Unknown { reason: reason.to_owned() }
    } else {
        Next::Rejected { reason: reason.to_owned() }
    };
    settle(AttemptOutcome::Refused, next)
}

fn give_up(at: Situation<'_>, reason: String) -> Next {
    if at.lease.doubtful_since.is_some() { Next::Unknown { reason } } else { Next::Failed { reason } }
}

fn settle(outcome: AttemptOutcome, next: Next) -> Verdict {
    Verdict::Settle { outcome, next }
}

/// The next 00:05 in UTC+8: daily quotas are believed to start anew at midnight there.
pub fn next_quota_day(now: Timestamp) -> Timestamp {
    let day = (now.as_seconds() + QUOTA_DAY_SHIFT_SECONDS).div_euclid(DAY_SECONDS) + 1;
    Timestamp::from_seconds(day * DAY_SECONDS - QUOTA_DAY_SHIFT_SECONDS)
}

#[cfg(test)]
mod tests;
