//! Access tokens of the modelled accounts: two slots each, lifetimes, overlap, spacing of forced refreshes.
//! Follows the pages "Get access_token" and "Get stable access_token". In: appid and time. Out: a token or an errcode.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::distr::Alphanumeric;
use rand::rngs::StdRng;
use serde::Serialize;

use super::calendar::{Count, day, minute};
use crate::domain::clock::Timestamp;

/// Old and new token are both good for this long; the stable slot renews itself this long before the end.
const OVERLAP: Duration = Duration::from_secs(300);
const FORCED_SPACING: Duration = Duration::from_secs(30);
const FORCED_A_DAY: u64 = 20;
const STABLE_A_MINUTE: u64 = 10_000;
const STABLE_A_DAY: u64 = 500_000;
const LEGACY_A_DAY: u64 = 2_000;
/// How many tokens are remembered, so that an old one is told from a foreign one.
const KEPT: usize = 10_000;

/// How often tokens were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenCalls {
    /// `stable_token` in normal mode.
    pub normal: u64,
    /// `stable_token` with `force_refresh`.
    pub forced: u64,
    /// `/cgi-bin/token`.
    pub legacy: u64,
    /// How many new tokens came of it.
    pub issued: u64,
}

/// Which API asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Forced,
    Legacy,
}

/// A token call's success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) token: String,
    /// Seconds.
    pub(super) expires_in: i64,
}

#[derive(Debug)]
struct Issued {
    app_id: String,
    expires_at: Timestamp,
    /// From then on it is no longer the latest (40001).
    superseded_at: Option<Timestamp>,
    /// Refused although its slot still hands it out: the case for a forced refresh.
    refused: bool,
}

#[derive(Debug, Default)]
struct Slots {
    stable: Option<String>,
    legacy: Option<String>,
    forced_at: Option<Timestamp>,
    forced: Count,
    stable_minute: Count,
    stable_day: Count,
    legacy_day: Count,
    calls: TokenCalls,
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Issued>,
    order: VecDeque<String>,
    slots: HashMap<String, Slots>,
}

impl Tokens {
    /// Counts a call, however it ends.
    pub(super) fn count(&mut self, app_id: &str, kind: Kind) {
        let calls = &mut self.slots.entry(app_id.to_owned()).or_default().calls;
        match kind {
            Kind::Normal => calls.normal += 1,
            Kind::Forced => calls.forced += 1,
            Kind::Legacy => calls.legacy += 1,
        }
    }

    /// Of one account, or of all.
    pub(super) fn calls(&self, app_id: Option<&str>) -> TokenCalls {
        let mut sum = TokenCalls::default();
        for (id, slots) in &self.slots {
            if app_id.is_none_or(|wanted| wanted == id) {
                sum.normal += slots.calls.normal;
                sum.forced += slots.calls.forced;
                sum.legacy += slots.calls.legacy;
                sum.issued += slots.calls.issued;
            }
        }
        sum
    }

    /// `/cgi-bin/stable_token`.
    pub(super) fn stable(
        &mut self,
        app_id: &str,
        forced: bool,
        life: Duration,
        now: Timestamp,
        rng: &mut StdRng,
    ) -> Result<Grant, i64> {
        let slots = self.slots.entry(app_id.to_owned()).or_default();
        if !slots.stable_minute.take(minute(now), STABLE_A_MINUTE) {
            return Err(45011);
        }
        if !slots.stable_day.take(day(now), STABLE_A_DAY) {
            return Err(45009);
        }
        let too_soon = slots.forced_at.is_some_and(|at| now < at.plus(FORCED_SPACING));
        if forced && !too_soon {
            if !slots.forced.take(day(now), FORCED_A_DAY) {
                return Err(45009);
            }
            slots.forced_at = Some(now);
            self.kill_stable(app_id, now);
            return Ok(self.issue_stable(app_id, life, now, rng));
        }
        let current = slots.stable.clone();
        match current.and_then(|token| self.remaining(&token, now).map(|left| (token, left))) {
            Some((token, left)) if left > OVERLAP => Ok(Grant { token, expires_in: whole_seconds(left) }),
            _ => Ok(self.issue_stable(app_id, life, now, rng)),
        }
    }

    /// `/cgi-bin/token`.
    pub(super) fn legacy(
        &mut self,
        app_id: &str,
        life: Duration,
        now: Timestamp,
        rng: &mut StdRng,
    ) -> Result<Grant, i64> {
        let slots = self.slots.entry(app_id.to_owned()).or_default();
        if !slots.legacy_day.take(day(now), LEGACY_A_DAY) {
            return Err(45009);
        }
        let previous = slots.legacy.take();
        if let Some(issued) = previous.and_then(|token| self.issued.get_mut(&token)) {
            issued.superseded_at.get_or_insert(now.plus(OVERLAP));
        }
        let token = self.issue(app_id, life, now, rng);
        self.slots.entry(app_id.to_owned()).or_default().legacy = Some(token.clone());
        Ok(Grant { token, expires_in: whole_seconds(life) })
    }

