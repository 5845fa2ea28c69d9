//! What a flight does: look where a token may be already, take the cluster's right to refresh, ask WeChat, keep the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::book::{Failure, FailureKind};
use super::engine::Core;
use super::known::Known;
use super::rules;
use crate::domain::account::TokenApi;
use crate::domain::event;
use crate::domain::token::AccessToken;
use crate::failpoint::{Point, reach};
use crate::store::Allowance;
use crate::upstream::wechat::{CallError, FreshToken, TokenReply, errcode_label};

/// A token that dies with more than this left was killed by somebody.
const EARLY_DEATH: Duration = Duration::from_secs(330);

type Found = Result<Arc<AccessToken>, Failure>;

impl Core {
    /// All that one flight asks of Redis on the way to its token shares one allowance.
    pub(super) async fn refresh(self: &Arc<Self>, refused: Option<i64>) -> Found {
        let mut allowance = Allowance::default();
        self.load_kept().await;
        if let Ok(Some(token)) = self.take_shared(&mut allowance, refused).await {
            return Ok(token);
        }
        // Kept from before a restart, or brought by a flight that landed a moment ago.
        if let Some(token) = self.living(refused)
            && (refused.is_some() || !self.book().is_due(&*self.doors.clock))
        {
            return Ok(token);
        }
        if let Some(failure) = self.book().pause(&*self.doors.clock) {
            return Err(failure);
        }
        let lock = match self.lock_cluster(&mut allowance, refused).await {
            Ok(lock) => lock,
            Err(token) => return Ok(token),
        };
        let outcome = self.fetch(&mut allowance, refused).await;
        self.hand_on(outcome.as_ref().ok().cloned(), lock);
        outcome
    }

    /// SQL, once: the last good token of before the restart.
    async fn load_kept(&self) {
        if std::mem::replace(&mut self.book().loaded, true) {
            return;
        }
        match self.doors.kept.load(&self.account.name, &self.account.app_id).await {
            Ok(Some(token)) => {
                self.adopt(token);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(account.id = %self.account.name, %error, "the kept token cannot be read: a new one is fetched");
            }
        }
    }

    async fn fetch(&self, allowance: &mut Allowance, refused: Option<i64>) -> Found {
        let fresh = self.ask(false).await?;
        let before = self.current.load_full().filter(|token| refused == Some(token.generation));
        match before {
            Some(before) if before.token == fresh.token => self.force(allowance, &before).await,
            Some(before) => {
                self.notice_conflict(&before);
                Ok(self.keep(allowance, fresh).await)
            }
            None => Ok(self.keep(allowance, fresh).await),
        }
    }

    /// Normal mode gave the refused token again: the platform itself does not know that it is dead.
    async fn force(&self, allowance: &mut Allowance, refused: &AccessToken) -> Found {
        const AGAIN: &str = "WeChat gave the refused token again";
        if self.account.token_api == TokenApi::Legacy {
            return Err(Failure::new(FailureKind::Asked, AGAIN));
        }
        // A node that waited in vain for the right to refresh may be second.
        if let Ok(Some(token)) = self.take_shared(allowance, Some(refused.generation)).await {
            return Ok(token);
        }
        let known = self.look_around(allowance).await;
        let (forced_at, forced_today) = known.forced();
        let now = self.doors.clock.now();
        rules::may_force(forced_at, forced_today, now)
            .map_err(|why| Failure::new(FailureKind::Asked, format!("{AGAIN}, and {why}")))?;
        tracing::warn!(account.id = %self.account.name, "{AGAIN}: refreshing by force");
        // Marked before it is asked: it counts even when its answer is lost.
        let marked = AccessToken {
            generation: known.generation_of(&refused.token),
            forced_at: Some(now),
            forced_today: rules::count_forced(forced_at, forced_today, now),
            ..refused.clone()
        };
        let marked = self.record(marked).await;
        self.publish(allowance, &marked).await;
        reach(Point::TokenMarked);
        let fresh = self.ask(true).await?;
        Ok(self.keep(allowance, fresh).await)
    }

