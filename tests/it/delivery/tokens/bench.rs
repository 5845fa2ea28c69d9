//! Token engines without a gateway around them: nodes that share a WeChat, a clock and, when wanted, a Redis.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use wxgate::config::wechat::{TokenConfig, WechatConfig};
use wxgate::domain::account::{Account, Replies, TokenApi};
use wxgate::domain::clock::Clock;
use wxgate::domain::event::NewEvent;
use wxgate::domain::secret::Secret;
use wxgate::domain::state::OnUnknown;
use wxgate::domain::token::AccessToken;
use wxgate::sandbox::{DEMO_APP_ID, DEMO_APP_SECRET};
use wxgate::services::accounts::Accounts;
use wxgate::services::tokens::{TokenDoors, Tokens};
use wxgate::store::tokens::RefreshLock;
use wxgate::store::{self, Allowance};
use wxgate::telemetry::metrics::{Metrics, Scrape};
use wxgate::upstream;
use wxgate::upstream::wechat::WechatClient;

use crate::harness::World;

/// One process: its engines, its SQL, its metrics.
pub(super) struct Node {
    pub(super) tokens: Tokens,
    pub(super) sql: Arc<Shelf>,
    metrics: Metrics,
}

impl Node {
    pub(super) fn of(world: &World) -> Self {
        Self::with(world, &world.sandbox_url, None, 60)
    }

    pub(super) fn sharing(world: &World, redis: Arc<dyn store::SharedTokens>) -> Self {
        Self::with(world, &world.sandbox_url, Some(redis), 60)
    }

    pub(super) fn with(
        world: &World,
        base_url: &str,
        shared: Option<Arc<dyn store::SharedTokens>>,
        max_refreshes_per_hour: u32,
    ) -> Self {
        let (sql, metrics) = (Arc::new(Shelf::default()), Metrics::new());
        let timeout = Duration::from_secs(20);
        let config = WechatConfig { base_url: String::new(), connect_timeout: timeout, timeout, proxy: None };
        let doors = TokenDoors {
            client: WechatClient::new(upstream::http::client(&config).unwrap()),
            kept: sql.clone(),
            events: sql.clone(),
            shared,
            call_limit: timeout,
            clock: world.clock.clone(),
            metrics: metrics.clone(),
        };
        let accounts = Accounts::new([Arc::new(account(base_url))]);
        Self { tokens: Tokens::new(&accounts, &TokenConfig { max_refreshes_per_hour }, &doors), sql, metrics }
    }

    pub(super) async fn current(&self) -> Arc<AccessToken> {
        self.tokens.current("shop").await.unwrap()
    }

    pub(super) async fn renew(&self, refused: &AccessToken) -> Arc<AccessToken> {
        self.tokens.renew("shop", refused.generation).await.unwrap()
    }

    /// `wxgate_token_refreshes_total` with this result.
    pub(super) fn refreshes(&self, result: &str) -> u64 {
        let line = format!("wxgate_token_refreshes_total{{account=\"shop\",result=\"{result}\"}} ");
        let text = self.metrics.render(&Scrape::default());
        text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

fn account(base_url: &str) -> Account {
    Account {
        name: Arc::from("shop"),
        app_id: DEMO_APP_ID.to_owned(),
        app_secret: Secret::new(DEMO_APP_SECRET),
        callback: None,
        token_api: TokenApi::Stable,
        base_url: base_url.to_owned(),
        on_unknown: OnUnknown::default(),
        daily_quota: None,
        templates: std::collections::BTreeMap::new(),
        replies: Replies::default(),
        relay: None,
        quiet: None,
    }
}

/// A front of WeChat whose port refuses connections until it is opened.
pub(super) struct ClosedFront {
    socket: TcpSocket,
    pub(super) base_url: String,
}

impl ClosedFront {
    pub(super) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let base_url = format!("http://{}", socket.local_addr().unwrap());
        Self { socket, base_url }
    }

    pub(super) fn open(self, world: &World) {
        let listener: TcpListener = self.socket.listen(64).unwrap();
        tokio::spawn(world.sandbox.clone().serve(listener, CancellationToken::new()));
    }
}

/// SQL's and Redis's law: a newer generation stays.
fn put(place: &mut Option<AccessToken>, token: &AccessToken) -> bool {
    let is_older = place.as_ref().is_some_and(|kept| kept.generation > token.generation);
    if !is_older {
        *place = Some(token.clone());
    }
    !is_older
}

/// SQL, of one token.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) token: Mutex<Option<AccessToken>>,
    /// The next look breaks down.
    pub(super) panics: AtomicBool,
    /// The types of the events that were raised.
    pub(super) raised: Mutex<Vec<String>>,
}

