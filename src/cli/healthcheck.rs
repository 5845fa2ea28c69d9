//! `wxgate healthcheck`: is the gateway on this machine ready? For containers, which have no curl.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::exit::Failure;
use super::{listen, out};
use crate::config::wechat::WechatConfig;
use crate::upstream;

const LIMIT: Duration = Duration::from_secs(3);

/// Ask a running gateway whether it is ready; exit code 0 when it is
///
/// The address comes from the configuration (server.listen), unless --url is given. Waits three seconds at most.
#[derive(Args)]
#[command(after_help = "Examples:\n  wxgate healthcheck\n  wxgate healthcheck --url http://10.0.0.5:8080/health\n  \
    HEALTHCHECK CMD [\"wxgate\", \"healthcheck\"]      (Dockerfile)")]
pub(super) struct Healthcheck {
    /// What to ask instead: any URL that answers 2xx when all is well
    #[arg(long)]
    url: Option<String>,
}

impl Healthcheck {
    pub(super) async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let url = match self.url {
            Some(url) => url,
            None => format!("http://{}/ready", listen::reachable(super::load(file)?.server.listen)),
        };
        ask(&url).await?;
        Ok(out::say("ok")?)
    }
}

async fn ask(url: &str) -> anyhow::Result<()> {
    let response = client(LIMIT)?.get(url).send().await.map_err(|error| anyhow!("{url}: {}", describe(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let answer = response.text().await.unwrap_or_default();
    Err(anyhow!("{url} answered {status}: {answer}"))
}

/// A client for gateways: straight, without the proxy that is meant for WeChat.
pub(super) fn client(limit: Duration) -> anyhow::Result<reqwest::Client> {
    let plain = WechatConfig { base_url: String::new(), connect_timeout: LIMIT, timeout: limit, proxy: None };
    upstream::http::client(&plain).context("the HTTP client cannot be built")
}

/// What went wrong with a call, without the URL: it may hold a secret.
pub(super) fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match error.is_connect() {
        true => format!("no connection: {cause}"),
        false => format!("the call failed: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn only_a_good_answer_is_health() {
        let router = Router::new()
            .route("/ready", get(|| async { "{}" }))
            .route("/draining", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "shutting down") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        ask(&format!("http://{address}/ready")).await.unwrap();
        let refused = ask(&format!("http://{address}/draining")).await.unwrap_err().to_string();
        assert!(refused.contains("503") && refused.contains("shutting down"), "{refused}");
        server.abort();
        let _ = server.await;
        let gone = ask(&format!("http://{address}/ready")).await.unwrap_err().to_string();
        assert!(gone.contains("no connection"), "{gone}");
    }
}
