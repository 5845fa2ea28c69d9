//! Connections for queries: opened when first needed, a few at most, each used by one query at a time.
//!
//! Two pools: [`Readers::quick`] is for queries that an index answers at once, [`Readers::slow`] for those that may have to
//! look at many rows. They share nothing, so that a slow list never holds up the queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{ClientWrapper, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::connect::{CONNECT, Endpoint, settings_of};
use super::fault::{self, unavailable};
use super::sql::{Sql, Values};
use crate::store::Error;

/// Slow queries under way at once.
const SLOW: usize = 2;
/// How long a slow query may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long a quick one may.
const QUICK: Duration = Duration::from_secs(5);
/// How long a query waits for a connection.
const WAIT: Duration = Duration::from_secs(1);
/// What the server is late with its own time limit, at most.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct Readers {
    quick: Pool,
    slow: Pool,
    endpoint: Endpoint,
}

impl Readers {
    /// `size`: connections for quick queries, the two for slow ones included.
    pub(super) fn new(endpoint: &Endpoint, size: usize) -> Result<Self, Error> {
        let quick = pool(endpoint, size.saturating_sub(SLOW).max(1), QUICK)?;
        Ok(Self { quick, slow: pool(endpoint, SLOW, PATIENCE)?, endpoint: endpoint.clone() })
    }

    /// For queries that an index answers at once. They see every commit that was answered before.
    pub(super) async fn quick(&self) -> Result<Reader, Error> {
        self.take(&self.quick, QUICK, unavailable("a query took too long: look at the PostgreSQL server's load")).await
    }

    /// For a query that may be slow: it is given up after [`PATIENCE`], with advice, and when its caller has left.
    pub(super) async fn slow(&self) -> Result<Reader, Error> {
        let advice = format!(
            "the query needs more than {} seconds: narrow the filter (an account, a recipient, a batch, a state such as \
             failed, or a shorter time)",
            PATIENCE.as_secs()
        );
        self.take(&self.slow, PATIENCE, Error::TooSlow { advice }).await
    }

    /// A connection of one's own, for a query that may take as long as it needs.
    pub(super) async fn unhurried(&self) -> Result<ClientWrapper, Error> {
        let client = self.endpoint.connect("wxgate look").await?;
        client.batch_execute("SET statement_timeout = 0").await?;
        Ok(client)
    }

    /// Later queries are refused.
    pub(super) fn close(&self) {
        self.quick.close();
        self.slow.close();
    }

    async fn take(&self, pool: &Pool, limit: Duration, late: Error) -> Result<Reader, Error> {
        let client = pool.get().await?;
        Ok(Reader {
            client: Some(client),
            endpoint: self.endpoint.clone(),
            limit,
            late,
            is_busy: AtomicBool::new(false),
        })
    }
}

/// One connection, until it is dropped.
pub(super) struct Reader {
    /// Taken only when it is dropped.
    client: Option<Object>,
    endpoint: Endpoint,
    limit: Duration,
    /// What to say when the limit is over.
    late: Error,
    /// A query is under way. Still so when the reader is dropped: its caller has left, or the server is silent.
    is_busy: AtomicBool,
}

impl Reader {
    fn client(&self) -> Result<&Object, Error> {
        self.client.as_ref().ok_or_else(|| unavailable("no connection"))
    }

    async fn within<T>(&self, query: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        self.is_busy.store(true, Ordering::Relaxed);
        let answer = tokio::time::timeout(self.limit + GRACE, query).await.map_err(|_| fault::silent())?;
        self.is_busy.store(false, Ordering::Relaxed);
        answer.map_err(|error| match error.code() {
            Some(&SqlState::QUERY_CANCELED) => self.late.clone(),
            _ => error.into(),
        })
    }
}

#[async_trait]
impl Sql for Reader {
    async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error> {
        let client = self.client()?;
        self.within(async { client.query(&client.prepare_cached(sql).await?, values).await }).await
    }

    async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Error> {
        let client = self.client()?;
        self.within(async { client.execute(&client.prepare_cached(sql).await?, values).await }).await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if !self.is_busy.load(Ordering::Relaxed) {
            return;
        }
        // The next one would wait for an answer that nobody wants any more: this connection is given up.
        let (cancel, tls) = (client.cancel_token(), self.endpoint.tls());
        drop(Object::take(client));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(WAIT, cancel.cancel_query(tls)).await });
        }
    }
}

/// Makes the connections of a pool as all of ours are made.
struct Maker {
    endpoint: Endpoint,
    statement: Duration,
}

impl Connect for Maker {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let (endpoint, statement) = (self.endpoint.clone(), self.statement);
        Box::pin(async move {
            let (client, task) = endpoint.dial_driven("wxgate reader").await?;
            client.batch_execute(&settings_of(statement)).await?;
            Ok((client, task))
        })
    }
}

fn pool(endpoint: &Endpoint, size: usize, statement: Duration) -> Result<Pool, Error> {
    let maker = Maker { endpoint: endpoint.clone(), statement };
    // A connection that died is told by its task; asking each time would double every query.
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let builder = Pool::builder(Manager::from_connect(endpoint.settings().clone(), maker, config));
    let limits = builder.max_size(size).runtime(Runtime::Tokio1).wait_timeout(Some(WAIT)).create_timeout(Some(CONNECT));
    limits.build().map_err(|error| unavailable(format!("the connections for queries cannot be set up: {error}")))
}
