//! Where the parts meet: doors from the configuration, services from the doors, faces from the services.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::config::http::ServerConfig;
use crate::domain::audit::Actor;
use crate::domain::caller::Scope;
use crate::domain::clock::Clock;
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::domain::secret::Secret;
use crate::failpoint::{Point, reach};
use crate::http::{self, HttpParts, HttpState};
use crate::services::accept::{Accept, AcceptDoors, Turns};
use crate::services::access::{Access, AccessDoors, KeyRequest};
use crate::services::accounts::{Accounts, Register, RegisterDoors};
use crate::services::audits::Audits;
use crate::services::batches::Batches;
use crate::services::breaker::{BreakerRules, Breakers};
use crate::services::clock_watch::ClockWatch;
use crate::services::dispatch::{Dispatch, Running};
use crate::services::feed::Feed;
use crate::services::health::Health;
use crate::services::limits::Limits;
use crate::services::outcomes::Outcomes;
use crate::services::pace::Paces;
use crate::services::quota::{QuotaReader, Quotas};
use crate::services::receive::Receive;
use crate::services::relay::{Relay, RelayDoors, RelayRules};
use crate::services::reports::Reports;
use crate::services::slots::Slots;
use crate::services::suppressions::Suppressions;
use crate::services::sweep::Sweep;
use crate::services::tokens::{TokenDoors, Tokens};
use crate::services::users::Users;
use crate::services::verdict::RetryRules;
use crate::services::verify::Verify;
use crate::services::webhooks::admin::{AdminDoors, WebhookAdmin};
use crate::services::webhooks::register::Webhooks;
use crate::services::webhooks::teller::Teller;
use crate::store::redis::Link;
use crate::store::{self, Stores};
use crate::telemetry::metrics::Metrics;
use crate::upstream::outside::OutsideClient;
use crate::upstream::relay::RelayClient;
use crate::upstream::wechat::WechatClient;
use crate::worker::{Courier, Listener, Timer, Worker};

/// One gateway, ready to serve.
pub struct App {
    server: ServerConfig,
    stores: Stores,
    state: HttpState,
    worker: Worker,
    timer: Timer,
    listener: Listener,
    courier: Courier,
    access: Access,
    metrics: Metrics,
    slots: Slots,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// How a gateway is told to stop: `soft` finishes what is under way, `hard` does not.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    pub soft: CancellationToken,
    pub hard: CancellationToken,
}

