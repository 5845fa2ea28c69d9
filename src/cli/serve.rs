//! `wxgate serve`: configuration → logs → socket → gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;

use super::exit::Failure;
use super::out::say;
use super::{handles, listen, signals};
use crate::app::App;
use crate::config::Config;
use crate::domain::clock::SystemClock;
use crate::telemetry::logging;

/// Serve: the API, the callbacks of WeChat, the queue
///
/// Runs until SIGTERM or SIGINT (Ctrl-C), then finishes what is under way for at most server.shutdown_grace; a second
/// signal ends it at once; the exit code is 0 either way, because nothing is lost. Logs go to standard error. Without any key (or [auth.jwt]) the gateway makes an admin key on its first start
/// and prints it once; beyond loopback it does not start without one.
#[derive(Args)]
#[command(after_help = "Example:\n  wxgate serve --config /etc/wxgate.toml\n  \
    WXGATE__SERVER__LISTEN=0.0.0.0:8080 wxgate serve --config /etc/wxgate.toml")]
pub(super) struct Serve {}

impl Serve {
    pub(super) async fn run(self, mut config: Config) -> Result<(), Failure> {
        let logs = logging::init(&config.telemetry)?;
        let stop = signals::catch()?;
        for warning in &config.notes.warnings {
            tracing::warn!("{warning}");
        }
        handles::fit(&mut config.server, config.queue.concurrency);
        let setting = "server.listen (WXGATE__SERVER__LISTEN)";
        let listener = listen::bind(config.server.listen, setting)?;
        let address = listener.local_addr()?;

        let app = App::build(config, Arc::new(SystemClock)).await?;
        logs.count_dropped_in(app.metrics().log_lines_dropped());
        see_to_a_key(&app, address).await?;
        say(format!("wxgate {} listens on http://{address}", env!("CARGO_PKG_VERSION")))?;
        app.serve(listener, stop).await?;
        Ok(())
    }
}

/// There is no open door: without a key nobody could call, and a stranger should not be the first to see one.
async fn see_to_a_key(app: &App, address: SocketAddr) -> Result<(), Failure> {
    if !address.ip().is_loopback() && !app.access().has_way_in().await? {
        return Err(Failure::Usage(format!(
            "no key exists, and {address} can be reached from outside. Make one first:\n  \
             wxgate key create --client ops --scopes admin     (with the same --config)\nor configure [clients.<name>] or [auth.jwt]."
        )));
    }
    if let Some(key) = app.mint_first_key().await? {
        say("No key existed, so an admin key was made. It is shown only now; callers send it as")?;
        say(format!("  Authorization: Bearer {}", key.expose()))?;
    }
    Ok(())
}
