//! One account's engine: the token in memory, and one flight to WeChat at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::rules::{self, Budget};
use super::{TokenDoors, TokenError, TokenStatus};
use crate::config::wechat::TokenConfig;
use crate::domain::account::{Account, TokenApi};
use crate::domain::clock::Timestamp;
use crate::domain::token::AccessToken;
use crate::store::tokens::RefreshLock;
use crate::upstream::wechat::{FreshToken, TokenReply, errcode_label};
use crate::wechat::errcode::{self, Class};

/// How long this node may hold the cluster's right to refresh.
const LOCK_HOLD: Duration = Duration::from_secs(15);
/// How often, and for how long, it looks whether the node that has the right has finished.
const PEER_POLL: Duration = Duration::from_millis(100);
const PEER_PATIENCE: Duration = Duration::from_secs(5);
/// A token that dies with more than this left was killed by somebody.
const EARLY_DEATH: Duration = Duration::from_secs(330);

type Outcome = Result<Arc<AccessToken>, TokenError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Clone)]
pub(super) struct Engine {
    core: Arc<Core>,
}

struct Core {
    account: Arc<Account>,
    doors: TokenDoors,
    current: ArcSwapOption<AccessToken>,
    /// Never held across an await.
    book: Mutex<Book>,
}

struct Book {
    flight: Option<Flight>,
    budget: Budget,
    failures_in_a_row: u32,
    blocked_until: Option<Timestamp>,
    problem: Option<TokenError>,
    refresh_at: Option<Timestamp>,
    /// SQL has been asked once, at the first need.
    loaded: bool,
}

impl Engine {
    pub(super) fn new(account: Arc<Account>, config: &TokenConfig, doors: TokenDoors) -> Self {
        let book = Book {
            flight: None,
            budget: Budget::new(config.max_refreshes_per_hour),
            failures_in_a_row: 0,
            blocked_until: None,
            problem: None,
            refresh_at: None,
            loaded: false,
        };
        Self { core: Arc::new(Core { account, doors, current: ArcSwapOption::empty(), book: Mutex::new(book) }) }
    }

    pub(super) async fn current(&self) -> Outcome {
        match self.core.living(None) {
            Some(token) => Ok(token),
            None => self.fly(None).await,
        }
    }

    pub(super) async fn renew(&self, refused: i64) -> Outcome {
        // The first flight may have begun for another reason and bring the refused token once more.
        for _ in 0..2 {
            if let Some(token) = self.core.living(Some(refused)) {
                return Ok(token);
            }
            let token = self.fly(Some(refused)).await?;
            if token.generation != refused {
                return Ok(token);
            }
        }
        Err(TokenError::Unavailable { reason: "WeChat keeps giving a token that it refuses".to_owned() })
    }

    pub(super) fn refresh_if_due(&self) -> bool {
        let now = self.core.doors.clock.now();
        if let Some(token) = self.core.current.load().as_ref() {
            let left = token.expires_at.since(now).as_secs_f64();
            self.core.doors.metrics.token_expires_in(&self.core.account.name, left);
        }
        let book = self.core.book();
        let blocked = book.blocked_until.is_some_and(|until| now < until);
        let due = book.refresh_at.is_none_or(|at| at <= now);
        if blocked || !due || book.flight.is_some() {
            return false;
        }
        drop(book);
        drop(self.fly(None));
        true
    }

    pub(super) fn status(&self) -> TokenStatus {
        let now = self.core.doors.clock.now();
        let token = self.core.living(None);
        let book = self.core.book();
        let problem = book.problem.as_ref().filter(|_| book.failures_in_a_row > 0).map(ToString::to_string);
        let state = match (&token, &problem) {
            (Some(_), _) => "ready",
            (None, Some(_)) => "failing",
            (None, None) => "missing",
        };
        let expires_at = token.as_ref().map(|token| token.expires_at).filter(|at| now < *at);
        TokenStatus { state, expires_at, generation: token.map(|token| token.generation), problem }
    }

    /// Joins the flight that is under way, or starts one. It goes on when everyone who waits for it has left.
    fn fly(&self, refused: Option<i64>) -> Flight {
        let mut book = self.core.book();
        if let Some(flight) = &book.flight {
            return flight.clone();
        }
        let core = self.core.clone();
        let task = tokio::spawn(async move {
            let outcome = core.refresh(refused).await;
            core.land(&outcome);
            outcome
        });
        let lost = || TokenError::Unavailable { reason: "the token refresh was interrupted".to_owned() };
        let core = self.core.clone();
        let flight = async move {
            task.await.unwrap_or_else(|_| {
                core.book().flight = None;
                Err(lost())
            })
        }
        .boxed()
        .shared();
        book.flight = Some(flight.clone());
        flight
    }
}

