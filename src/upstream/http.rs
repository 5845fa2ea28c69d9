//! The HTTP client of everything but the sends (`direct`): time-outs, pool and proxy.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls_platform_verifier::BuilderVerifierExt;

use crate::config::wechat::WechatConfig;

/// Kept-alive connections per host: at least the highest concurrency, so that no message pays for a handshake.
pub(super) const IDLE_CONNECTIONS: usize = 1024;
/// Our choice: WeChat does not say how long it keeps a connection open. Long enough for the next message of a quiet hour's
/// trickle, short enough that few are found closed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// `User-Agent`.
pub(super) const NAME: &str = concat!("wxgate/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("wechat.proxy is not a proxy URL such as http://proxy:3128")]
    Proxy,
    #[error("the HTTP client cannot be built: {0}")]
    Client(reqwest::Error),
    #[error("the HTTP client cannot be built: TLS: {0}")]
    Tls(String),
}

/// A client for WeChat: no redirects, no cookies, no decompression, `wechat.connect_timeout` and `wechat.timeout` for a whole call.
pub fn client(config: &WechatConfig) -> Result<reqwest::Client, BuildError> {
    client_with(config, tls()?)
}

/// The same, with what [`tls`] has made.
pub(super) fn client_with(config: &WechatConfig, tls: ClientConfig) -> Result<reqwest::Client, BuildError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(config.connect_timeout)
        .timeout(config.timeout)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(NAME)
        .no_proxy();
    if let Some(proxy) = &config.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.expose()).map_err(|_| BuildError::Proxy)?);
    }
    builder.build().map_err(BuildError::Client)
}

/// Trusts whom the system trusts. Dear: it reads every certificate there is.
pub(super) fn tls() -> Result<ClientConfig, BuildError> {
    install_tls();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().and_then(BuilderVerifierExt::with_platform_verifier);
    Ok(tls.map_err(|error| BuildError::Tls(error.to_string()))?.with_no_client_auth())
}

/// rustls asks for one process-wide choice of cryptography; the second call finds it made.
pub(super) fn install_tls() {
    let _ = ring::default_provider().install_default();
}
