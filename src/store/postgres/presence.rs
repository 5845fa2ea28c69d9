//! The connection that shows that we live and hears what the others do: made again as long as the store is open.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::connect::{CONNECT, Endpoint, STATEMENT, Wire, end_earlier, settings_of};
use super::fault::{self, unavailable};
use super::nodes::{DUE, ENDED, Missed, Nodes, TOLD};
use crate::store::Error;

/// How often we say that we are there, and look who else is.
const BEAT: Duration = Duration::from_secs(1);
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// Our presence; it ends when this is dropped.
pub(super) struct Presence {
    stop: CancellationToken,
    ended: watch::Receiver<()>,
}

impl Presence {
    /// Returns when we are entered and have looked once.
    pub(super) async fn start(endpoint: Endpoint, nodes: Arc<Nodes>) -> Result<Self, Error> {
        let seat = Seat::take(&endpoint, &nodes).await?;
        let (stop, (alive, ended)) = (CancellationToken::new(), watch::channel(()));
        let stopped = stop.clone();
        tokio::spawn(async move {
            stay(seat, &endpoint, &nodes, &stopped).await;
            drop(alive);
        });
        Ok(Self { stop, ended })
    }

    /// Signs off; returns when that is done, or cannot be.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn stay(mut seat: Seat, endpoint: &Endpoint, nodes: &Arc<Nodes>, stopped: &CancellationToken) {
    loop {
        let error = tokio::select! {
            () = stopped.cancelled() => return seat.leave(nodes).await,
            error = seat.keep(nodes) => error,
        };
        tracing::warn!(%error, "the connection that shows this node's presence was lost");
        drop(seat);
        seat = tokio::select! {
            () = stopped.cancelled() => return,
            seat = Seat::regain(endpoint, nodes) => seat,
        };
        tracing::info!("this node's presence is shown again");
        // What was said meanwhile we have not heard.
        nodes.wake();
    }
}

/// One connection that holds our lock and listens.
struct Seat {
    client: Client,
    /// Ends with the connection.
    wire: JoinHandle<Option<tokio_postgres::Error>>,
    missed: Missed,
}

impl Seat {
    async fn take(endpoint: &Endpoint, nodes: &Arc<Nodes>) -> Result<Self, Error> {
        let taken = tokio::time::timeout(CONNECT, async {
            let name = format!("wxgate presence {}", nodes.boot());
            let (client, wire) = endpoint.dial(&name).await?;
            let wire = tokio::spawn(listen(wire, nodes.clone()));
            let mut seat = Self { client, wire, missed: Missed::default() };
            seat.client.batch_execute(&settings_of(STATEMENT)).await?;
            end_earlier(&seat.client, &name).await?;
            nodes.hold(&seat.client).await?;
            seat.client.batch_execute(&format!("LISTEN {DUE}; LISTEN {ENDED}; LISTEN {TOLD}")).await?;
            seat.beat(nodes).await?;
            Ok(seat)
        });
        taken.await.unwrap_or_else(|_| Err(fault::silent()))
    }

    async fn regain(endpoint: &Endpoint, nodes: &Arc<Nodes>) -> Self {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(seat) = Self::take(endpoint, nodes).await {
                return seat;
            }
        }
    }

    async fn beat(&mut self, nodes: &Nodes) -> Result<(), Error> {
        nodes.sign(&self.client).await?;
        nodes.look(&self.client, &mut self.missed).await
    }

    /// Until the connection is lost.
    async fn keep(&mut self, nodes: &Nodes) -> Error {
        loop {
            tokio::select! {
                ended = &mut self.wire => return reason(ended.ok().flatten()),
                () = tokio::time::sleep(BEAT) => {}
            }
            match tokio::time::timeout(CONNECT, self.beat(nodes)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_) => return fault::silent(),
            }
        }
    }

    async fn leave(&self, nodes: &Nodes) {
        let left = tokio::time::timeout(CONNECT, nodes.leave(&self.client)).await;
        if let Err(error) = left.unwrap_or_else(|_| Err(fault::silent())) {
            tracing::warn!(%error, "this node could not sign off: the others notice within seconds");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

/// Drives the connection and hears what is said on it. → why it ended.
async fn listen(mut wire: Wire, nodes: Arc<Nodes>) -> Option<tokio_postgres::Error> {
    loop {
        match poll_fn(|context| wire.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(said))) => nodes.hear(said.channel(), said.payload()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Some(error),
            None => return None,
        }
    }
}

fn reason(error: Option<tokio_postgres::Error>) -> Error {
    error.map_or_else(|| unavailable("the connection was closed"), Error::from)
}