    /// Whose token this is, or 41001, 40014, 40001, 42001.
    pub(super) fn check(&self, token: Option<&str>, now: Timestamp) -> Result<&str, i64> {
        let token = token.filter(|token| !token.is_empty()).ok_or(41001)?;
        if !looks_like_a_token(token) {
            return Err(40014);
        }
        let issued = self.issued.get(token).ok_or(40001)?;
        if issued.refused || issued.superseded_at.is_some_and(|at| at <= now) {
            return Err(40001);
        }
        if issued.expires_at <= now {
            return Err(42001);
        }
        Ok(&issued.app_id)
    }

    /// Whose token this is, good or not.
    pub(super) fn owner(&self, token: &str) -> Option<&str> {
        self.issued.get(token).map(|issued| issued.app_id.as_str())
    }

    /// This one is no longer the latest; the next call gives a new one.
    pub(super) fn supersede(&mut self, token: &str, now: Timestamp) {
        let Some(issued) = self.issued.get_mut(token) else { return };
        issued.superseded_at = Some(now);
        if let Some(slots) = self.slots.get_mut(&issued.app_id) {
            slots.stable.take_if(|current| current == token);
            slots.legacy.take_if(|current| current == token);
        }
    }

    /// All tokens so far are refused with 40001; the next normal call gives a new one.
    pub(super) fn revoke(&mut self, app_id: Option<&str>, now: Timestamp) -> usize {
        self.change(app_id, |issued| issued.superseded_at = Some(now));
        self.empty_slots(app_id)
    }

    /// All tokens so far are expired (42001); the next normal call gives a new one.
    pub(super) fn expire(&mut self, app_id: Option<&str>, now: Timestamp) -> usize {
        self.change(app_id, |issued| issued.expires_at = issued.expires_at.min(now));
        self.empty_slots(app_id)
    }

    /// All tokens so far are refused with 40001, and normal mode goes on returning them: only force helps.
    pub(super) fn refuse(&mut self, app_id: Option<&str>) -> usize {
        self.change(app_id, |issued| issued.refused = true)
    }

    fn change(&mut self, app_id: Option<&str>, mut change: impl FnMut(&mut Issued)) -> usize {
        let of_account = |issued: &&mut Issued| app_id.is_none_or(|id| id == issued.app_id);
        self.issued.values_mut().filter(of_account).map(&mut change).count()
    }

    fn empty_slots(&mut self, app_id: Option<&str>) -> usize {
        let of_account = |(id, _): &(&String, &mut Slots)| app_id.is_none_or(|wanted| wanted == id.as_str());
        let emptied =
            self.slots.iter_mut().filter(of_account).map(|(_, slots)| {
                usize::from(slots.stable.take().is_some()) + usize::from(slots.legacy.take().is_some())
            });
        emptied.sum()
    }

    fn kill_stable(&mut self, app_id: &str, now: Timestamp) {
        let legacy = self.slots.get(app_id).and_then(|slots| slots.legacy.clone());
        for (token, issued) in &mut self.issued {
            // Earlier legacy tokens have their own end; the live ones of this account are stable ones.
            let ends_anyway = issued.superseded_at.is_some() || legacy.as_ref() == Some(token);
            if issued.app_id == app_id && !ends_anyway {
                issued.superseded_at = Some(now);
            }
        }
    }

    /// What is left of a token that is still good.
    fn remaining(&self, token: &str, now: Timestamp) -> Option<Duration> {
        let issued = self.issued.get(token)?;
        let superseded = issued.superseded_at.is_some_and(|at| at <= now);
        (!superseded && issued.expires_at > now).then(|| issued.expires_at.since(now))
    }

    fn issue_stable(&mut self, app_id: &str, life: Duration, now: Timestamp, rng: &mut StdRng) -> Grant {
        let token = self.issue(app_id, life, now, rng);
        self.slots.entry(app_id.to_owned()).or_default().stable = Some(token.clone());
        Grant { token, expires_in: whole_seconds(life) }
    }

    fn issue(&mut self, app_id: &str, life: Duration, now: Timestamp, rng: &mut StdRng) -> String {
        let tail: String = (0..150).map(|_| char::from(rng.sample(Alphanumeric))).collect();
        let token = format!("{}_{tail}", rng.random_range(60..100));
        if self.order.len() >= KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.issued.remove(&oldest);
        }
        let issued =
            Issued { app_id: app_id.to_owned(), expires_at: now.plus(life), superseded_at: None, refused: false };
        self.issued.insert(token.clone(), issued);
        self.order.push_back(token.clone());
        self.slots.entry(app_id.to_owned()).or_default().calls.issued += 1;
        token
    }
}

fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn looks_like_a_token(text: &str) -> bool {
    (20..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LIFE: Duration = Duration::from_secs(7_200);

    struct Bench {
        tokens: Tokens,
        rng: StdRng,
        now: Timestamp,
    }

    impl Bench {
        fn new() -> Self {
            let now = Timestamp::from_seconds(1_700_000_000);
            Self { tokens: Tokens::default(), rng: StdRng::seed_from_u64(7), now }
        }

        fn pass(&mut self, seconds: u64) {
            self.now = self.now.plus(Duration::from_secs(seconds));
        }

        fn stable(&mut self, forced: bool) -> Result<Grant, i64> {
            self.tokens.stable("wx1", forced, LIFE, self.now, &mut self.rng)
        }

        fn legacy(&mut self) -> Grant {
            self.tokens.legacy("wx1", LIFE, self.now, &mut self.rng).unwrap()
        }

        fn check(&self, grant: &Grant) -> Result<&str, i64> {
            self.tokens.check(Some(&grant.token), self.now)
        }
    }

    #[test]
    fn normal_mode_returns_the_same_token_with_less_time_left() {
        let mut bench = Bench::new();
        let first = bench.stable(false).unwrap();
        assert_eq!(first.expires_in, 7_200);
        bench.pass(100);
        let second = bench.stable(false).unwrap();
        assert_eq!((second.token, second.expires_in), (first.token, 7_100));
    }

    #[test]
    fn the_stable_token_is_renewed_five_minutes_before_its_end_and_both_work() {
        let mut bench = Bench::new();
        let first = bench.stable(false).unwrap();
        bench.pass(7_200 - 301);
        assert_eq!(bench.stable(false).unwrap().token, first.token);
        bench.pass(1);
        let second = bench.stable(false).unwrap();
        assert_ne!(second.token, first.token);
        assert_eq!((bench.check(&first), bench.check(&second)), (Ok("wx1"), Ok("wx1")));
        bench.pass(300);
        assert_eq!((bench.check(&first), bench.check(&second)), (Err(42001), Ok("wx1")));
    }

    #[test]
    fn force_kills_the_token_at_once_and_is_spaced() {
        let mut bench = Bench::new();
        let first = bench.stable(false).unwrap();
        let second = bench.stable(true).unwrap();
        assert_eq!((bench.check(&first), bench.check(&second)), (Err(40001), Ok("wx1")));
        bench.pass(29);
        assert_eq!(bench.stable(true).unwrap().token, second.token);
        bench.pass(1);
        assert_ne!(bench.stable(true).unwrap().token, second.token);
    }

    #[test]
    fn the_twenty_first_forced_refresh_of_a_day_is_refused() {
        let mut bench = Bench::new();
        for _ in 0..20 {
            bench.stable(true).unwrap();
            bench.pass(30);
        }
        assert_eq!(bench.stable(true), Err(45009));
        assert!(bench.stable(false).is_ok());
        bench.pass(86_400);
        assert!(bench.stable(true).is_ok());
    }

    #[test]
    fn a_legacy_call_leaves_the_previous_token_five_minutes() {
        let mut bench = Bench::new();
        let (first, second) = (bench.legacy(), bench.legacy());
        assert_ne!(first.token, second.token);
        bench.pass(299);
        assert_eq!(bench.check(&first), Ok("wx1"));
        bench.pass(1);
        assert_eq!((bench.check(&first), bench.check(&second)), (Err(40001), Ok("wx1")));
    }

    #[test]
    fn the_two_slots_do_not_touch_each_other() {
        let mut bench = Bench::new();
        let (stable, legacy) = (bench.stable(false).unwrap(), bench.legacy());
        bench.legacy();
        assert_eq!(bench.stable(false).unwrap().token, stable.token);
        bench.stable(true).unwrap();
        assert_eq!((bench.check(&stable), bench.check(&legacy)), (Err(40001), Ok("wx1")));
    }

    #[test]
    fn tokens_are_told_apart() {
        let bench = Bench::new();
        let check = |text: Option<&str>| bench.tokens.check(text, bench.now).map(str::to_owned);
        assert_eq!((check(None), check(Some(""))), (Err(41001), Err(41001)));
        assert_eq!((check(Some("short")), check(Some(&"x y".repeat(20)))), (Err(40014), Err(40014)));
        assert_eq!(check(Some(&"a".repeat(60))), Err(40001));
    }

    #[test]
    fn revoked_and_expired_tokens_are_replaced_but_refused_ones_stay_until_forced() {
        let mut bench = Bench::new();
        let first = bench.stable(false).unwrap();
        bench.tokens.revoke(None, bench.now);
        assert_eq!(bench.check(&first), Err(40001));
        let second = bench.stable(false).unwrap();
        bench.tokens.expire(Some("wx1"), bench.now);
        assert_eq!(bench.check(&second), Err(42001));
        let third = bench.stable(false).unwrap();
        bench.tokens.refuse(None);
        assert_eq!(bench.stable(false).unwrap().token, third.token);
        assert_eq!(bench.check(&third), Err(40001));
        let fourth = bench.stable(true).unwrap();
        assert_eq!(bench.check(&fourth), Ok("wx1"));
        assert_eq!(bench.tokens.calls(None).issued, 4);
    }
}
