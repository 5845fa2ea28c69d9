//! One run: who calls, what happens between, and what has to hold all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wxgate::config::wechat::{TokenConfig, WechatConfig};
use wxgate::domain::account::{Account, Replies, TokenApi};
use wxgate::domain::clock::{ManualClock, Timestamp};
use wxgate::domain::secret::Secret;
use wxgate::domain::state::OnUnknown;
use wxgate::domain::token::AccessToken;
use wxgate::services::accounts::Accounts;
use wxgate::services::tokens::{TokenDoors, Tokens};
use wxgate::store;
use wxgate::telemetry::metrics::Metrics;
use wxgate::upstream;
use wxgate::upstream::wechat::WechatClient;

use super::doors::{Door, Place, Unheard, wechat};
use super::stage::{Gate, Stage};

/// Longer than a run takes.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// The token is renewed some 300 s before its 7200 are over.
const AGE: Duration = Duration::from_secs(7000);

/// Who takes part, and what may happen.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// The node of each caller.
    pub(crate) callers: &'static [usize],
    /// Two nodes with one Redis.
    pub(crate) is_shared: bool,
    pub(crate) gives_all: bool,
    /// How often a token dies, and how often WeChat does not know of it.
    pub(crate) deaths: u32,
    pub(crate) blind: u32,
    /// How many callers may go before they have their token.
    pub(crate) leaves: u32,
    /// How often the token comes near its end.
    pub(crate) ages: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(
        u64,
        #[expect(dead_code, reason = "told when a law is broken")] usize,
        #[expect(dead_code, reason = "the same")] Gate,
    ),
    Begin,
    Tick(usize),
    Die,
    DieUnseen,
    Leave(usize),
    Age,
}

/// HTTP clients, which every run uses: they are dear to make.
pub(crate) struct Clients([reqwest::Client; 2]);

impl Clients {
    pub(crate) fn new() -> Self {
        let config =
            WechatConfig { base_url: String::new(), connect_timeout: CALL_LIMIT, timeout: CALL_LIMIT, proxy: None };
        Self([(); 2].map(|()| upstream::http::client(&config).expect("a client")))
    }
}

/// What the callers were given.
#[derive(Default)]
struct Given {
    texts: BTreeMap<i64, String>,
    refused: [BTreeSet<i64>; 2],
}

pub(crate) struct Run {
    scope: Scope,
    left: Scope,
    stage: Arc<Stage>,
    clock: Arc<ManualClock>,
    nodes: Vec<Tokens>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    given: Arc<Mutex<Given>>,
    callers: Vec<JoinHandle<()>>,
    trace: Vec<Step>,
}

impl Run {
    /// Plays the choices; when they are used up, the first of what may happen, until all have what they came for.
    pub(crate) async fn play(scope: Scope, clients: &Clients, choices: &[u8]) -> Result<(), String> {
        let mut run = Self::open(scope, clients).await;
        let mut choices = choices.iter();
        let outcome = loop {
            run.stage.settle().await;
            if let Some(breach) = run.breach() {
                break Err(breach);
            }
            let choice = choices.next().copied();
            let steps = run.steps(choice.is_some());
            let Some(step) = steps.get(usize::from(choice.unwrap_or(0)) % steps.len().max(1)).copied() else {
                break run.ended();
            };
            run.trace.push(step);
            run.take(step);
        };
        run.servers.iter().for_each(JoinHandle::abort);
        run.callers.iter().for_each(JoinHandle::abort);
        outcome.map_err(|breach| format!("{breach}, after {:?}", run.trace))
    }

