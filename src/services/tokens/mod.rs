//! Tokens: one engine per account. A send reads its token from memory; everything else happens beside the road.
//!
//! Where a token comes from: memory → Redis (other nodes) → SQL (before a restart) → WeChat. One refresh at a time in the
//! process, and, with Redis, in the cluster. A caller whose token was refused hands in its generation: only the current
//! one can be invalidated, so a hundred callers with one dead token cause one refresh.
//!
//! `engine`: the verbs, and one flight at a time · `refresh`: what a flight does · `cluster`: what it shares with other nodes · `book`: what an engine remembers of its
//! tries · `known`: the tokens that are known anywhere, and the number of the next · `rules`: when a fetch is allowed.

mod book;
mod cluster;
mod engine;
mod known;
mod refresh;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use engine::Engine;

use crate::config::wechat::TokenConfig;
use crate::domain::account::Account;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::token::AccessToken;
use crate::services::accounts::Accounts;
use crate::services::announce::announce;
use crate::store;
use crate::telemetry::metrics::Metrics;
use crate::upstream::wechat::WechatClient;

/// How an account's token stands: for `/ready`, `dry_run` and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// `ready`, `missing`, `failing`.
    pub state: &'static str,
    pub expires_at: Option<Timestamp>,
    pub generation: Option<i64>,
    /// Why the last refresh failed.
    pub problem: Option<String>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("unknown account")]
    UnknownAccount,
    /// The account is at fault: an operator must act.
    #[error("WeChat refused to give a token: {errcode} {errmsg}")]
    Refused { errcode: i64, errmsg: String, rid: Option<String> },
    #[error("{reason}")]
    Unavailable { reason: String },
}

/// The doors an engine needs.
#[derive(Clone)]
pub struct TokenDoors {
    pub client: WechatClient,
    pub kept: Arc<dyn store::Tokens>,
    pub events: Arc<dyn store::Raise>,
    pub shared: Option<Arc<dyn store::SharedTokens>>,
    /// The longest that one call to WeChat can take (`wechat.timeout`).
    pub call_limit: Duration,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

impl TokenDoors {
    /// Tells subscribers, beside the road: nobody waits for it.
    fn raise(&self, account: &Account, kind: &'static str, data: serde_json::Value) {
        announce(&self.events, &account.name, kind, self.clock.now(), &data);
    }
}

/// The engines of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

type Engines = HashMap<Arc<str>, Engine>;

struct Inner {
    engines: ArcSwap<Engines>,
    config: TokenConfig,
    doors: TokenDoors,
}

impl Tokens {
    pub fn new(accounts: &Accounts, config: &TokenConfig, doors: &TokenDoors) -> Self {
        let inner = Inner { engines: ArcSwap::default(), config: config.clone(), doors: doors.clone() };
        let this = Self { inner: Arc::new(inner) };
        this.take_over(&accounts.table().values().cloned().collect::<Vec<_>>());
        this
    }

    /// These are the accounts now. Whoever asks for the token in another way than before begins anew, with the token that is
    /// kept; the others go on. One caller at a time.
    pub fn take_over(&self, accounts: &[Arc<Account>]) {
        let Inner { engines, config, doors } = &*self.inner;
        let before = engines.load();
        let engine_of = |account: &Arc<Account>| match before.get(&account.name) {
            Some(engine) if engine.serves(account) => engine.clone(),
            _ => Engine::new(account.clone(), config, doors.clone()),
        };
        let after: Engines = accounts.iter().map(|account| (account.name.clone(), engine_of(account))).collect();
        engines.store(Arc::new(after));
    }

    /// A token to use now; waits for a refresh only when there is none that still lives.
    pub async fn current(&self, account: &str) -> Result<Arc<AccessToken>, TokenError> {
        self.engine(account)?.current().await
    }

    /// A token other than the refused one: the newer one that is there already, or one fetched now.
    pub async fn renew(&self, account: &str, refused_generation: i64) -> Result<Arc<AccessToken>, TokenError> {
        self.engine(account)?.renew(refused_generation).await
    }

    pub fn status(&self, account: &str) -> Option<TokenStatus> {
        self.inner.engines.load().get(account).map(Engine::status)
    }

    /// Is it worthwhile to begin a send? `false` only while no token lives and a failed refresh forbids to fetch one.
    pub fn can_send(&self, account: &str) -> bool {
        self.inner.engines.load().get(account).is_none_or(Engine::can_send)
    }

    /// A send was refused with the very token that a renewal had just brought: an alarm, once for each token.
    pub fn report_refused_again(&self, account: &str, generation: i64) {
        if let Some(engine) = self.inner.engines.load().get(account) {
            engine.report_refused_again(generation);
        }
    }

    /// Starts the refreshes that are due; returns how many. Called by the clock's tick.
    pub fn refresh_due(&self) -> usize {
        self.inner.engines.load().values().filter(|engine| engine.refresh_if_due()).count()
    }

    fn engine(&self, account: &str) -> Result<Engine, TokenError> {
        self.inner.engines.load().get(account).cloned().ok_or(TokenError::UnknownAccount)
    }
}
