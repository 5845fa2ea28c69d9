//! The gateway under load and its WeChat, each a process with a folder that goes with it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use sha2::{Digest, Sha256};

pub(crate) const APP_ID: &str = "wx0000000000000demo";
pub(crate) const TOKEN: &str = "loadToken";
pub(crate) const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
const PATIENCE: Duration = Duration::from_secs(20);

/// Both are ended when this is dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    /// From its start to an open port.
    pub(crate) start: Duration,
    pub(crate) idle_bytes: u64,
    gateway: Ended,
    _wechat: Ended,
    _folder: tempfile::TempDir,
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Gateway {
    pub(crate) async fn start(bin: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (address, wechat) = (free_address()?, free_address()?);
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let config = folder.path().join("load.toml");
        std::fs::write(&config, configuration(folder.path(), address, wechat, &secret))?;
        let sandbox = Command::new(bin)
            .args(["sandbox", "--listen", &wechat.to_string(), "--token", TOKEN, "--encoding-aes-key", AES_KEY])
            .args(["--callback-url", &format!("http://{address}/wechat/load")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", bin.display()))?;
        let sandbox = Ended(sandbox);
        open(wechat).await?;
        let begun = Instant::now();
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut gateway = Command::new(bin);
        gateway.args(["serve", "--config"]).arg(&config).stdout(Stdio::null()).stderr(log);
        let gateway = Ended(gateway.spawn()?);
        open(address).await?;
        let start = begun.elapsed();
        // Its token, and whatever else it does first.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let key = format!("wxg_load_{secret}");
        let mut this = Self { address, key, start, idle_bytes: 0, gateway, _wechat: sandbox, _folder: folder };
        this.idle_bytes = this.memory()?;
        Ok(this)
    }

    /// Of all its threads, in the kernel and outside of it.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.gateway.0.id()))? {
            let line = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += line.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// What it has in memory.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }
}

/// No limit and no pace: they are not what is measured. Everything else as it ships.
fn configuration(folder: &Path, address: SocketAddr, wechat: SocketAddr, secret: &str) -> String {
    let hash = hex::encode(Sha256::digest(secret));
    let open =
        ["openid", "identical", "client", "account"].map(|limit| format!("[limits.{limit}]\nrate = 0\n")).concat();
    format!(
        "[server]\nlisten = \"{address}\"\n[storage]\nurl = \"sqlite://{}/load.db\"\n[wechat]\nbase_url = \"http://{wechat}\"\n\
         [callback]\nfreshness = \"0s\"\n[queue]\nconcurrency = 2048\n{open}\
         [accounts.load]\napp_id = \"{APP_ID}\"\napp_secret = \"demo-secret\"\ntoken = \"{TOKEN}\"\nencoding_aes_key = \"{AES_KEY}\"\n\
         [clients.load]\nkey_sha256 = \"{hash}\"\nscopes = [\"send\", \"read\"]\n",
        folder.display()
    )
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn open(address: SocketAddr) -> anyhow::Result<()> {
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "nothing listens on {address}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
