//! The server: accepts connections up to a cap, and stops in good order.
//!
//! *Soft stop*: the listener closes, connections without a request under way close, requests under way finish. After
//! the grace, or at the *hard stop*, the rest is cut.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{End, Limits, guard};
use super::context::Peer;
use crate::config::http::ServerConfig;
use crate::telemetry::metrics::Metrics;

/// How long accepting rests when the system has no room for another connection.
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// At the limit one connection goes and the next does not: that is said once in a while.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Serves until `soft` or `hard` is cancelled and every connection is over.
///
/// Over the cap of `max_connections` nothing is accepted until one ends: newcomers wait in the system's backlog, and the
/// time-outs see to it that one ends. `Err` only when the listener cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &ServerConfig,
    metrics: &Metrics,
    soft: CancellationToken,
    hard: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let room = Arc::new(Semaphore::new(config.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let limits = Limits { header: config.header_timeout, idle: config.idle_timeout };
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let mut said = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = soft.cancelled() => break,
            () = hard.cancelled() => break,
            accepted = accept(&listener, &room, &mut said) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let (router, metrics, soft, cut) = (router.clone(), metrics.clone(), soft.clone(), cut.clone());
        tasks.spawn(async move {
            let _place = place;
            let _open = metrics.connection_open();
            run(stream, peer, router, limits, soft, cut).await;
        });
    }
    drop(listener);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => return Ok(()),
        () = tokio::time::sleep(config.shutdown_grace) => tracing::warn!(connections = tasks.len(), "the grace is over: the rest is cut"),
        () = hard.cancelled() => tracing::warn!(connections = tasks.len(), "told to stop at once: the rest is cut"),
    }
    cut.cancel();
    tasks.wait().await;
    Ok(())
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room. `None`: this one came to nothing, ask again.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    said: &mut Option<Instant>,
) -> Option<(TcpStream, Peer, Place)> {
    let place = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Answers are written whole: waiting to fill a packet only adds delay.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(address), place))
        }
        Err(error) => {
            rest_after(&error, said).await;
            None
        }
    }
}

/// A connection that died in the backlog costs nothing; anything else (no file handles, no memory) needs a rest, or this
/// loop would spin.
async fn rest_after(error: &io::Error, said: &mut Option<Instant>) {
    let died = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused];
    if died.contains(&error.kind()) {
        return;
    }
    if said.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
        *said = Some(Instant::now());
        tracing::warn!(%error, "a connection could not be accepted; callers wait until there is room for more");
    }
    tokio::time::sleep(ACCEPT_REST).await;
}