    async fn ask(&self, force: bool) -> Result<FreshToken, Failure> {
        {
            let mut book = self.book();
            let now = book.now(&*self.doors.clock);
            if !book.budget.spend(now) {
                return Err(Failure::new(FailureKind::NotAsked, "token.max_refreshes_per_hour is used up"));
            }
        }
        let api = match self.account.token_api {
            TokenApi::Stable => "stable_token",
            TokenApi::Legacy => "token",
        };
        let started = Instant::now();
        let reply = self.doors.client.fetch_token(&self.account, force).await;
        let label = match &reply {
            Ok(TokenReply::Token(_)) => "0".to_owned(),
            Ok(TokenReply::Refused { errcode, .. }) => errcode_label(*errcode),
            Err(error) => error.label().to_owned(),
        };
        self.doors.metrics.wechat_request(&self.account.name, api, &label, started.elapsed());
        match reply {
            Ok(TokenReply::Token(fresh)) => Ok(fresh),
            Ok(TokenReply::Refused { errcode, errmsg, rid }) => Err(Failure::refused(errcode, errmsg, rid)),
            Err(error) => Err(self.unanswered(&error)),
        }
    }

    /// What certainly never left is not charged: an outage of the line must not use up what is needed after it.
    fn unanswered(&self, error: &CallError) -> Failure {
        let kind = match error {
            CallError::NotSent { .. } => {
                self.book().budget.refund();
                FailureKind::NotAsked
            }
            CallError::NoAnswer { .. } => FailureKind::Asked,
        };
        Failure::new(kind, format!("no token from WeChat: {error}"))
    }

    async fn keep(&self, allowance: &mut Allowance, fresh: FreshToken) -> Arc<AccessToken> {
        reach(Point::TokenFetched);
        let known = self.look_around(allowance).await;
        let (forced_at, forced_today) = known.forced();
        let now = self.doors.clock.now();
        let token = AccessToken {
            generation: known.generation_of(&fresh.token),
            token: fresh.token,
            fetched_at: now,
            expires_at: now.plus(fresh.expires_in),
            forced_at,
            forced_today,
        };
        let token = self.record(token).await;
        self.doors.metrics.token_refresh(&self.account.name, "ok");
        token
    }

    /// What cannot be read is left out: then the others decide.
    async fn look_around(&self, allowance: &mut Allowance) -> Known {
        let shared = self.load_shared(allowance).await.ok().flatten();
        let kept = self.doors.kept.load(&self.account.name, &self.account.app_id).await.ok().flatten();
        Known { memory: self.current.load_full(), shared, kept }
    }

    /// Into memory and SQL. What fails to be kept is still used.
    async fn record(&self, token: AccessToken) -> Arc<AccessToken> {
        let token = self.adopt(token);
        let name = &self.account.name;
        if let Err(error) = self.doors.kept.keep(name, &self.account.app_id, &token).await {
            tracing::warn!(account.id = %name, %error, "the token cannot be kept: a restart will fetch one");
        }
        reach(Point::TokenKept);
        token
    }

    fn notice_conflict(&self, dead: &AccessToken) {
        let now = self.doors.clock.now();
        let ours = dead.forced_at.is_some_and(|at| at > dead.fetched_at);
        // A clock that was set back makes a token look younger than it is.
        let is_clock_fault = now < dead.fetched_at;
        if ours || is_clock_fault || dead.expires_at.since(now) < EARLY_DEATH {
            return;
        }
        self.doors.metrics.token_refresh(&self.account.name, "conflict");
        let data = serde_json::json!({"generation": dead.generation, "expires_at": dead.expires_at});
        self.doors.raise(&self.account, event::TOKEN_CONFLICT, data);
        tracing::warn!(
            account.id = %self.account.name,
            token.generation = dead.generation,
            "token.conflict: the access_token died early without our doing: does another system hold this AppSecret?"
        );
    }
}
