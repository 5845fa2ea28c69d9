//! One running `wxgate serve`, and the place where it lives: a folder, a port, and the sandbox in this process as its WeChat.

use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio_util::sync::{CancellationToken, DropGuard};
use wxgate::domain::clock::SystemClock;
use wxgate::sandbox::{CallbackTarget, Receipts, Sandbox, SandboxConfig};

use super::{AES_KEY, CALLBACK_TOKEN};

/// Longer than anything here takes on a busy machine; reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the gateway takes for any answer. Without it a request that is lost on its way would hold up everything.
const ANSWER: Duration = Duration::from_secs(20);

/// Addresses and a folder that outlive the process.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) sandbox: Sandbox,
    caller: Caller,
    _sandbox_ends: DropGuard,
}

/// Who calls the gateway. It outlives the process, too.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) url: String,
    pub(crate) key: String,
    http: reqwest::Client,
}

/// The process. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) caller: Caller,
}

impl Place {
    /// A sandbox with receipts of its own accord, and a configuration for the gateway.
    pub(crate) async fn prepare(extra: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("wxgate-").tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wechat = format!("http://{}", listener.local_addr().unwrap());
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let target = CallbackTarget::safe(&format!("{url}/wechat/shop"), CALLBACK_TOKEN, AES_KEY);
        let mut config = SandboxConfig::for_tests(Some(target));
        config.settings.receipts = Receipts::Automatic;
        config.settings.receipt_delay_ms = 20;
        config.settings.attempt_spacing_ms = 300;
        let sandbox = Sandbox::new(config, Arc::new(SystemClock));
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        let secret = "ab".repeat(32);
        let text = format!(
            r#"
storage.url = "sqlite://{}"
wechat.base_url = "{wechat}"
limits = {{ openid.rate = 0, identical.rate = 0, account.rate = 0 }}
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
            folder.path().join("wxgate.db").display(),
            hex::encode(Sha256::digest(secret.as_bytes())),
        );
        std::fs::write(folder.path().join("wxgate.toml"), text).unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build().unwrap();
        let caller = Caller { url, key: format!("wxg_tests_{secret}"), http };
        Self { folder, sandbox, caller, _sandbox_ends: stop.drop_guard() }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("wxgate.toml")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log.json")
    }

    /// Starts the program with these variables, and does not wait for it.
    pub(crate) fn spawn(&self, variables: &[(&str, String)]) -> Program {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = command(&self.config());
        command.arg("serve").stdout(Stdio::null()).stderr(log).envs(variables.iter().cloned());
        let child = command.spawn().expect("the program starts");
        Program { child, caller: self.caller.clone() }
    }
}

impl Caller {
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Is it there, and content?
    pub(crate) async fn answers(&self, path: &str) -> bool {
        let answer = self.request(reqwest::Method::GET, path).send().await;
        answer.is_ok_and(|response| response.status().is_success())
    }
}

impl Deref for Program {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Program {
    /// SIGKILL: nothing is finished.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// How it ended, when it has.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of its own accord; → the exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let mut code = None;
        until("the program ends", async || match self.status() {
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

/// Looks until it holds: another process cannot be waited for in any other way.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A port that nobody listens on, below those that the system gives to callers: one of them could take it while the program is
/// down.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(10_000..32_000)).find(is_free).expect("there are many")
}
