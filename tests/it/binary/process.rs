//! One running `wxgate serve`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use wxgate::domain::clock::SystemClock;
use wxgate::sandbox::{CallbackTarget, Receipts, Sandbox, SandboxConfig};

use crate::harness::{AES_KEY, CALLBACK_TOKEN, free_port};

/// Longer than anything here takes on a busy machine; reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Program {
    child: Child,
    pub(crate) url: String,
    pub(crate) key: String,
    http: reqwest::Client,
}

/// Addresses and a folder that outlive the process.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) sandbox: Sandbox,
    port: u16,
    secret: String,
}

impl Place {
    /// A sandbox with receipts of its own accord, and a configuration for the gateway.
    pub(crate) async fn prepare(extra: &str) -> Self {
        let (sandbox, wechat) = wechat().await;
        let place = Self::beside(sandbox, &wechat, extra);
        let target =
            CallbackTarget::safe(&format!("http://127.0.0.1:{}/wechat/shop", place.port), CALLBACK_TOKEN, AES_KEY);
        assert!(place.sandbox.set_callback_target(None, Some(target)));
        place
    }

    /// The same with another store: `storage` and what it needs, in TOML.
    pub(crate) async fn prepare_in(storage: &str, extra: &str) -> Self {
        Self::prepare(&format!("{storage}\n{extra}")).await
    }

    /// One gateway more, with a folder and a port of its own. Callbacks go where they went. `extra` wins over the file of its own
    /// that it is given to keep its messages in.
    pub(crate) fn beside(sandbox: Sandbox, wechat: &str, extra: &str) -> Self {
        let (folder, port, secret) = (tempfile::tempdir().unwrap(), free_port(), "ab".repeat(32));
        let storage = match extra.contains("storage.url") {
            true => String::new(),
            false => format!("storage.url = \"sqlite://{}\"", folder.path().join("wxgate.db").display()),
        };
        // One person gets more than a person should.
        let limits = match extra.contains("limits") {
            true => "",
            false => "limits = { openid.rate = 0, identical.rate = 0, account.rate = 0 }",
        };
        let text = format!(
            r#"
{storage}
{limits}
wechat.base_url = "{wechat}"
telemetry = {{ log = "json", level = "info" }}
clients.tests = {{ key_sha256 = "{}", scopes = ["send", "read", "token", "admin"] }}
{extra}
[server]
listen = "127.0.0.1:{port}"
shutdown_grace = "2s"
[accounts.shop]
app_id = "wx0000000000000demo"
app_secret = "demo-secret"
token = "{CALLBACK_TOKEN}"
encoding_aes_key = "{AES_KEY}"
"#,
            hex::encode(Sha256::digest(secret.as_bytes())),
        );
        std::fs::write(folder.path().join("wxgate.toml"), text).unwrap();
        Self { folder, sandbox, port, secret }
    }

    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("wxgate.toml")
    }

    /// Starts the program and waits until it answers.
    pub(crate) async fn start(&self) -> Program {
        self.start_with(&[]).await
    }

    /// The same, with more of an environment.
    pub(crate) async fn start_with(&self, environment: &[(&str, &str)]) -> Program {
        let mut serve = command(&self.config());
        serve.arg("serve").envs(environment.iter().copied());
        self.start_as(serve).await
    }

    /// A further node, beside the first.
    pub(crate) async fn start_beside(&self) -> Program {
        let port = free_port();
        let mut serve = command(&self.config());
        serve.arg("serve").env("WXGATE__SERVER__LISTEN", format!("127.0.0.1:{port}"));
        serve.stderr(self.log_file());
        self.watch_on(port, serve).await
    }

    /// The same by another command line, its log kept in the usual place.
    pub(crate) async fn start_as(&self, mut serve: Command) -> Program {
        serve.stderr(self.log_file());
        self.watch(serve).await
    }

    /// The same, its log left to the command.
    pub(crate) async fn watch(&self, serve: Command) -> Program {
        self.watch_on(self.port, serve).await
    }

    async fn watch_on(&self, port: u16, mut serve: Command) -> Program {
        let child = serve.stdout(Stdio::null()).spawn().expect("the program starts");
        let mut program = Program {
            child,
            url: format!("http://127.0.0.1:{port}"),
            key: format!("wxg_tests_{}", self.secret),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let health = format!("{}/health", program.url);
        until("the program answers", async || program.http.get(&health).send().await.is_ok()).await;
        assert!(program.child.try_wait().unwrap().is_none(), "another program answers on its port");
        program
    }

    fn log_file(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.log()).unwrap()
    }

    pub(crate) fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log.json")
    }
}

/// A sandbox and its address. Nobody is called back yet.
pub(crate) async fn wechat() -> (Sandbox, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut config = SandboxConfig::for_tests(None);
    config.settings.receipts = Receipts::Automatic;
    config.settings.receipt_delay_ms = 20;
    config.settings.attempt_spacing_ms = 300;
    let sandbox = Sandbox::new(config, Arc::new(SystemClock));
    tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
    (sandbox, address)
}

impl Program {
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Without a key.
    pub(crate) fn anonymous(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One figure of `/metrics`; 0 when it is not there.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = self.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        self.request(reqwest::Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    /// SIGKILL: nothing is finished.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// Waits for the end of its own accord; → the exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let mut code = None;
        until("the program ends", async || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = Some(status.code());
                true
            }
            None => false,
        })
        .await;
        code.flatten()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already in most tests.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.arg("--config").arg(config).env_remove("RUST_LOG").env_remove("WXGATE_CONFIG");
    command
}

/// Resident memory of a process.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Looks until it holds: another process cannot be waited for in any other way.
pub(crate) async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// The same for what takes long.
pub(crate) async fn until_within(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < patience, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
