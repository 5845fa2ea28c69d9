//! One running `wxgate serve`.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use wxgate::domain::clock::SystemClock;
use wxgate::sandbox::{CallbackTarget, Receipts, Sandbox, SandboxConfig};

use crate::harness::{AES_KEY, CALLBACK_TOKEN};

/// Longer than anything here takes on a busy machine; reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Program {
    child: Child,
    pub(super) url: String,
    pub(super) key: String,
    http: reqwest::Client,
}

/// Addresses and a folder that outlive the process.
pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
    pub(super) sandbox: Sandbox,
    port: u16,
    secret: String,
}

impl Place {
    /// A sandbox with receipts of its own accord, and a configuration for the gateway.
    pub(super) async fn prepare(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wechat = format!("http://{}", listener.local_addr().unwrap());
        let port = free_port();
        let target = CallbackTarget::safe(&format!("http://127.0.0.1:{port}/wechat/shop"), CALLBACK_TOKEN, AES_KEY);
        let mut config = SandboxConfig::for_tests(Some(target));
        config.settings.receipts = Receipts::Automatic;
        config.settings.receipt_delay_ms = 20;
        config.settings.attempt_spacing_ms = 300;
        let sandbox = Sandbox::new(config, Arc::new(SystemClock));
        tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
        let secret = "ab".repeat(32);
        let text = format!(
            r#"
storage.url = "sqlite://{}"
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
            folder.path().join("wxgate.db").display(),
            hex::encode(Sha256::digest(secret.as_bytes())),
        );
        std::fs::write(folder.path().join("wxgate.toml"), text).unwrap();
        Self { folder, sandbox, port, secret }
    }

    pub(super) fn config(&self) -> std::path::PathBuf {
        self.folder.path().join("wxgate.toml")
    }

    /// Starts the program and waits until it answers.
    pub(super) async fn start(&self) -> Program {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let child =
            command(&self.config()).arg("serve").stdout(Stdio::null()).stderr(log).spawn().expect("the program starts");
        let program = Program {
            child,
            url: format!("http://127.0.0.1:{}", self.port),
            key: format!("wxg_tests_{}", self.secret),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let health = format!("{}/health", program.url);
        until("the program answers", async || program.http.get(&health).send().await.is_ok()).await;
        program
    }

    pub(super) fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log.json")
    }
}

impl Program {
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Without a key.
    pub(super) fn anonymous(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> serde_json::Value {
        self.request(reqwest::Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    /// SIGKILL: nothing is finished.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(super) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, signal).unwrap();
    }

    /// Waits for the end of its own accord; → the exit code.
    pub(super) async fn ended(mut self) -> Option<i32> {
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

pub(super) fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.arg("--config").arg(config).env_remove("RUST_LOG").env_remove("WXGATE_CONFIG");
    command
}

/// Looks until it holds: another process cannot be waited for in any other way.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
