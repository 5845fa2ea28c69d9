//! One account's engine: the token in memory, and one flight to WeChat at a time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;

use super::book::{Book, Failure, FailureKind, Flight, Outcome};
use super::{TokenDoors, TokenError, TokenStatus};
use crate::config::wechat::TokenConfig;
use crate::domain::account::Account;
use crate::domain::event;
use crate::domain::token::AccessToken;

/// Clocks of other nodes may run ahead by less.
const FROM_AHEAD: Duration = Duration::from_secs(60);
const INTERRUPTED: &str = "the token refresh was interrupted";

#[derive(Clone)]
pub(super) struct Engine {
    core: Arc<Core>,
}

pub(super) struct Core {
    pub(super) account: Arc<Account>,
    pub(super) doors: TokenDoors,
    /// Written only while the book is held.
    pub(super) current: ArcSwapOption<AccessToken>,
    /// The generation that WeChat refused last; 0: none. While it is the current one, there is no good token.
    refused: AtomicI64,
    /// Never held across an await.
    book: Mutex<Book>,
}

impl Engine {
    pub(super) fn new(account: Arc<Account>, config: &TokenConfig, doors: TokenDoors) -> Self {
        let book = Mutex::new(Book::new(config.max_refreshes_per_hour));
        Self {
            core: Arc::new(Core { account, doors, current: ArcSwapOption::empty(), refused: AtomicI64::new(0), book }),
        }
    }

    /// Would the token be asked for in the same way?
    pub(super) fn serves(&self, account: &Account) -> bool {
        let ours = &*self.core.account;
        (&ours.app_id, &ours.app_secret, ours.token_api, &ours.base_url)
            == (&account.app_id, &account.app_secret, account.token_api, &account.base_url)
    }

    pub(super) async fn current(&self) -> Outcome {
        if let Some(token) = self.core.good() {
            return Ok(token);
        }
        match self.core.known_refused() {
            Some(refused) => self.renew(refused).await,
            None => self.fly(None).await,
        }
    }

    pub(super) async fn renew(&self, refused: i64) -> Outcome {
        self.core.refused.fetch_max(refused, Ordering::AcqRel);
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
        let (core, clock) = (&self.core, &*self.core.doors.clock);
        if let Some(token) = core.current.load().as_ref() {
            let left = token.expires_at.since(clock.now()).as_secs_f64();
            core.doors.metrics.token_expires_in(&core.account.name, left);
        }
        let mut book = core.book();
        let refused = core.known_refused();
        if book.flight.is_some() || !(refused.is_some() || book.is_due(clock)) || book.pause(clock).is_some() {
            return false;
        }
        drop(book);
        drop(self.fly(refused));
        true
    }

    pub(super) fn can_send(&self) -> bool {
        self.core.good().is_some() || self.core.book().pause(&*self.core.doors.clock).is_none()
    }

    pub(super) fn report_refused_again(&self, generation: i64) {
        if self.core.book().alarmed.replace(generation) == Some(generation) {
            return;
        }
        let account = &self.core.account;
        self.core.doors.metrics.token_refresh(&account.name, "refused_again");
        tracing::error!(
            account.id = %account.name,
            token.generation = generation,
            "token.refused_again: WeChat refuses a token that it gave a moment ago"
        );
    }

    pub(super) fn status(&self) -> TokenStatus {
        let token = self.core.good();
        let problem = self.core.book().problem();
        let state = match (&token, &problem) {
            (Some(_), _) => "ready",
            (None, Some(_)) => "failing",
            (None, None) => "missing",
        };
        let expires_at = token.as_ref().map(|token| token.expires_at);
        TokenStatus { state, expires_at, generation: token.map(|token| token.generation), problem }
    }

    /// Joins the flight that is under way, or starts one. It goes on when everyone who waits for it has left.
    fn fly(&self, refused: Option<i64>) -> Flight {
        let mut book = self.core.book();
        if let Some(flight) = &book.flight {
            return flight.clone();
        }
        let mut landing = Landing { core: self.core.clone(), outcome: None };
        let task = tokio::spawn(async move {
            let outcome = landing.core.refresh(refused).await;
            landing.outcome = Some(outcome.clone());
            drop(landing);
            outcome.map_err(|failure| failure.error)
        });
        let lost = |_| Err(TokenError::Unavailable { reason: INTERRUPTED.to_owned() });
        let flight = async move { task.await.unwrap_or_else(lost) }.boxed().shared();
        book.flight = Some(flight.clone());
        flight
    }
}

/// Ends a flight however it ends, whether somebody waits for it or not: the next one may start.
struct Landing {
    core: Arc<Core>,
    outcome: Option<Result<Arc<AccessToken>, Failure>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        match self.outcome.take() {
            Some(outcome) => self.core.land(&outcome),
            // A bug of ours. Paused like a failure: it would come again at once.
            None if std::thread::panicking() => self.core.land(&Err(Failure::new(FailureKind::Asked, INTERRUPTED))),
            // The process is stopping.
            None => self.core.book().flight = None,
        }
    }
}

impl Core {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token in memory, if it lives and is not the refused one.
    pub(super) fn living(&self, refused: Option<i64>) -> Option<Arc<AccessToken>> {
        let now = self.doors.clock.now();
        self.current.load_full().filter(|token| token.is_valid(now) && Some(token.generation) != refused)
    }

    /// The token in memory, if it lives and WeChat has not refused it.
    fn good(&self) -> Option<Arc<AccessToken>> {
        self.living(Some(self.refused.load(Ordering::Acquire)))
    }

    /// The generation in memory, when it is the one that WeChat refused.
    fn known_refused(&self) -> Option<i64> {
        let refused = self.refused.load(Ordering::Acquire);
        self.current.load().as_ref().map(|token| token.generation).filter(|generation| *generation == refused)
    }

    /// Into memory, unless something newer is there.
    pub(super) fn adopt(&self, token: AccessToken) -> Arc<AccessToken> {
        let clock = &*self.doors.clock;
        let mut book = self.book();
        if let Some(present) = self.current.load_full()
            && present.generation > token.generation
        {
            return present;
        }
        let now = clock.now();
        // From a time ahead of ours: the clock was set back since, and how long it still lives nobody knows.
        let is_from_ahead = token.fetched_at.since(now) > FROM_AHEAD;
        let left = if is_from_ahead { Duration::ZERO } else { token.expires_at.since(now) };
        book.plan_refresh(clock, left, rand::random());
        let token = Arc::new(token);
        self.current.store(Some(token.clone()));
        token
    }

    /// Writes down how the flight ended and frees the place for the next.
    fn land(&self, outcome: &Result<Arc<AccessToken>, Failure>) {
        let mut book = self.book();
        book.flight = None;
        let failure = match outcome {
            Ok(_) => return book.succeeded(),
            Err(failure) => failure,
        };
        let Some(pause) = book.failed(failure, &*self.doors.clock) else { return };
        let is_first = book.has_just_begun_to_fail();
        drop(book);
        if is_first {
            let data = serde_json::json!({"error": failure.error.to_string(), "retry_after_s": pause.as_secs()});
            self.doors.raise(&self.account, event::TOKEN_REFRESH_FAILING, data);
        }
        self.doors.metrics.token_refresh(&self.account.name, "failed");
        tracing::error!(
            account.id = %self.account.name,
            error = %failure.error,
            pause_s = pause.as_secs(),
            "token.refresh_failing: no new access_token; the last good one serves while it lives"
        );
    }
}
