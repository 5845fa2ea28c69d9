//! The gateway's process, its folder, and the sandbox that it takes for WeChat. With `WXGATE__STORAGE__URL` (and what it
//! needs) in the environment, the gateway keeps everything there instead of a SQLite file in the folder.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxgate::domain::clock::SystemClock;
use wxgate::sandbox::{DEMO_APP_ID, Receipts, Sandbox, SandboxConfig};

use super::letter::Letter;

pub(crate) const APP_ID: &str = DEMO_APP_ID;
pub(crate) const TOKEN: &str = "demotoken";
pub(crate) const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) http: reqwest::Client,
    gateway: Child,
    _folder: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("wxgate-load-").tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let wechat = format!("http://{}", listener.local_addr()?);
        let mut config = SandboxConfig::for_tests(None);
        config.settings.receipts = Receipts::Manual;
        config.keep_messages = 1_000_000;
        let sandbox = Sandbox::new(config, Arc::new(SystemClock));
        tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (url, secret) = (format!("http://127.0.0.1:{port}"), "ab".repeat(32));
        let text = format!(
            r#"
storage.url = "sqlite://{}"
wechat.base_url = "{wechat}"
limits = {{ openid.rate = 0, identical.rate = 0, client.rate = 0, account.rate = 0 }}
telemetry = {{ log = "json", level = "warn" }}
clients.load = {{ key_sha256 = "{}", scopes = ["send", "read"] }}
[server]
listen = "127.0.0.1:{port}"
[accounts.shop]
app_id = "{APP_ID}"
app_secret = "demo-secret"
token = "{TOKEN}"
encoding_aes_key = "{AES_KEY}"
"#,
            folder.path().join("wxgate.db").display(),
            hex::encode(Sha256::digest(secret.as_bytes())),
        );
        let path = folder.path().join("wxgate.toml");
        std::fs::write(&path, text)?;
        let gateway = Command::new(std::env::current_exe()?)
            .args([std::ffi::OsStr::new("--config"), path.as_os_str(), std::ffi::OsStr::new("serve")])
            .stdout(Stdio::null())
            .spawn()?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let key = format!("wxg_load_{secret}");
        let place = Self { sandbox, url, key, http, gateway, _folder: folder };
        place.ready().await?;
        Ok(place)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(60) {
            let answer = self.http.get(format!("{}/ready", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the gateway is not ready after a minute")
    }

    /// As WeChat does. The error says what came instead of `success`.
    pub(crate) async fn post(&self, letter: Letter) -> anyhow::Result<()> {
        let url = format!("{}/wechat/shop?{}", self.url, letter.query);
        let answer = self.http.post(url).header("content-type", "text/xml").body(letter.body).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success() && body == "success", "{status}: {body}");
        Ok(())
    }

    pub(crate) async fn get(&self, target: &str) -> anyhow::Result<serde_json::Value> {
        let answer = self.http.get(format!("{}{target}", self.url)).bearer_auth(&self.key).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    pub(crate) async fn send(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.key).json(body);
        let answer = request.header("prefer", "respond-async").send().await?;
        ensure!(answer.status() == 202, "{}", answer.status());
        Ok(())
    }

    /// How many messages of the account are in this state, as the gateway counts.
    pub(crate) async fn messages(&self, state: &str) -> anyhow::Result<usize> {
        let text = self.http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let name = format!("wxgate_messages_total{{account=\"shop\",state=\"{state}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        Ok(line.and_then(|number| number.parse().ok()).unwrap_or(0))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}
