//! One connection: hyper's HTTP/1.1 under our own clock. Where hyper has one limit for "reading a head" and "idle", we
//! keep two, and we know at any moment whether a request is under way: that decides what a shutdown may cut.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tower::Service;

use super::context::{Patience, Peer};

/// Nothing has been sent by the client since the last answer (or since it connected).
const IDLE: u8 = 0;
/// A head has begun and is not complete.
const HEAD: u8 = 1;
/// A request was handed on and its answer is not all handed back.
const BUSY: u8 = 2;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For the first head since connecting, and for each head since its first byte.
    pub(super) header: Duration,
    /// Between an answer and the next request.
    pub(super) idle: Duration,
}

/// Where the connection stands; written by its IO and its service, read by its guard. All in one task, one after the other.
struct Progress {
    opened: Instant,
    phase: AtomicU8,
    /// Since when, in ms after `opened`.
    since: AtomicU64,
    /// A request has come.
    used: AtomicBool,
    /// The last request was answered before its body was read to the end.
    unread: AtomicBool,
    /// How long the client may take nothing of the answer under way, in ms; 0: for ever.
    patience: AtomicU64,
    /// Since when it takes nothing, in ms after `opened`, and one; 0: it does.
    stalled: AtomicU64,
}

impl Progress {
    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn is(&self, phase: u8) -> bool {
        self.phase.load(Ordering::Relaxed) == phase
    }

    /// What came of writing.
    fn wrote<T>(&self, written: &Poll<T>) {
        if written.is_ready() {
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.now().saturating_add(1), Ordering::Relaxed);
        }
    }

    fn stall_ends(&self) -> Option<Instant> {
        let (patience, stalled) = (self.patience.load(Ordering::Relaxed), self.stalled.load(Ordering::Relaxed));
        (patience > 0 && stalled > 0).then(|| self.opened + Duration::from_millis(stalled.saturating_add(patience)))
    }

    /// When the client has had its time. `None`: it is our turn.
    fn due(&self, limits: Limits) -> Option<Instant> {
        let since = self.opened + Duration::from_millis(self.since.load(Ordering::Relaxed));
        match self.phase.load(Ordering::Relaxed) {
            BUSY => self.stall_ends(),
            IDLE if self.used.load(Ordering::Relaxed) => Some(since + limits.idle),
            _ => Some(since + limits.header),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By HTTP, by the client, or by a stop.
    Closed,
    /// The client took too long.
    TimedOut,
}

/// A connection under our clock. Resolves when it is over; dropping it cuts it.
pub(super) struct Guarded<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    inner: http1::UpgradeableConnection<TokioIo<Watched<I>>, Handler>,
    /// The stream, when HTTP is done with it.
    left: Left<I>,
    timer: Pin<Box<Sleep>>,
    progress: Arc<Progress>,
    limits: Limits,
}

type Left<I> = Arc<Mutex<Option<I>>>;

/// Binds a stream to the routes.
pub(super) fn guard<I>(stream: I, peer: Peer, router: Router, limits: Limits) -> Guarded<I>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = Instant::now();
    let progress = Arc::new(Progress {
        opened,
        phase: AtomicU8::new(IDLE),
        since: AtomicU64::new(0),
        used: AtomicBool::new(false),
        unread: AtomicBool::new(false),
        patience: AtomicU64::new(0),
        stalled: AtomicU64::new(0),
    });
    let left = Left::default();
    let io = TokioIo::new(Watched { stream: Some(stream), left: left.clone(), progress: progress.clone() });
    let handler = Handler { router, peer, progress: progress.clone() };
    // Our clock replaces hyper's, which would close idle connections after the time for a head.
    let inner = http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, handler)
        .with_upgrades();
    let timer = Box::pin(tokio::time::sleep_until(opened + limits.header));
    Guarded { inner, left, timer, progress, limits }
}