#[async_trait]
impl store::Raise for Shelf {
    async fn raise(&self, event: NewEvent) -> Result<(), store::Error> {
        self.raised.lock().unwrap().push(event.kind.into_owned());
        Ok(())
    }
}

#[async_trait]
impl store::Tokens for Shelf {
    async fn load(&self, _: &str, _: &str) -> Result<Option<AccessToken>, store::Error> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as a bug would");
        Ok(self.token.lock().unwrap().clone())
    }

    async fn keep(&self, _: &str, _: &str, token: &AccessToken) -> Result<bool, store::Error> {
        Ok(put(&mut self.token.lock().unwrap(), token))
    }
}

/// Redis in memory, by the test's clock.
#[derive(Default)]
pub(super) struct Board {
    pub(super) token: Mutex<Option<AccessToken>>,
    locks: Mutex<HashMap<String, String>>,
    /// The holds that were asked for.
    pub(super) holds: Mutex<Vec<Duration>>,
}

#[async_trait]
impl store::SharedTokens for Board {
    async fn load(&self, _: &mut Allowance, _: &str, _: &str) -> Result<Option<AccessToken>, store::Error> {
        Ok(self.token.lock().unwrap().clone())
    }

    async fn publish(&self, _: &mut Allowance, _: &str, _: &str, token: &AccessToken) -> Result<bool, store::Error> {
        Ok(put(&mut self.token.lock().unwrap(), token))
    }

    async fn lock(
        &self,
        _: &mut Allowance,
        account: &str,
        _: &str,
        hold: Duration,
    ) -> Result<Option<RefreshLock>, store::Error> {
        self.holds.lock().unwrap().push(hold);
        let mut locks = self.locks.lock().unwrap();
        if locks.contains_key(account) {
            return Ok(None);
        }
        let lock = RefreshLock { key: account.to_owned(), holder: "one of us".to_owned(), hold };
        locks.insert(lock.key.clone(), lock.holder.clone());
        Ok(Some(lock))
    }

    async fn unlock(&self, _: &mut Allowance, lock: RefreshLock) -> Result<(), store::Error> {
        self.locks.lock().unwrap().remove(&lock.key);
        Ok(())
    }
}

/// A Redis that takes its time, and never says more than that nothing is there.
pub(super) struct Slow {
    /// `None`: it never answers.
    pub(super) answers_after: Option<Duration>,
    /// When the allowance is over, the door gives up.
    pub(super) gives_up: bool,
}

impl Slow {
    async fn answer<T>(&self, allowance: &mut Allowance, value: T) -> Result<T, store::Error> {
        let answer = async {
            match self.answers_after {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        let limit = if self.gives_up { allowance.left() } else { Duration::MAX };
        let begun = Instant::now();
        let answered = tokio::time::timeout(limit, answer).await;
        allowance.spend(begun.elapsed());
        match answered {
            Ok(()) => Ok(value),
            Err(_) => Err(store::Error::Unavailable { reason: "Redis did not answer in time".to_owned() }),
        }
    }
}

#[async_trait]
impl store::SharedTokens for Slow {
    async fn load(&self, allowance: &mut Allowance, _: &str, _: &str) -> Result<Option<AccessToken>, store::Error> {
        self.answer(allowance, None).await
    }

    async fn publish(
        &self,
        allowance: &mut Allowance,
        _: &str,
        _: &str,
        _: &AccessToken,
    ) -> Result<bool, store::Error> {
        self.answer(allowance, true).await
    }

    async fn lock(
        &self,
        allowance: &mut Allowance,
        _: &str,
        _: &str,
        _: Duration,
    ) -> Result<Option<RefreshLock>, store::Error> {
        self.answer(allowance, None).await
    }

    async fn unlock(&self, allowance: &mut Allowance, _: RefreshLock) -> Result<(), store::Error> {
        self.answer(allowance, ()).await
    }
}

/// A token that somebody kept, good for an hour.
pub(super) fn token(world: &World, text: &str, generation: i64) -> AccessToken {
    let now = world.clock.now();
    AccessToken {
        token: Secret::new(text),
        generation,
        fetched_at: now,
        expires_at: now.plus(Duration::from_secs(3_600)),
        forced_at: None,
        forced_today: 0,
    }
}
