//! `wxgate sandbox`: a model of WeChat on its own.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::exit::Failure;
use super::out::say;
use super::{listen, signals};
use crate::domain::account::CallbackMode;
use crate::domain::clock::SystemClock;
use crate::domain::secret::Secret;
use crate::sandbox::{CallbackTarget, Sandbox, SandboxConfig};

/// Run a model of WeChat: tokens, sends, receipts, callbacks, faults; nothing leaves this machine
///
/// Set wechat.base_url to its address. The account it knows: app_id wx0000000000000demo, app_secret demo-secret. Some
/// recipients have a fixed fate (sim-ok, sim-user-block, sim-busy, …); any other openid is a follower. The page /sandbox
/// shows what arrived; the API below /sandbox/ causes faults and callbacks.
#[derive(Args)]
#[command(after_help = "Examples:\n  wxgate sandbox\n  wxgate sandbox --listen 127.0.0.1:9000 \\\n    \
    --callback-url http://127.0.0.1:8080/wechat/demo --token t0ken --mode plain")]
pub(super) struct SandboxCommand {
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Where callbacks and receipts go: the gateway's /wechat/<account>
    #[arg(long, value_name = "URL", requires = "token")]
    callback_url: Option<String>,
    /// The account's token, as in the gateway's configuration
    #[arg(long, requires = "callback_url")]
    token: Option<String>,
    /// The account's encoding_aes_key; needed unless --mode plain
    #[arg(long, value_name = "KEY", requires = "callback_url")]
    encoding_aes_key: Option<String>,
    /// How callbacks are written
    #[arg(long, value_enum, default_value_t = Mode::Safe)]
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Plain,
    Compatible,
    Safe,
}

impl SandboxCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let target = self.target()?;
        let stop = signals::catch()?;
        let listener = listen::bind(self.listen, "--listen")?;
        let address = listener.local_addr()?;
        let sandbox = Sandbox::new(SandboxConfig::demo(target), Arc::new(SystemClock));
        say(format!("sandbox on http://{address}, its page: http://{address}/sandbox"))?;
        say(format!("in the gateway's configuration: wechat.base_url = \"http://{address}\""))?;
        tokio::select! {
            ended = sandbox.serve(listener, stop.soft.clone()) => Ok(ended?),
            () = stop.hard.cancelled() => Ok(()),
        }
    }

    fn target(&self) -> Result<Option<CallbackTarget>, Failure> {
        let (Some(url), Some(token)) = (&self.callback_url, &self.token) else {
            return Ok(None);
        };
        if self.encoding_aes_key.is_none() && self.mode != Mode::Plain {
            return Err(Failure::Usage("--encoding-aes-key is needed unless --mode plain is given".to_owned()));
        }
        let mode = match self.mode {
            Mode::Plain => CallbackMode::Plain,
            Mode::Compatible => CallbackMode::Compatible,
            Mode::Safe => CallbackMode::Safe,
        };
        let plain = CallbackTarget::plain(url, token);
        Ok(Some(CallbackTarget { mode, encoding_aes_key: self.encoding_aes_key.clone().map(Secret::new), ..plain }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(key: Option<&str>, mode: Mode) -> SandboxCommand {
        SandboxCommand {
            listen: ([127, 0, 0, 1], 0).into(),
            callback_url: Some("http://127.0.0.1:8080/wechat/demo".to_owned()),
            token: Some("t0ken".to_owned()),
            encoding_aes_key: key.map(str::to_owned),
            mode,
        }
    }

    #[test]
    fn a_sealed_mode_needs_its_key() {
        assert!(matches!(command(None, Mode::Safe).target(), Err(Failure::Usage(_))));
        assert_eq!(command(None, Mode::Plain).target().unwrap().unwrap().mode, CallbackMode::Plain);
        assert_eq!(command(Some("k"), Mode::Compatible).target().unwrap().unwrap().mode, CallbackMode::Compatible);
    }
}