/// One connection from its first byte to its end.
async fn run(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    limits: Limits,
    soft: CancellationToken,
    cut: CancellationToken,
) {
    let mut connection = guard(stream, peer, router, limits);
    let end = tokio::select! {
        // The connection first: a request that has come whole is under way, even when the stop came with it.
        biased;
        end = &mut connection => end,
        () = cut.cancelled() => return,
        () = soft.cancelled() => {
            if connection.wind_down() {
                return;
            }
            tokio::select! {
                biased;
                end = &mut connection => end,
                () = cut.cancelled() => return,
            }
        }
    };
    match end {
        End::TimedOut => tracing::debug!(peer = %peer.0, "a client took too long"),
        End::Closed => tokio::select! {
            () = connection.linger() => {}
            () = cut.cancelled() => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Extension;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    fn config() -> ServerConfig {
        ServerConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics_listen: None,
            body_limit_bytes: 1024,
            header_timeout: LONG,
            body_timeout: LONG,
            idle_timeout: LONG,
            max_connections: 16,
            max_requests: 16,
            shutdown_grace: LONG,
            trusted_proxies: Vec::new(),
            public_url: None,
        }
    }

    struct Served {
        address: SocketAddr,
        soft: CancellationToken,
        hard: CancellationToken,
        task: JoinHandle<io::Result<()>>,
        entered: Arc<Notify>,
        leave: Arc<Notify>,
    }

    impl Served {
        async fn start(config: ServerConfig) -> Self {
            let (soft, hard) = (CancellationToken::new(), CancellationToken::new());
            let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let slow = {
                let (entered, leave) = (entered.clone(), leave.clone());
                move || async move {
                    entered.notify_one();
                    leave.notified().await;
                    "finished"
                }
            };
            let router = Router::new()
                .route("/", get(|Extension(peer): Extension<Peer>| async move { peer.0.ip().to_string() }))
                .route("/slow", get(slow))
                .route("/echo", post(|body: String| async move { body }));
            let listener = TcpListener::bind(config.listen).await.unwrap();
            let address = listener.local_addr().unwrap();
            let task = {
                let (soft, hard) = (soft.clone(), hard.clone());
                tokio::spawn(async move { serve(listener, router, &config, &Metrics::new(), soft, hard).await })
            };
            Self { address, soft, hard, task, entered, leave }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        async fn stopped(self) {
            tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap().unwrap();
        }
    }

    async fn send(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads to the end of the connection; a reset counts as an end.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads one answer with a content-length.
    async fn answer(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        loop {
            let mut chunk = [0; 1024];
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(read > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return text;
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_the_peer_is_known() {
        let served = Served::start(config()).await;
        let mut stream = served.connect().await;
        for _ in 0..3 {
            send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let text = answer(&mut stream).await;
            assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("127.0.0.1"), "{text}");
        }
        served.soft.cancel();
        assert_eq!(rest(&mut stream).await, "");
        served.stopped().await;
    }

    #[tokio::test]
    async fn silence_and_half_heads_end_after_the_time_for_a_head() {
        let served = Served::start(ServerConfig { header_timeout: SHORT, ..config() }).await;
        let mut silent = served.connect().await;
        assert_eq!(rest(&mut silent).await, "");
        let mut half = served.connect().await;
        send(&mut half, "GET / HTTP/1.1\r\nhos").await;
        assert_eq!(rest(&mut half).await, "");
        let mut second = served.connect().await;
        send(&mut second, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        answer(&mut second).await;
        send(&mut second, "GET / HT").await;
        assert_eq!(rest(&mut second).await, "", "also a later head, although idling is allowed for long");
    }

    #[tokio::test]
    async fn idling_has_its_own_limit() {
        let limits = ServerConfig { idle_timeout: SHORT, ..config() };
        let served = Served::start(limits).await;
        let mut stream = served.connect().await;
        send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(rest(&mut stream).await.ends_with("127.0.0.1"));
    }

    #[tokio::test]
    async fn a_slow_handler_is_no_timeout_of_the_client() {
        let served = Served::start(ServerConfig { header_timeout: SHORT, idle_timeout: SHORT, ..config() }).await;
        let mut stream = served.connect().await;
        send(&mut stream, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.entered.notified().await;
        tokio::time::sleep(SHORT * 4).await; // the limits themselves are under test
        served.leave.notify_one();
        assert!(answer(&mut stream).await.ends_with("finished"));
    }

    #[tokio::test]
    async fn half_a_head_and_idlers_do_not_delay_a_stop() {
        let served = Served::start(config()).await;
        let mut silent = served.connect().await;
        let mut half = served.connect().await;
        send(&mut half, "POST /echo HTTP/1.1\r\nhost: x\r\ncont").await;
        let mut idle = served.connect().await;
        send(&mut idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        answer(&mut idle).await;
        let mut idle_half = served.connect().await;
        send(&mut idle_half, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        answer(&mut idle_half).await;
        send(&mut idle_half, "GET /").await;
        served.soft.cancel();
        for stream in [&mut silent, &mut half, &mut idle, &mut idle_half] {
            assert_eq!(rest(stream).await, "");
        }
        served.stopped().await;
    }

    #[tokio::test]
    async fn a_request_under_way_finishes_and_nothing_new_is_accepted() {
        let served = Served::start(config()).await;
        let mut stream = served.connect().await;
        send(&mut stream, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        served.entered.notified().await;
        served.soft.cancel();
        while TcpStream::connect(served.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        served.leave.notify_one();
        let text = rest(&mut stream).await;
        assert!(text.contains("connection: close") && text.ends_with("finished"), "{text}");
        served.stopped().await;
    }

    #[tokio::test]
    async fn after_the_grace_or_a_hard_stop_the_rest_is_cut() {
        for (grace, hard) in [(SHORT, false), (LONG, true)] {
            let served = Served::start(ServerConfig { shutdown_grace: grace, ..config() }).await;
            let mut stream = served.connect().await;
            send(&mut stream, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
            served.entered.notified().await;
            served.soft.cancel();
            if hard {
                served.hard.cancel();
            }
            assert_eq!(rest(&mut stream).await, "");
            served.stopped().await;
        }
    }

    #[tokio::test]
    async fn over_the_cap_newcomers_wait_until_one_leaves() {
        let served = Served::start(ServerConfig { max_connections: 1, ..config() }).await;
        let mut first = served.connect().await;
        send(&mut first, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        answer(&mut first).await;
        let mut second = served.connect().await;
        send(&mut second, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut byte = [0];
        assert!(tokio::time::timeout(SHORT, second.read(&mut byte)).await.is_err(), "served over the cap");
        drop(first);
        assert!(answer(&mut second).await.ends_with("127.0.0.1"));
    }

    #[tokio::test]
    async fn garbage_is_answered_and_harms_nobody() {
        let served = Served::start(config()).await;
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(200_000));
        for (garbage, status) in [
            ("\u{0}\u{1}\u{2}\r\n\r\n", "HTTP/1.1 400"),
            ("GET\r\n\r\n", "HTTP/1.1 400"),
            (long.as_str(), "HTTP/1.1 431"),
        ] {
            let mut stream = served.connect().await;
            let _ = stream.write_all(garbage.as_bytes()).await;
            let text = rest(&mut stream).await;
            assert!(text.starts_with(status) || text.is_empty(), "{text}");
        }
        let mut stream = served.connect().await;
        send(&mut stream, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        answer(&mut stream).await;
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_body_is_read_is_not_lost() {
        let served = Served::start(config()).await;
        for _ in 0..5 {
            let mut stream = served.connect().await;
            send(&mut stream, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n").await;
            send(&mut stream, &"x".repeat(8_000_000)).await;
            assert!(rest(&mut stream).await.starts_with("HTTP/1.1 405"));
        }
    }

    #[tokio::test]
    async fn a_pipelined_pair_is_answered_in_order() {
        let served = Served::start(config()).await;
        let mut stream = served.connect().await;
        send(&mut stream, "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\noneGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let text = rest(&mut stream).await;
        assert!(text.contains("one") && text.ends_with("127.0.0.1"), "{text}");
    }

    #[tokio::test]
    async fn errors_of_the_backlog_are_not_rested_for() {
        let died = io::Error::from(io::ErrorKind::ConnectionAborted);
        let mut said = None;
        assert!(tokio::time::timeout(Duration::ZERO, rest_after(&died, &mut said)).await.is_ok());
        let full = io::Error::from_raw_os_error(24);
        assert!(tokio::time::timeout(Duration::ZERO, rest_after(&full, &mut said)).await.is_err());
        assert!(said.is_some());
    }
}