    async fn open(scope: Scope, clients: &Clients) -> Self {
        let (stage, shared) = (Arc::new(Stage::default()), Arc::new(Place::default()));
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000)));
        let (mut nodes, mut servers) = (Vec::new(), Vec::new());
        for (node, client) in clients.0.iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let base_url = format!("http://{}", listener.local_addr().expect("its address"));
            let router = wechat(node, stage.clone(), scope.is_shared);
            servers.push(tokio::spawn(axum::serve(listener, router).into_future()));
            let door = |place| Arc::new(Door { node, stage: stage.clone(), place, gives_all: scope.gives_all });
            let redis: Arc<dyn store::SharedTokens> = door(shared.clone());
            let doors = TokenDoors {
                client: WechatClient::new(client.clone()),
                kept: door(Arc::default()),
                events: Arc::new(Unheard),
                shared: scope.is_shared.then_some(redis),
                call_limit: CALL_LIMIT,
                clock: clock.clone(),
                metrics: Metrics::new(),
            };
            let accounts = Accounts::new([Arc::new(account(base_url))]);
            nodes.push(Tokens::new(&accounts, &TokenConfig { max_refreshes_per_hour: 60 }, &doors));
        }
        let given = Arc::default();
        Self { scope, left: scope, stage, clock, nodes, servers, given, callers: Vec::new(), trace: Vec::new() }
    }

    /// What may happen now; without `mischief`, what brings the run to its end.
    fn steps(&self, mischief: bool) -> Vec<Step> {
        let gates = self.stage.gates();
        let is_locked = self.stage.inner().locked_by.is_some();
        let others = gates.iter().any(|(_, _, gate)| *gate != Gate::Lock);
        // Asking for the right in vain costs real time: only when nothing else is left, or the scope is about it.
        let is_open = |gate: Gate| gate != Gate::Lock || !is_locked || !others || self.scope.gives_all;
        let mut steps: Vec<Step> = gates
            .into_iter()
            .filter(|(_, _, gate)| is_open(*gate))
            .map(|(number, node, gate)| Step::Open(number, node, gate))
            .collect();
        if self.callers.len() < self.scope.callers.len() {
            steps.push(Step::Begin);
        }
        if !mischief {
            return steps;
        }
        let inner = self.stage.inner();
        if inner.wechat.normal > 0 {
            if self.left.deaths > 0 {
                steps.push(Step::Die);
            }
            if self.left.blind > 0 {
                steps.push(Step::DieUnseen);
            }
            if self.left.ages > 0 {
                steps.push(Step::Age);
            }
            steps.extend((0..if self.scope.is_shared { 2 } else { 1 }).map(Step::Tick));
        }
        if self.left.leaves > 0 {
            let waiting = self.callers.iter().enumerate().filter(|(_, caller)| !caller.is_finished());
            steps.extend(waiting.map(|(caller, _)| Step::Leave(caller)));
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Open(number, ..) => self.stage.open(number),
            Step::Begin => {
                let node = self.scope.callers[self.callers.len()];
                let (stage, tokens, given) = (self.stage.clone(), self.nodes[node].clone(), self.given.clone());
                let deaths = self.scope.deaths + self.scope.blind;
                self.callers.push(tokio::spawn(async move {
                    call(node, deaths, &stage, &tokens, &given).await;
                    stage.happened();
                }));
            }
            Step::Tick(node) => drop(self.nodes[node].refresh_due()),
            Step::Die => {
                self.left.deaths -= 1;
                self.stage.inner().wechat.kill(false);
            }
            Step::DieUnseen => {
                self.left.blind -= 1;
                self.stage.inner().wechat.kill(true);
            }
            Step::Leave(caller) => {
                self.left.leaves -= 1;
                self.callers[caller].abort();
            }
            Step::Age => {
                self.left.ages -= 1;
                self.clock.advance(AGE);
                self.stage.inner().wechat.is_old = true;
            }
        }
    }

    fn breach(&self) -> Option<String> {
        let Scope { deaths, blind, ages, .. } = self.scope;
        let died = deaths + blind - self.left.deaths - self.left.blind;
        let inner = self.stage.inner();
        let (normal, forced) = (inner.wechat.normal, inner.wechat.forced);
        if normal > 1 + died + (ages - self.left.ages) || forced > blind - self.left.blind {
            return Some(format!("{normal} tokens were asked for, {forced} by force, and {died} died"));
        }
        inner.breach.clone()
    }

    /// Nobody waits any more.
    fn ended(&self) -> Result<(), String> {
        match self.callers.iter().position(|caller| !caller.is_finished()) {
            Some(caller) => Err(format!("caller {caller} waits for nothing")),
            None => Ok(()),
        }
    }
}

/// As a send does: a token, another when that is refused, and no third.
async fn call(node: usize, deaths: u32, stage: &Arc<Stage>, tokens: &Tokens, given: &Mutex<Given>) {
    let mut refusals = 0;
    let mut old: Option<Arc<AccessToken>> = None;
    loop {
        let known = given.lock().expect("no step panics").refused[node].clone();
        let got = match &old {
            None => tokens.current("shop").await,
            Some(old) => tokens.renew("shop", old.generation).await,
        };
        let token = match got {
            Ok(token) => token,
            Err(error) => return stage.broken(|| format!("no token: {error}")),
        };
        if known.contains(&token.generation) {
            stage.broken(|| format!("generation {} was given that was refused before", token.generation));
        }
        if old.as_ref().is_some_and(|old| token.generation <= old.generation || token.token == old.token) {
            stage.broken(|| "the refused token was given again".to_owned());
        }
        let text = token.token.expose().to_owned();
        let before = given.lock().expect("no step panics").texts.insert(token.generation, text.clone());
        if before.is_some_and(|before| before != text) {
            stage.broken(|| format!("generation {} stands for two tokens", token.generation));
        }
        stage.pass(node, Gate::Use).await;
        if stage.inner().wechat.accepts(&text) {
            return;
        }
        refusals += 1;
        if refusals > deaths {
            return stage.broken(|| "refused more often than tokens died".to_owned());
        }
        if refusals > 1 {
            return;
        }
        // The engine hears of it at once, when it is asked for another.
        given.lock().expect("no step panics").refused[node].insert(token.generation);
        old = Some(token);
    }
}

fn account(base_url: String) -> Account {
    Account {
        name: Arc::from("shop"),
        app_id: "wx0123456789abcdef".to_owned(),
        app_secret: Secret::new("secret"),
        callback: None,
        token_api: TokenApi::Stable,
        base_url,
        on_unknown: OnUnknown::default(),
        templates: BTreeMap::new(),
        replies: Replies::default(),
        daily_quota: None,
        relay: None,
        quiet: None,
    }
}