impl Core {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token in memory, if it lives and is not the refused one.
    fn living(&self, refused: Option<i64>) -> Option<Arc<AccessToken>> {
        let now = self.doors.clock.now();
        self.current.load_full().filter(|token| token.is_valid(now) && Some(token.generation) != refused)
    }

    async fn refresh(&self, refused: Option<i64>) -> Outcome {
        self.load_kept().await;
        if let Some(token) = self.take_shared(refused).await {
            return Ok(token);
        }
        // Kept from before a restart, or brought by a flight that landed a moment ago.
        if let Some(token) = self.living(refused)
            && (refused.is_some() || !self.is_due())
        {
            return Ok(token);
        }
        self.check_pause()?;
        let lock = match self.lock_cluster(refused).await {
            Ok(lock) => lock,
            Err(token) => return Ok(token),
        };
        let outcome = self.fetch(refused).await;
        if let (Some(shared), Some(lock)) = (&self.doors.shared, lock) {
            let _ = shared.unlock(lock).await;
        }
        outcome
    }

    fn is_due(&self) -> bool {
        let now = self.doors.clock.now();
        self.book().refresh_at.is_none_or(|at| at <= now)
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

    /// Redis: a newer token of another node.
    async fn take_shared(&self, refused: Option<i64>) -> Option<Arc<AccessToken>> {
        let shared = self.doors.shared.as_ref()?;
        let token = shared.load(&self.account.name, &self.account.app_id).await.ok().flatten()?;
        let before = self.current.load_full().map(|token| token.generation);
        let is_news = before.is_none_or(|generation| token.generation > generation);
        (is_news && token.is_valid(self.doors.clock.now()) && Some(token.generation) != refused)
            .then(|| self.adopt(token))
    }

    fn check_pause(&self) -> Result<(), TokenError> {
        let now = self.doors.clock.now();
        let book = self.book();
        if book.blocked_until.is_some_and(|until| now < until) {
            let fallback = || TokenError::Unavailable { reason: "the last token refresh failed".to_owned() };
            return Err(book.problem.clone().unwrap_or_else(fallback));
        }
        Ok(())
    }

    /// The cluster's right to refresh. `Err` brings the token that another node fetched meanwhile. Redis out of reach, or
    /// a node that does not finish, never holds us up for long: then each node refreshes for itself.
    async fn lock_cluster(&self, refused: Option<i64>) -> Result<Option<RefreshLock>, Arc<AccessToken>> {
        let Some(shared) = &self.doors.shared else { return Ok(None) };
        let rounds = PEER_PATIENCE.as_millis() / PEER_POLL.as_millis();
        for _ in 0..rounds {
            match shared.lock(&self.account.name, &self.account.app_id, LOCK_HOLD).await {
                Ok(Some(lock)) => {
                    // Another node may have finished between our look and our lock.
                    return match self.take_shared(refused).await {
                        Some(token) => {
                            let _ = shared.unlock(lock).await;
                            Err(token)
                        }
                        None => Ok(Some(lock)),
                    };
                }
                Ok(None) => {}
                Err(_) => return Ok(None),
            }
            tokio::time::sleep(PEER_POLL).await;
            if let Some(token) = self.take_shared(refused).await {
                return Err(token);
            }
        }
        Ok(None)
    }

    async fn fetch(&self, refused: Option<i64>) -> Outcome {
        let fresh = self.ask(false).await?;
        let before = self.current.load_full();
        let is_same = before.as_ref().is_some_and(|token| token.token == fresh.token);
        if is_same && refused == before.as_ref().map(|token| token.generation) && refused.is_some() {
            return self.force(before.as_deref()).await;
        }
        if let (Some(token), Some(_), false) = (&before, refused, is_same) {
            self.notice_conflict(token);
        }
        Ok(self.keep(fresh, before.as_deref(), is_same).await)
    }

    /// Normal mode gave the refused token again: the platform itself does not know that it is dead.
    async fn force(&self, before: Option<&AccessToken>) -> Outcome {
        if self.account.token_api == TokenApi::Legacy {
            return Err(TokenError::Unavailable { reason: "WeChat gave the refused token again".to_owned() });
        }
        let (forced_at, forced_today) = before.map_or((None, 0), |token| (token.forced_at, token.forced_today));
        let now = self.doors.clock.now();
        rules::may_force(forced_at, forced_today, now).map_err(|why| TokenError::Unavailable {
            reason: format!("WeChat gave the refused token again, and {why}"),
        })?;
        tracing::warn!(account.id = %self.account.name, "WeChat gave the refused token again: refreshing by force");
        let fresh = self.ask(true).await?;
        let marked = before.cloned().map(|mut token| {
            token.forced_today = rules::count_forced(forced_at, forced_today, now);
            token.forced_at = Some(now);
            token
        });
        let is_same = before.is_some_and(|token| token.token == fresh.token);
        Ok(self.keep(fresh, marked.as_ref(), is_same).await)
    }

    async fn ask(&self, force: bool) -> Result<FreshToken, TokenError> {
        let now = self.doors.clock.now();
        if !self.book().budget.spend(now) {
            return Err(TokenError::Unavailable { reason: "token.max_refreshes_per_hour is used up".to_owned() });
        }
        let api = match self.account.token_api {
            TokenApi::Stable => "stable_token",
            TokenApi::Legacy => "token",
        };
        let started = std::time::Instant::now();
        let reply = self.doors.client.fetch_token(&self.account, force).await;
        let label = match &reply {
            Ok(TokenReply::Token(_)) => "0".to_owned(),
            Ok(TokenReply::Refused { errcode, .. }) => errcode_label(*errcode),
            Err(error) => error.label().to_owned(),
        };
        self.doors.metrics.wechat_request(&self.account.name, api, &label, started.elapsed());
        match reply {
            Ok(TokenReply::Token(fresh)) => Ok(fresh),
            Ok(TokenReply::Refused { errcode, errmsg, rid }) => Err(TokenError::Refused { errcode, errmsg, rid }),
            Err(error) => Err(TokenError::Unavailable { reason: format!("no token from WeChat: {error}") }),
        }
    }

    /// Into memory, SQL and Redis. What fails to be kept is still used.
    async fn keep(&self, fresh: FreshToken, before: Option<&AccessToken>, is_same: bool) -> Arc<AccessToken> {
        let now = self.doors.clock.now();
        let generation = before.map_or(0, |token| token.generation) + i64::from(!is_same);
        let token = AccessToken {
            token: fresh.token,
            generation: generation.max(1),
            fetched_at: now,
            expires_at: now.plus(fresh.expires_in),
            forced_at: before.and_then(|token| token.forced_at),
            forced_today: before.map_or(0, |token| token.forced_today),
        };
        let token = self.adopt(token);
        let name = &self.account.name;
        self.doors.metrics.token_refresh(name, "ok");
        if let Err(error) = self.doors.kept.keep(name, &self.account.app_id, &token).await {
            tracing::warn!(account.id = %name, %error, "the token cannot be kept: a restart will fetch one");
        }
        if let Some(shared) = &self.doors.shared {
            // Redis out of reach is told by its own door; other nodes fetch for themselves.
            let _ = shared.publish(name, &self.account.app_id, &token).await;
        }
        token
    }

    /// Into memory, unless something newer is there.
    fn adopt(&self, token: AccessToken) -> Arc<AccessToken> {
        let now = self.doors.clock.now();
        let mut book = self.book();
        if let Some(present) = self.current.load_full()
            && present.generation > token.generation
        {
            return present;
        }
        book.refresh_at = Some(rules::refresh_at(now, token.expires_at, rand::random()));
        drop(book);
        let token = Arc::new(token);
        self.current.store(Some(token.clone()));
        token
    }

    fn notice_conflict(&self, dead: &AccessToken) {
        if dead.expires_at.since(self.doors.clock.now()) < EARLY_DEATH {
            return;
        }
        self.doors.metrics.token_refresh(&self.account.name, "conflict");
        tracing::warn!(
            account.id = %self.account.name,
            token.generation = dead.generation,
            "token.conflict: the access_token died early without our doing: does another system hold this AppSecret?"
        );
    }

    /// Writes down how the flight ended and frees the place for the next.
    fn land(&self, outcome: &Outcome) {
        let now = self.doors.clock.now();
        let mut book = self.book();
        book.flight = None;
        let error = match outcome {
            Ok(_) => {
                book.failures_in_a_row = 0;
                book.blocked_until = None;
                book.problem = None;
                return;
            }
            Err(error) => error,
        };
        if book.blocked_until.is_some_and(|until| now < until) {
            return;
        }
        book.failures_in_a_row = book.failures_in_a_row.saturating_add(1);
        let pause = match error {
            TokenError::Refused { errcode, .. } if errcode::class_on_token_call(*errcode) != Class::Transient => {
                rules::pause_after_refusal(*errcode, book.failures_in_a_row)
            }
            _ => rules::pause_after_silence(book.failures_in_a_row),
        };
        book.blocked_until = Some(now.plus(pause));
        book.problem = Some(error.clone());
        drop(book);
        self.doors.metrics.token_refresh(&self.account.name, "failed");
        tracing::error!(
            account.id = %self.account.name,
            error = %error,
            pause_s = pause.as_secs(),
            "token.refresh_failing: no new access_token; the last good one serves while it lives"
        );
    }
}