/// How long, and how much, a closing connection still takes in.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 * 1024 * 1024;
/// The longest head (and the largest piece of a body that is read at once).
const MAX_HEAD_BYTES: usize = 64 * 1024;

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Guarded<I> {
    /// From now on: no further request. `true`: nothing is under way, so the connection may be dropped at once.
    pub(super) fn wind_down(&mut self) -> bool {
        Pin::new(&mut self.inner).graceful_shutdown();
        // hyper would wait for the rest of a first head that has begun.
        !self.progress.is(BUSY) && !self.progress.used.load(Ordering::Relaxed)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Guarded<I> {
    /// After the end: takes in what the client still sends of a body that nobody read, for a while. Closing a socket
    /// with unread bytes resets it, and the client would lose the answer that says why (413, 401 …).
    pub(super) async fn linger(self) {
        if !self.progress.unread.load(Ordering::Relaxed) {
            return;
        }
        drop(self.inner);
        let Some(mut stream) = self.left.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let drain = async {
            let mut waste = vec![0; 16 * 1024];
            let mut left = LINGER_BYTES;
            while let Ok(read @ 1..) = stream.read(&mut waste).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        };
        // Over or not: the socket is closed now.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> Future for Guarded<I> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        if let Poll::Ready(end) = Pin::new(&mut this.inner).poll(cx) {
            if let Err(error) = end {
                tracing::debug!(%error, "a connection ended");
            }
            return Poll::Ready(End::Closed);
        }
        // The timer is not moved for each request: when it fires early it is set anew, and only a head that has begun
        // needs it sooner.
        let due = this.progress.due(this.limits);
        if let Some(due) = due
            && due < this.timer.deadline()
        {
            this.timer.as_mut().reset(due);
        }
        while this.timer.as_mut().poll(cx).is_ready() {
            match due {
                Some(due) if Instant::now() >= due => return Poll::Ready(End::TimedOut),
                Some(due) => this.timer.as_mut().reset(due),
                None => this.timer.as_mut().reset(Instant::now() + this.limits.header),
            }
        }
        Poll::Pending
    }
}

/// A stream that notes when a head begins, and when nothing of an answer is taken.
struct Watched<I> {
    /// Taken only when it is dropped.
    stream: Option<I>,
    left: Left<I>,
    progress: Arc<Progress>,
}

impl<I: Unpin> Watched<I> {
    fn stream(&mut self) -> io::Result<Pin<&mut I>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<I> Drop for Watched<I> {
    fn drop(&mut self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = this.stream()?.poll_read(cx, buf);
        if buf.filled().len() > before && this.progress.is(IDLE) {
            this.progress.enter(HEAD);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.stream()?.poll_write(cx, bytes);
        this.progress.wrote(&written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.stream()?.poll_write_vectored(cx, parts);
        this.progress.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

/// Hands requests to the routes.
struct Handler {
    router: Router,
    peer: Peer,
    progress: Arc<Progress>,
}

type Answer = http::Response<Tracked>;

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.progress.enter(BUSY);
        self.progress.used.store(true, Ordering::Relaxed);
        self.progress.unread.store(false, Ordering::Relaxed);
        let progress = self.progress.clone();
        let mut request = request.map(|inner| Body::new(Incomplete { inner, progress, ended: false }));
        request.extensions_mut().insert(self.peer);
        let answer = self.router.clone().call(request);
        let progress = self.progress.clone();
        Box::pin(async move {
            let response: Response = answer.await?;
            let patience = response.extensions().get::<Patience>().map_or(0, |patience| patience.0.as_millis());
            progress.patience.store(u64::try_from(patience).unwrap_or(u64::MAX), Ordering::Relaxed);
            Ok(response.map(|inner| Tracked { inner, progress }))
        })
    }
}

/// The body of a request; notes when it is given up before its end.
struct Incomplete {
    inner: Incoming,
    progress: Arc<Progress>,
    ended: bool,
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        if !self.ended && !self.inner.is_end_stream() {
            self.progress.unread.store(true, Ordering::Relaxed);
        }
    }
}

impl HttpBody for Incomplete {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        this.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer; when it is gone, so is the request.
struct Tracked {
    inner: Body,
    progress: Arc<Progress>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.progress.enter(IDLE);
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn endless() -> Response {
        let frames = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b'x'; 64])));
        let mut response = Response::new(Body::from_stream(frames));
        response.extensions_mut().insert(Patience(Duration::from_millis(200)));
        response
    }

    /// A connection with an answer without an end, and its other side.
    async fn listening() -> (Guarded<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let router = Router::new().route("/", get(endless));
        let peer = Peer(SocketAddr::from(([127, 0, 0, 1], 1)));
        theirs.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        (guard(ours, peer, router, Limits { header: LONG, idle: LONG }), theirs)
    }

    #[tokio::test]
    async fn who_takes_nothing_of_an_endless_answer_is_cut() {
        let (connection, _theirs) = listening().await;
        assert_eq!(tokio::time::timeout(LONG, connection).await.unwrap(), End::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_a_little_now_and_then_is_not() {
        let (mut connection, mut theirs) = listening().await;
        let slow = async {
            // Longer than the patience in all.
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let mut some = [0; 4096];
                assert!(theirs.read(&mut some).await.unwrap() > 0);
            }
        };
        tokio::select! {
            end = &mut connection => panic!("{end:?}"),
            () = slow => {}
        }
    }
}
