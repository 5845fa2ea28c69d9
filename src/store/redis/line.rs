//! One connection at a time: made when it is needed, given up when it is of no use any more.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisResult};
use tokio::time::timeout;

use super::fault::Fault;

/// How long the making of a connection may take, beside the road.
pub(super) const CONNECT: Duration = Duration::from_millis(1_500);
/// Of a limit, what is left for an answer that is here already: a machine that was busy for long sees the limit first.
const LATE: Duration = Duration::from_millis(10);

pub(super) struct Line {
    client: Client,
    /// Never held across an await.
    present: Mutex<Present>,
}

#[derive(Default)]
struct Present {
    connection: Option<Connecting>,
    /// Of this connection.
    number: u64,
}

type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

impl Line {
    /// No I/O.
    pub(super) fn new(client: Client) -> Self {
        Self { client, present: Mutex::default() }
    }

    /// The present connection and its number, or why there is none within the limit.
    pub(super) async fn connected(&self, limit: Duration) -> (u64, Result<MultiplexedConnection, Fault>) {
        let (number, connecting) = self.connection();
        let connected = match within(limit, connecting).await {
            Some(connected) => connected.map_err(|error| Fault::of_connecting(&error)),
            None => Err(Fault::still_connecting()),
        };
        (number, connected)
    }

    /// The present connection, or the making of one that all who come meanwhile share, and that goes on without them.
    fn connection(&self) -> (u64, Connecting) {
        let mut present = self.present();
        if let Some(connection) = &present.connection {
            return (present.number, connection.clone());
        }
        let client = self.client.clone();
        let making = tokio::spawn(async move {
            // Whoever asks has a limit of its own.
            let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await
        });
        let interrupted = |_| Err((ErrorKind::Io, "the connecting was interrupted").into());
        let connecting = async move { making.await.unwrap_or_else(interrupted) }.boxed().shared();
        present.number += 1;
        present.connection = Some(connecting.clone());
        (present.number, connecting)
    }

    /// The peer may have vanished without a word, or its answers be misplaced. What is still being made goes on. `false`:
    /// another connection is in its place already, and this one's failure says nothing any more.
    pub(super) fn give_up(&self, number: u64, fault: &Fault) -> bool {
        let mut present = self.present();
        let is_present = present.number == number;
        if is_present && !fault.is_connecting {
            present.connection = None;
        }
        is_present
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One answer within the limit.
pub(super) async fn ask<T>(limit: Duration, verb: impl Future<Output = RedisResult<T>>) -> Result<T, Fault> {
    match within(limit, verb).await {
        Some(answer) => answer.map_err(|error| Fault::of(&error)),
        None => Err(Fault::silence()),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    match timeout(limit.saturating_sub(LATE), &mut work).await {
        Ok(done) => Some(done),
        Err(_) => timeout(LATE.min(limit), work).await.ok(),
    }
}
