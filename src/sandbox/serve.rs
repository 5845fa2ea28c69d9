//! The listener of the sandbox. Unlike `axum::serve` it can close a connection without an answer, as broken networks do.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::call::{Cut, Peer};
use super::model::Sandbox;

/// How long open connections may finish after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// Makes hyper drop the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut on purpose")]
struct CutOnPurpose;

impl Sandbox {
    /// Serves until `stop` is cancelled. Open calls get a second to finish, then their connections are closed.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let router = self.router();
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, router.clone(), stop.clone()));
                }
                // Out of file handles and the like: the next one may fare better.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        connections.close();
        connections.wait().await;
        Ok(())
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| answer(router.clone(), request, peer));
    let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, serving).await;
}

async fn answer(router: Router, request: hyper::Request<Incoming>, peer: SocketAddr) -> Result<Response, CutOnPurpose> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let response: Result<Response, Infallible> = router.oneshot(request).await;
    match response {
        Ok(response) if response.extensions().get::<Cut>().is_none() => Ok(response),
        _ => Err(CutOnPurpose),
    }
}