impl App {
    /// Opens the store (running its migrations) and builds every part. Nothing runs and nothing is fetched yet.
    pub async fn build(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let boot = BootId::generate(clock.now());
        let sealer = Sealer::new(config.secrets.open().context("the key that seals secrets")?.0);
        let stores = store::open::open(&config.store, boot, sealer.clone()).await?;
        reach(Point::StartOpened);
        let redis = config.redis.as_ref().map(Link::new).transpose()?;
        let shared = redis.as_ref().map(|redis| store::open::share_tokens(redis, sealer.clone()));
        let nonces = redis.as_ref().map(store::open::share_nonces);
        let client = WechatClient::open(&config.wechat)?;
        let metrics = Metrics::new();
        metrics.started(clock.now());
        let accounts = Accounts::new(config.accounts.iter().cloned());
        let doors = TokenDoors {
            client: client.clone(),
            kept: stores.tokens.clone(),
            events: stores.events.clone(),
            shared,
            call_limit: config.wechat.timeout,
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let tokens = Tokens::new(&accounts, &config.token, &doors);
        let doors = RegisterDoors {
            stored: stores.accounts.clone(),
            accounts: accounts.clone(),
            tokens: tokens.clone(),
            reach: config.webhooks.reach.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let register = Register::new(doors, config.accounts, config.wechat.base_url);
        register.refresh().await?;
        let outcomes = Outcomes::default();
        let limits = Limits::new(&config.limits, redis.as_ref().map(store::open::share_limits), metrics.clone());
        let suppressions = Suppressions::new(
            stores.suppressions.clone(),
            accounts.clone(),
            config.limits.suppression,
            metrics.clone(),
            clock.clone(),
        );
        let paces = Paces::new(config.limits.account);
        let reader = QuotaReader { client: client.clone(), tokens: tokens.clone(), metrics: metrics.clone() };
        let quotas = Quotas::new(accounts.clone(), reader, stores.parks.clone(), stores.events.clone(), clock.clone());
        quotas.catch_up().await?;
        let outside = OutsideClient::new(config.webhooks.reach)?;
        let configured = config.webhooks.webhooks.iter().map(|webhook| webhook.webhook()).collect();
        let webhooks = Webhooks::new(stores.webhooks.clone(), configured, clock.clone());
        webhooks.refresh().await?;
        let teller = Teller { client: outside.clone(), clock: clock.clone(), metrics: metrics.clone() };
        let courier = Courier::new(&stores, webhooks.clone(), teller);
        let slots = Slots::new(config.queue.concurrency);
        let tasks = TaskTracker::new();
        let running = Running::default();
        let stopping = CancellationToken::new();
        let dispatch = Arc::new(Dispatch {
            queue: stores.queue.clone(),
            accounts: accounts.clone(),
            tokens: tokens.clone(),
            client: client.clone(),
            breakers: Breakers::new(BreakerRules {
                failures_to_shut: config.queue.breaker_failures,
                pause: config.queue.breaker_open,
                full: config.queue.concurrency,
            }),
            paces: paces.clone(),
            quotas: quotas.clone(),
            outcomes: outcomes.clone(),
            running: running.clone(),
            rules: RetryRules { backoff: config.queue.backoff, max_attempts: config.queue.max_attempts },
            call_limit: config.wechat.timeout,
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        let accept = Accept::new(AcceptDoors {
            outbox: stores.outbox.clone(),
            messages: stores.messages.clone(),
            users: stores.users.clone(),
            accounts: accounts.clone(),
            tokens: tokens.clone(),
            suppressions: suppressions.clone(),
            limits: limits.clone(),
            quotas: quotas.clone(),
            turns: Turns::default(),
            dispatch: dispatch.clone(),
            outcomes: outcomes.clone(),
            slots: slots.clone(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
            clock: clock.clone(),
            default_ttl: config.api.ttl,
            first_lease: config.queue.lease,
        });
        let worker = Worker {
            queue: stores.queue.clone(),
            dispatch,
            slots: slots.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            watch: ClockWatch::new(stores.queue.clone(), outcomes.clone(), clock.clone()),
            hold: config.queue.lease,
            turns: Arc::default(),
        };
        let doors =
            AccessDoors { keys: stores.keys.clone(), nonces, sealer, clock: clock.clone(), metrics: metrics.clone() };
        let access = Access::open(doors, config.clients.clone(), &config.auth, &config.limits);
        let sweep = Sweep {
            queue: stores.queue.clone(),
            outbox: stores.outbox.clone(),
            messages: stores.messages.clone(),
            inbox: stores.inbox.clone(),
            batches: stores.batches.clone(),
            events: stores.events.clone(),
            deliveries: stores.deliveries.clone(),
            webhooks: webhooks.clone(),
            audit: stores.audit.clone(),
            retention: config.retention,
            outcomes: outcomes.clone(),
            running,
            slots: slots.clone(),
            clock: clock.clone(),
        };
        let listener = Listener {
            queue: stores.queue.clone(),
            messages: stores.messages.clone(),
            outcomes: outcomes.clone(),
            slots: slots.clone(),
        };
        let timer = Timer {
            tokens: tokens.clone(),
            sweep,
            access: access.clone(),
            suppressions: suppressions.clone(),
            register: register.clone(),
            limits,
            quotas: quotas.clone(),
            clock: clock.clone(),
        };
        let reports = Reports {
            messages: stores.messages.clone(),
            accept: accept.clone(),
            outcomes: outcomes.clone(),
            clock: clock.clone(),
        };
        let batches = Batches { batches: stores.batches.clone(), accept: accept.clone(), clock: clock.clone() };
        let relay = Relay::new(
            RelayDoors {
                client: RelayClient::new(outside.clone()),
                inbox: stores.inbox.clone(),
                wechat: client,
                tokens: tokens.clone(),
                tasks: tasks.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            },
            RelayRules::default(),
        );
        let receive =
            Receive { inbox: stores.inbox.clone(), outcomes, relay, clock: clock.clone(), metrics: metrics.clone() };
        let verify = Verify { accounts: accounts.clone(), clock: clock.clone(), freshness: config.callback.freshness };
        let health =
            Health::new(stores.counts.clone(), redis, tokens.clone(), (quotas, paces), accounts.clone(), clock.clone());
        let doors = AdminDoors {
            known: webhooks,
            stored: stores.webhooks.clone(),
            deliveries: stores.deliveries.clone(),
            accounts: accounts.clone(),
            client: outside,
            clock: clock.clone(),
        };
        let webhooks = WebhookAdmin::new(doors, config.webhooks.webhooks);
        let feed = Feed::new(stores.events.clone(), stopping.clone());
        let users = Users::new(stores.users.clone(), accounts, clock.clone());
        let state = HttpState::new(HttpParts {
            access: access.clone(),
            accept,
            batches,
            reports,
            register,
            audits: Audits { kept: stores.audit.clone() },
            verify,
            receive,
            tokens,
            users,
            feed,
            suppressions,
            webhooks,
            health,
            metrics: metrics.clone(),
            clock,
            server: Arc::new(config.server.clone()),
            api: Arc::new(config.api),
            callback: Arc::new(config.callback),
        });
        let server = config.server;
        Ok(Self { server, stores, state, worker, timer, listener, courier, access, metrics, slots, tasks, stopping })
    }

    /// An admin key, made and stored now, when nobody could call otherwise.
    pub async fn mint_first_key(&self) -> anyhow::Result<Option<Secret>> {
        if self.access.has_way_in().await? {
            return Ok(None);
        }
        let request = KeyRequest {
            client: "admin".to_owned(),
            scopes: vec![Scope::Admin],
            accounts: None,
            templates: None,
            expires_at: None,
            signing: false,
        };
        let (_, text) = self.access.create(request, Actor::gateway()).await?;
        Ok(Some(text))
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The HTTP face alone.
    pub fn router(&self) -> Router {
        http::router(self.state.clone())
    }

    /// The queue's worker, for those who step it themselves.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The clock's work, for those who tick it themselves.
    pub fn timer(&self) -> &Timer {
        &self.timer
    }

    /// What other nodes have done, for those who step it themselves.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Deliveries to webhooks, for those who step them themselves.
    pub fn courier(&self) -> &Courier {
        &self.courier
    }

    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Returns when no attempt is under way.
    pub async fn settled(&self) {
        self.slots.all_free().await;
    }

    /// Serves until `stop.soft` fires, then finishes what is under way within `server.shutdown_grace` or until `stop.hard`.
    pub async fn serve(self, listener: TcpListener, stop: Stop) -> anyhow::Result<()> {
        let metrics_listener = match self.server.metrics_listen {
            Some(address) => Some(bind_metrics(address).await?),
            None => None,
        };
        let beside = TaskTracker::new();
        let failed = CancellationToken::new();
        let (timer, worker) = (self.timer.clone(), self.worker.clone());
        watch_over(&beside, "the timer", timer.run(stop.soft.clone()), &stop, &failed);
        let others = self.listener.clone().run(stop.soft.clone());
        watch_over(&beside, "the listener to other nodes", others, &stop, &failed);
        let courier = self.courier.clone().run(stop.soft.clone());
        watch_over(&beside, "the courier of webhooks", courier, &stop, &failed);
        watch_over(&beside, "the worker", worker.run(stop.soft.clone()), &stop, &failed);
        tokio::spawn(keep_the_grace(stop.clone(), self.stopping.clone(), self.server.shutdown_grace));
        if let Some(listener) = metrics_listener {
            let (server, metrics, stop) = (self.server.clone(), self.metrics.clone(), stop.clone());
            let router = http::metrics_router(self.state.clone());
            beside.spawn(async move {
                if let Err(error) = http::server::serve(listener, router, &server, &metrics, stop.soft, stop.hard).await
                {
                    tracing::error!(%error, "the metrics listener has ended");
                }
            });
        }
        let (soft, hard) = (stop.soft.clone(), stop.hard.clone());
        let served = http::server::serve(listener, self.router(), &self.server, &self.metrics, soft, hard).await;
        stop.soft.cancel();
        self.drain(&stop, beside).await;
        served.context("the listener cannot be used")?;
        anyhow::ensure!(!failed.is_cancelled(), "a part of the gateway broke down: the log tells which");
        Ok(())
    }

    /// Attempts end and are settled; what does not end in time stays leased and is taken back at the next start.
    async fn drain(self, stop: &Stop, beside: TaskTracker) {
        reach(Point::DrainBegun);
        beside.close();
        self.tasks.close();
        let ended = async {
            // First whoever starts attempts, then the attempts.
            beside.wait().await;
            self.tasks.wait().await;
        };
        tokio::select! {
            () = ended => tracing::info!("every attempt under way has ended"),
            () = stop.hard.cancelled() => {
                tracing::warn!("stopped before every attempt had ended: what is left is taken back at the next start");
            }
        }
        if let Err(error) = self.access.keep_uses(true).await {
            tracing::warn!(%error, "when keys were used last cannot be kept");
        }
        reach(Point::DrainEnded);
        self.stores.close().await;
        reach(Point::DrainClosed);
    }
}

/// Runs a part that the gateway cannot do without: when it breaks down, the gateway stops in good order rather than accept
/// what it would not send.
fn watch_over(
    beside: &TaskTracker,
    what: &'static str,
    part: impl Future<Output = ()> + Send + 'static,
    stop: &Stop,
    failed: &CancellationToken,
) {
    let task = tokio::spawn(part);
    let (soft, failed) = (stop.soft.clone(), failed.clone());
    beside.spawn(async move {
        if task.await.is_err() {
            tracing::error!("{what} broke down: the gateway stops");
            failed.cancel();
            soft.cancel();
        }
    });
}

/// From the soft stop on nothing new is accepted; when the grace is over, the hard stop follows.
async fn keep_the_grace(stop: Stop, stopping: CancellationToken, grace: Duration) {
    stop.soft.cancelled().await;
    stopping.cancel();
    tokio::time::sleep(grace).await;
    stop.hard.cancel();
}

async fn bind_metrics(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("server.metrics_listen {address} cannot be bound"))
}
