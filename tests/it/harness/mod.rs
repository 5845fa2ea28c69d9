//! A gateway, a sandbox as WeChat and a client, in one process: real sockets, a real store, a clock that moves by hand.
//!
//! `TestApp::start()` runs the HTTP face; the worker and the timer are stepped: `run_until_idle`, `tick`, `advance`.

mod caller;
mod endpoint;
mod logs;
mod redis;
mod road;
pub(crate) mod sign;
mod subscriber;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use caller::{Reply, Request};
pub(crate) use endpoint::{Answer, Endpoint, SECRET, Told};
pub(crate) use logs::Logs;
pub(crate) use redis::{RedisServer, free_port};
pub(crate) use road::{Road, Way};
pub(crate) use subscriber::{Say, Subscriber};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxgate::app::App;
use wxgate::config::Config;
use wxgate::domain::audit::Actor;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::{Clock, ManualClock, Timestamp};
use wxgate::sandbox::{CallbackTarget, Sandbox, SandboxConfig};
use wxgate::services::access::KeyRequest;
use wxgate::worker::Step;

pub(crate) const CALLBACK_TOKEN: &str = "demotoken";
pub(crate) const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
/// What tests run with that say nothing about limits: one person gets more than a person should.
pub(crate) const UNLIMITED: &str = "\n[limits]\nopenid.rate = 0\nidentical.rate = 0\naccount.rate = 0\n";
/// A Saturday morning in Beijing.
const START: Timestamp = Timestamp::from_seconds(1_767_400_000);

/// How a test wants its gateway.
pub(crate) struct Setup {
    /// TOML behind the harness's own: settings of sections that the harness does not open, or dotted keys.
    pub(crate) config: String,
    /// Dotted keys that stand before the harness's own: settings of sections that it opens.
    pub(crate) head: String,
    /// Settings from the environment, for the sections that the harness opens itself.
    pub(crate) env: Vec<(&'static str, &'static str)>,
    pub(crate) mode: &'static str,
    pub(crate) account: String,
    /// No account in the configuration.
    pub(crate) bare: bool,
    /// `storage` and what it needs, in TOML, instead of a SQLite file in the folder.
    pub(crate) storage: Option<String>,
    /// A store to open again, as after a restart.
    pub(crate) folder: Option<Arc<tempfile::TempDir>>,
    pub(crate) world: Option<World>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: String::new(),
            head: String::new(),
            env: Vec::new(),
            mode: "safe",
            account: String::new(),
            bare: false,
            storage: None,
            folder: None,
            world: None,
        }
    }
}

