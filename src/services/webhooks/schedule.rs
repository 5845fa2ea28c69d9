//! What follows a try: done, tried again and when, or given up.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::webhook::Outcome;
use crate::upstream::outside::{OutsideAnswer, OutsideFault};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The waits behind the first try, the second, …: as Standard Webhooks recommends. Behind the last one comes nothing.
pub const WAITS: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * MINUTE),
    Duration::from_secs(30 * MINUTE),
    Duration::from_secs(2 * HOUR),
    Duration::from_secs(5 * HOUR),
    Duration::from_secs(10 * HOUR),
    Duration::from_secs(10 * HOUR),
];
/// A wait is longer by up to this part of it, so that what failed together does not come back together.
const JITTER: f64 = 0.1;
/// However much a subscriber asks for.
const LONGEST: Duration = Duration::from_secs(24 * HOUR);

/// The endpoint is gone, and wants nothing any more.
const GONE: u16 = 410;
/// Too many, or not now.
const BUSY: [u16; 2] = [429, 503];

/// What came of the try itself.
pub type Seen = Result<OutsideAnswer, OutsideFault>;

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub status_code: Option<u16>,
    pub error: Option<String>,
    /// The webhook gets nothing any more.
    pub is_gone: bool,
    /// How long the whole lane is asked to wait.
    pub pause: Option<Duration>,
}

/// `attempt`: the number of the try, 1 is the first; `jitter` is in `0.0..1.0`.
pub fn weigh(seen: &Seen, attempt: u32, now: Timestamp, jitter: f64) -> Verdict {
    let (status_code, asked) = match seen {
        Ok(answer) if answer.is_success() => {
            let (outcome, status_code) = (Outcome::Delivered, Some(answer.status));
            return Verdict { outcome, status_code, error: None, is_gone: false, pause: None };
        }
        Ok(answer) => {
            let asked = answer.retry_after.map(|after| after.wait(now).min(LONGEST));
            (Some(answer.status), asked)
        }
        Err(_) => (None, None),
    };
    let is_gone = status_code == Some(GONE);
    let error = match seen {
        Ok(answer) => format!("answered {}", answer.status),
        Err(fault) => fault.to_string(),
    };
    let retry =
        || wait(attempt, jitter).map(|wait| Outcome::Retry { at: now.plus(wait.max(asked.unwrap_or_default())) });
    let outcome = if is_gone { None } else { retry() }.unwrap_or(Outcome::Dead);
    let pause = asked.filter(|_| status_code.is_some_and(|code| BUSY.contains(&code)));
    Verdict { outcome, status_code, error: Some(error), is_gone, pause }
}

/// Behind try number `attempt`; `None`: there is no other.
fn wait(attempt: u32, jitter: f64) -> Option<Duration> {
    let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
    Some(WAITS.get(place)?.mul_f64(1.0 + JITTER * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::outside::{FaultKind, RetryAfter};

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    fn answer(status: u16, retry_after: Option<RetryAfter>) -> Seen {
        Ok(OutsideAnswer { status, retry_after })
    }

    fn waited(outcome: Outcome) -> Option<Duration> {
        outcome.next_at().map(|at| at.since(NOW))
    }

    #[test]
    fn the_waits_are_those_that_are_documented_and_then_it_is_dead() {
        let seconds = |attempt| waited(weigh(&answer(500, None), attempt, NOW, 0.0).outcome).map(|wait| wait.as_secs());
        let waits: Vec<_> = (1..=9).map(seconds).collect();
        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 36_000].map(Some);
        assert_eq!(waits, [&expected[..], &[None, None]].concat());
        assert_eq!(weigh(&answer(500, None), 8, NOW, 0.0).outcome, Outcome::Dead);
        let late = waited(weigh(&answer(500, None), 2, NOW, 1.0).outcome).unwrap();
        assert_eq!(late, Duration::from_secs(330), "with jitter");
    }

    #[test]
    fn only_2xx_is_done_and_410_is_the_end() {
        for status in [200, 201, 204, 299] {
            assert_eq!(weigh(&answer(status, None), 1, NOW, 0.5).outcome, Outcome::Delivered);
        }
        for status in [100, 301, 304, 400, 401, 404, 500, 503] {
            let verdict = weigh(&answer(status, None), 1, NOW, 0.5);
            assert!(matches!(verdict.outcome, Outcome::Retry { .. }) && !verdict.is_gone, "{status}");
            assert_eq!((verdict.status_code, verdict.pause), (Some(status), None));
        }
        let gone = weigh(&answer(410, None), 1, NOW, 0.5);
        assert!(gone.is_gone);
        assert_eq!(gone.outcome, Outcome::Dead);
        let fault = OutsideFault { kind: FaultKind::Connect, detail: "refused".to_owned() };
        let verdict = weigh(&Err(fault), 1, NOW, 0.0);
        assert_eq!(verdict.error.as_deref(), Some("connect: refused"));
        assert_eq!(waited(verdict.outcome), Some(Duration::from_secs(5)));
    }

    #[test]
    fn retry_after_makes_a_wait_longer_never_shorter_and_not_endless() {
        let wait = |seconds| Some(RetryAfter::Wait(Duration::from_secs(seconds)));
        let verdict = weigh(&answer(503, wait(120)), 1, NOW, 0.0);
        assert_eq!(waited(verdict.outcome), Some(Duration::from_secs(120)));
        assert_eq!(verdict.pause, Some(Duration::from_secs(120)), "for all");
        let verdict = weigh(&answer(429, wait(1)), 2, NOW, 0.0);
        assert_eq!(waited(verdict.outcome), Some(Duration::from_secs(300)), "the schedule is longer");
        let verdict = weigh(&answer(500, wait(60)), 1, NOW, 0.0);
        assert_eq!((waited(verdict.outcome), verdict.pause), (Some(Duration::from_secs(60)), None), "for this one");
        let verdict = weigh(&answer(503, wait(u64::MAX)), 1, NOW, 0.0);
        assert_eq!(waited(verdict.outcome), Some(LONGEST));
        let until = Some(RetryAfter::Until(NOW.plus(Duration::from_secs(77))));
        assert_eq!(waited(weigh(&answer(503, until), 1, NOW, 0.0).outcome), Some(Duration::from_secs(77)));
    }
}
