//! `wxgate dev`: gateway and sandbox in one process, with a demo account and a key, and three commands to try.

mod banner;
mod folder;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::banner::Banner;
use self::folder::Folder;
use super::exit::Failure;
use super::out::say;
use super::{listen, signals};
use crate::app::App;
use crate::config::Config;
use crate::domain::clock::SystemClock;
use crate::sandbox::{CallbackTarget, DEMO_APP_ID, DEMO_APP_SECRET, Sandbox, SandboxConfig};
use crate::telemetry::logging;

const GATEWAY: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);
const SANDBOX: ([u8; 4], u16) = ([127, 0, 0, 1], 8081);
const CLIENT: &str = "dev";

/// Try everything: a gateway, a model of WeChat, a demo account and a key; nothing to configure
///
/// Prints three commands to copy: send a template message, let a follower write, read the history. Nothing leaves this
/// machine. What is stored is deleted at the end, unless --data names a folder. Settings of your own are not read.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  wxgate dev\n  wxgate dev --listen 127.0.0.1:9000 --sandbox-listen 127.0.0.1:9001 --data ./dev-data"
)]
pub(super) struct Dev {
    /// Where the gateway listens [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Where the sandbox listens [default: 127.0.0.1:8081, or the next free port]
    #[arg(long, value_name = "IP:PORT")]
    sandbox_listen: Option<SocketAddr>,
    /// Keep what is stored in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What is made up for this run.
struct Setup {
    gateway: SocketAddr,
    sandbox: SocketAddr,
    token: String,
    aes_key: String,
    /// 64 hex digits.
    secret: String,
}

impl Dev {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let stop = signals::catch()?;
        let folder = Folder::open(self.data).context("no folder for the data")?;
        let gateway = bind(self.listen, GATEWAY.into(), "--listen", "gateway")?;
        let sandbox = bind(self.sandbox_listen, SANDBOX.into(), "--sandbox-listen", "sandbox")?;
        let setup = Setup::new(gateway.local_addr()?, sandbox.local_addr()?);
        let config = setup.config(&folder)?;
        let logs = logging::init(&config.telemetry)?;

        let app = App::build(config, Arc::new(SystemClock)).await?;
        logs.count_dropped_in(app.metrics().log_lines_dropped());
        let model = Sandbox::new(SandboxConfig::demo(Some(setup.callback_target())), Arc::new(SystemClock));
        let end_of_sandbox = CancellationToken::new();
        let served = AbortOnDropHandle::new(tokio::spawn(model.serve(sandbox, end_of_sandbox.clone())));
        say(setup.banner(&folder))?;
        // The sandbox outlives the gateway, which may still have something to finish there.
        app.serve(gateway, stop).await?;
        end_of_sandbox.cancel();
        served.await.context("the sandbox broke down")??;
        Ok(())
    }
}

fn bind(wish: Option<SocketAddr>, usual: SocketAddr, option: &str, what: &str) -> Result<TcpListener, Failure> {
    if let Some(address) = wish {
        return Ok(listen::bind(address, option)?);
    }
    let listener = listen::bind_near(usual)?;
    let address = listener.local_addr()?;
    if address != usual {
        say(format!("{usual} is in use, so the {what} listens on {address}"))?;
    }
    Ok(listener)
}

impl Setup {
    fn new(gateway: SocketAddr, sandbox: SocketAddr) -> Self {
        // 43 hex digits are letters and digits, as WeChat wants them; 172 random bits are enough for a demo.
        let aes_key: String = hex::encode(rand::random::<[u8; 22]>()).chars().take(43).collect();
        Self {
            gateway: listen::reachable(gateway),
            sandbox: listen::reachable(sandbox),
            token: hex::encode(rand::random::<[u8; 8]>()),
            aes_key,
            secret: hex::encode(rand::random::<[u8; 32]>()),
        }
    }

    /// The configuration as an operator would write it: the same checks. Whoever tries things out repeats them, so limits only
    /// observe.
    fn config(&self, folder: &Folder) -> Result<Config, Failure> {
        let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let database = folder.path().join("wxgate.db");
        let settings = format!(
            r#"
[server]
listen = "{gateway}"
public_url = "http://{gateway}"
[storage]
url = {store}
[wechat]
base_url = "http://{sandbox}"
[telemetry]
log = "text"
level = "warn"
[limits]
mode = "observe"
[webhooks]
allow_cidrs = ["127.0.0.0/8", "::1"]
[accounts.demo]
app_id = "{DEMO_APP_ID}"
app_secret = "{DEMO_APP_SECRET}"
token = "{token}"
encoding_aes_key = "{aes_key}"
templates = {{ order_paid = "TPL-ORDER-PAID", order_shipped = "TPL-ORDER-SHIPPED" }}
[accounts.demo.replies]
subscribe = "欢迎关注！"
keywords = {{ hello = "你好，我是 wxgate。", "营业时间" = "每天 9:00–21:00" }}
default = "收到，我们会尽快回复您。"
[clients.{CLIENT}]
sign_secret = "{secret}"
scopes = ["send", "read", "token", "admin"]
"#,
            gateway = self.gateway,
            sandbox = self.sandbox,
            store = text(&format!("sqlite://{}", database.display())),
            token = self.token,
            aes_key = self.aes_key,
            secret = self.secret,
        );
        Ok(Config::parse(&settings)?)
    }

    fn callback_target(&self) -> CallbackTarget {
        CallbackTarget::safe(&format!("http://{}/wechat/demo", self.gateway), &self.token, &self.aes_key)
    }

    fn banner(&self, folder: &Folder) -> Banner {
        Banner {
            gateway: self.gateway,
            sandbox: self.sandbox,
            key: format!("wxg_{CLIENT}_{}", self.secret),
            kept_in: folder.is_kept().then(|| folder.path().display().to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Scope;

    #[test]
    fn the_demo_configuration_passes_every_check() {
        let folder = Folder::open(None).unwrap();
        let setup = Setup::new(([0, 0, 0, 0], 9000).into(), ([127, 0, 0, 1], 9001).into());
        let config = setup.config(&folder).unwrap();
        assert_eq!(config.notes.warnings, Vec::<String>::new());
        assert_eq!(config.wechat.base_url, "http://127.0.0.1:9001");
        assert_eq!(config.clients[0].scopes, [Scope::Send, Scope::Read, Scope::Token, Scope::Admin]);
        let account = &config.accounts[0];
        assert_eq!((&*account.name, &*account.app_id), ("demo", "wx0000000000000demo"));
        assert_eq!(account.replies.keywords["hello"], "你好，我是 wxgate。");
    }
}