/// What outlives a gateway: WeChat, and the time.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) sandbox_url: String,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) world: World,
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) folder: Arc<tempfile::TempDir>,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        let folder = setup.folder.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = match setup.world {
            Some(world) => world,
            None => World::start().await,
        };
        let mut target = CallbackTarget::safe(&format!("{url}/wechat/shop"), CALLBACK_TOKEN, AES_KEY);
        target.mode = mode_of(setup.mode);
        assert!(world.sandbox.set_callback_target(None, Some(target)));
        let file = || format!("storage.url = \"sqlite://{}\"", folder.path().join("wxgate.db").display());
        let config = config_text(&setup.storage.unwrap_or_else(file), &world.sandbox_url);
        let shop = if setup.bare { String::new() } else { shop_text(setup.mode, &setup.account) };
        let path = folder.path().join("wxgate.toml");
        let limits = if setup.config.contains("[limits]") { "" } else { UNLIMITED };
        std::fs::write(&path, setup.head + &config + &shop + &setup.config + limits).unwrap();
        let config =
            Config::load(Some(&path), setup.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
                .unwrap();
        let server = config.server.clone();
        let clock: Arc<dyn Clock> = world.clock.clone();
        let app = Arc::new(App::build(config, clock).await.unwrap());
        let stop = CancellationToken::new();
        let (router, soft) = (app.router(), stop.clone());
        tokio::spawn(async move {
            let metrics = wxgate::telemetry::metrics::Metrics::new();
            wxgate::http::server::serve(listener, router, &server, &metrics, soft, CancellationToken::new())
                .await
                .unwrap();
        });
        let mut this = Self {
            app,
            url,
            key: String::new(),
            sandbox: world.sandbox.clone(),
            clock: world.clock.clone(),
            world,
            folder,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
        };
        this.key = this.make_key("tests", &Scope::ALL, None, None).await;
        this
    }

    /// A key as `wxgate key create` makes it.
    pub(crate) async fn make_key(
        &self,
        client: &str,
        scopes: &[Scope],
        accounts: Option<&[&str]>,
        templates: Option<&[&str]>,
    ) -> String {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = KeyRequest {
            client: client.to_owned(),
            scopes: scopes.to_vec(),
            accounts: accounts.map(owned),
            templates: templates.map(owned),
            expires_at: None,
            signing: false,
        };
        self.app.access().create(request, Actor::gateway()).await.unwrap().1.expose().to_owned()
    }

    /// A key as `wxgate key create --signing` makes it.
    pub(crate) async fn make_signing_key(
        &self,
        client: &str,
        scopes: &[Scope],
        accounts: Option<&[&str]>,
    ) -> sign::SigningKey {
        let request = KeyRequest {
            client: client.to_owned(),
            scopes: scopes.to_vec(),
            accounts: accounts.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            templates: None,
            expires_at: None,
            signing: true,
        };
        sign::SigningKey::of(self.app.access().create(request, Actor::gateway()).await.unwrap().1.expose())
    }

    /// Runs what is due until nothing is.
    pub(crate) async fn run_until_idle(&self) {
        loop {
            self.app.settled().await;
            match self.app.worker().step().await.unwrap() {
                Step::Started(_) => {}
                Step::Idle { .. } => return,
            }
        }
    }

    /// One tick of the timer: orphans, expired messages, tokens that are due.
    pub(crate) async fn tick(&self) {
        self.app.timer().tick(0).await;
    }

    pub(crate) async fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Stops the HTTP face and forgets the process's memory, as a crash does; folder and world stay.
    pub(crate) async fn stop(self) -> (Arc<tempfile::TempDir>, World) {
        self.stop.cancel();
        self.app.settled().await;
        self.app.stores().close().await;
        (self.folder.clone(), self.world.clone())
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request(reqwest::Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request(reqwest::Method::POST, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.request(reqwest::Method::DELETE, path)
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> Request {
        Request::new(self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key))
    }

    /// Without a key.
    pub(crate) fn anonymous(&self, method: reqwest::Method, path: &str) -> Request {
        Request::new(self.http.request(method, format!("{}{path}", self.url)))
    }

    /// `POST /send-template` to one recipient.
    pub(crate) async fn send(&self, touser: &str) -> Reply {
        self.post("/send-template").json(&order_notice(touser)).send().await
    }

    /// The same, answered 202 at once.
    pub(crate) async fn send_async(&self, touser: &str) -> Reply {
        self.post("/send-template").header("prefer", "respond-async").json(&order_notice(touser)).send().await
    }

    pub(crate) async fn message(&self, id: &str) -> serde_json::Value {
        let reply = self.get(&format!("/v1/messages/{id}")).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    pub(crate) async fn state_of(&self, id: &str) -> String {
        self.message(id).await["state"].as_str().unwrap().to_owned()
    }

    /// One figure of `/metrics`; 0 when it is not there.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.get("/metrics").send().await.text;
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("wxgate.db")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::starting_at(START).await
    }

    pub(crate) async fn starting_at(start: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::starting_at(start));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_url = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::new(SandboxConfig::for_tests(None), clock.clone());
        tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
        Self { sandbox, sandbox_url, clock }
    }
}

/// The body of an order notice.
pub(crate) fn order_notice(touser: &str) -> serde_json::Value {
    serde_json::json!({
        "touser": touser,
        "template_id": "TPL-ORDER",
        "data": { "thing1": { "value": "茉莉花茶" }, "amount2": "¥28.00" },
    })
}

fn mode_of(text: &str) -> wxgate::domain::account::CallbackMode {
    use wxgate::domain::account::CallbackMode;
    match text {
        "plain" => CallbackMode::Plain,
        "compatible" => CallbackMode::Compatible,
        _ => CallbackMode::Safe,
    }
}

fn config_text(storage: &str, wechat: &str) -> String {
    format!("\n{storage}\nwechat.base_url = \"{wechat}\"\ntelemetry.log = \"text\"\n")
}

fn shop_text(mode: &str, account: &str) -> String {
    format!(
        r#"
[accounts.shop]
app_id = "wx0000000000000demo"
app_secret = "demo-secret"
token = "{CALLBACK_TOKEN}"
encoding_aes_key = "{AES_KEY}"
mode = "{mode}"
templates.order_paid = "TPL-ORDER"
replies.subscribe = "欢迎"
replies.keywords = {{ "help" = "How can we help?" }}
replies.default = "收到"
{account}
"#
    )
}
