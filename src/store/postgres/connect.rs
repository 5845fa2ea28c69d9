//! From `[storage]` to a connection: address, TLS, time limits, settings of the session.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{self, unavailable};
use crate::config::store::{PostgresConfig, Tls};
use crate::store::Error;

/// How long a TCP connection may take; then, how long all of it.
const REACH: Duration = Duration::from_secs(2);
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// A silent peer is asked whether it is still there, and given up when it does not say so.
const KEEPALIVE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(15);
/// How long one statement may take.
pub(super) const STATEMENT: Duration = Duration::from_secs(10);
/// How long a transaction of a process that stopped in its middle may hold its locks. Other nodes wait less long than it takes
/// them to give up.
const IDLE: Duration = Duration::from_secs(5);

/// Every statement of ours finds a few rows by an index, also where a plan is made without knowing how few. A commit is on disk when it is answered,
/// unless the database asks for more than that.
///
/// The server asks a silent client whether it is still there, as we ask it: the locks of a machine that lost its power would
/// be held for hours otherwise.
const SESSION: &str = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2;
     SET tcp_user_timeout = 15000; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
     SET plan_cache_mode = force_generic_plan;
     SET client_min_messages = warning;
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

pub(super) type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Where the server is and how to speak to it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Endpoint {
    settings: tokio_postgres::Config,
    tls: MakeRustlsConnect,
}

impl Endpoint {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, Error> {
        let url = config.url.expose();
        let mut settings: tokio_postgres::Config =
            url.parse().map_err(|_| unavailable("storage.url cannot be read: run `wxgate config check`"))?;
        settings
            .ssl_mode(match config.tls {
                Tls::Disable => SslMode::Disable,
                Tls::Prefer => SslMode::Prefer,
                Tls::Require => SslMode::Require,
            })
            // A standby that only reads is none of ours.
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(REACH)
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .tcp_user_timeout(SILENCE);
        Ok(Self { settings, tls: MakeRustlsConnect::new(tls(config)?) })
    }

    /// The host and the database, for messages.
    pub(super) fn settings(&self) -> &tokio_postgres::Config {
        &self.settings
    }

    pub(super) fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// A connection of this name (`pg_stat_activity.application_name`). Its owner has to drive the [`Wire`]. No time limit.
    pub(super) async fn dial(&self, name: &str) -> Result<(Client, Wire), tokio_postgres::Error> {
        let mut settings = self.settings.clone();
        settings.application_name(name);
        settings.connect(self.tls.clone()).await
    }

    /// The same, driven by a task of its own.
    pub(super) async fn dial_driven(&self, name: &str) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, wire) = self.dial(name).await?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told the same.
            if let Err(error) = wire.await {
                tracing::debug!(error = %fault::text(&error), "a connection to PostgreSQL has ended");
            }
        });
        Ok((client, task))
    }

    /// The same with its settings made, in time or not at all.
    pub(super) async fn connect(&self, name: &str) -> Result<ClientWrapper, Error> {
        let connected = tokio::time::timeout(CONNECT, async {
            let (client, task) = self.dial_driven(name).await?;
            let client = ClientWrapper::new(client, task);
            client.batch_execute(&settings_of(STATEMENT)).await?;
            Ok(client)
        });
        connected.await.map_err(|_| fault::silent())?
    }
}

/// The statements that make a session ours.
pub(super) fn settings_of(statement: Duration) -> String {
    let (statement, idle) = (statement.as_millis(), IDLE.as_millis());
    format!("SET statement_timeout = {statement}; SET idle_in_transaction_session_timeout = {idle}; {SESSION}")
}

/// Ends what is left of earlier connections of this name: they may hold locks without anybody there.
pub(super) async fn end_earlier(client: &Client, name: &str) -> Result<(), tokio_postgres::Error> {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = $1 AND usename = current_user AND pid <> pg_backend_pid()";
    client.execute(end, &[&name]).await?;
    Ok(())
}

fn tls(config: &PostgresConfig) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| unavailable(format!("TLS for storage.url cannot be set up: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    Ok(match (config.tls, &config.ca_file) {
        (Tls::Require, Some(path)) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
        (Tls::Require, None) => builder.with_platform_verifier().map_err(failed)?.with_no_client_auth(),
        (Tls::Prefer | Tls::Disable, _) => {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth()
        }
    })
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let failed = |what: &str| unavailable(format!("storage.ca_file {} {what}", path.display()));
    let file = File::open(path).map_err(|error| failed(&format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&mut BufReader::new(file)) {
        let certificate = certificate.map_err(|_| failed("is not in PEM"))?;
        roots.add(certificate).map_err(|error| failed(&format!("holds a certificate of no use: {error}")))?;
    }
    if roots.is_empty() {
        return Err(failed("holds no certificate"));
    }
    Ok(roots)
}

fn certificates(
    file: &mut BufReader<File>,
) -> impl Iterator<Item = Result<CertificateDer<'static>, rustls::pki_types::pem::Error>> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::pem_reader_iter(file)
}

/// `sslmode=prefer`: nobody is checked, as nobody would be if the server had no TLS at all.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
