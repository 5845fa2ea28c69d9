//! One connection to Redis that is made when first used and given up at the first sign of trouble.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};

use crate::config::store::RedisConfig;
use crate::store::Error;

/// The longest a verb may take, connecting included.
const LIMIT: Duration = Duration::from_millis(100);
/// Within it, so that the connection itself learns that its peer is silent.
const STEP: Duration = Duration::from_millis(90);

pub(super) struct Link {
    client: Client,
    manager: Mutex<Option<ConnectionManager>>,
}

impl Link {
    /// No I/O.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, Error> {
        // The error would repeat the URL, and with it the password.
        let client = Client::open(config.url.expose())
            .map_err(|_| unavailable("redis.url is not of the form redis://[:password@]host[:port][/db]"))?;
        Ok(Self { client, manager: Mutex::default() })
    }

    /// Runs a verb, within [`LIMIT`]. After a failure of the connection the next verb makes a new one: a peer that vanished
    /// without a word would otherwise keep the old one busy for a quarter of an hour.
    pub(super) async fn run<T, F>(&self, verb: impl FnOnce(ConnectionManager) -> F) -> Result<T, Error>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let manager = self.manager()?;
        match tokio::time::timeout(LIMIT, verb(manager)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_timeout() {
                    self.forget();
                }
                Err(unavailable(format!("Redis: {error}")))
            }
            Err(_) => {
                self.forget();
                Err(unavailable("Redis did not answer in time"))
            }
        }
    }

    fn manager(&self) -> Result<ConnectionManager, Error> {
        let mut current = self.current();
        if let Some(manager) = &*current {
            return Ok(manager.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(STEP))
            .set_response_timeout(Some(STEP))
            .set_number_of_retries(0);
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), config)
            .map_err(|error| unavailable(format!("Redis: {error}")))?;
        *current = Some(manager.clone());
        Ok(manager)
    }

    fn forget(&self) {
        *self.current() = None;
    }

    fn current(&self) -> MutexGuard<'_, Option<ConnectionManager>> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(reason: impl Into<String>) -> Error {
    Error::Unavailable { reason: reason.into() }
}
