//! A WeChat of raw bytes: it answers the calls as it is told, counts what it sees, and says nothing of its own accord.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::harness::{Setup, TestApp};

/// What every token begins with; a number follows. With characters that a query has to escape.
pub(super) const TOKEN: &str = "NOBODY+MAY/SEE=THIS-TOKEN";
pub(super) const TOKEN_IN_QUERY: &str = "NOBODY%2BMAY%2FSEE%3DTHIS-TOKEN";
/// Of the harness's account.
pub(super) const SECRET: &str = "demo-secret";

/// What becomes of one call, once it has been read to its end.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// These bytes; the connection goes on.
    Say(Vec<u8>),
    /// These bytes, then the end.
    SayAndClose(Vec<u8>),
    /// The connection is reset, without a word.
    Reset,
    /// These bytes, and the connection is reset.
    SayAndReset(Vec<u8>),
    /// These bytes, and then silence for ever.
    SayAndHang(Vec<u8>),
    /// A head at once, then this byte again and again.
    Drip { head: Vec<u8>, byte: u8, every: Duration },
    /// This errcode, and in its text everything that was sent.
    Echo { errcode: i64 },
    /// A head, then this piece again and again, so many times or until nobody takes it any more.
    Pour { head: Vec<u8>, piece: Vec<u8>, times: usize },
}

/// One call as it was read, whole.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Which connection it came on, by number.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) target: String,
    pub(super) body: String,
}

#[derive(Clone)]
pub(super) struct RawWechat {
    pub(super) url: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    sends: Mutex<VecDeque<Act>>,
    tokens: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    poured: AtomicU64,
    pouring: AtomicUsize,
    hang_up: Notify,
    open: AtomicUsize,
    given: AtomicU64,
}

impl Act {
    /// HTTP 200 with this body.
    pub(super) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::Say(with_length("200 OK", "", body))
    }
}

/// An answer of this status with a right `content-length`; each header with its `\r\n`.
pub(super) fn with_length(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A port that is taken and where nobody listens yet.
pub(super) struct Line {
    socket: Option<TcpSocket>,
    url: String,
}

impl Line {
    pub(super) fn closed() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        Self { socket: Some(socket), url }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) fn open(&mut self) -> RawWechat {
        RawWechat::behind(self.listen())
    }

    pub(super) fn listen(&mut self) -> TcpListener {
        self.socket.take().expect("it is opened once").listen(1024).unwrap()
    }
}

impl RawWechat {
    pub(super) async fn start() -> Self {
        Self::behind(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn behind(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { url, inner: Arc::default() };
        let inner = this.inner.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = inner.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(inner.clone(), stream, number));
            }
        });
        this
    }

    /// A gateway whose WeChat this is. `head`: more settings, such as `wechat.timeout = "300ms"`.
    pub(super) async fn gateway(&self, head: &str) -> TestApp {
        let account = format!("base_url = \"{}\"", self.url);
        TestApp::start_with(Setup { account, head: format!("{head}\n"), ..Setup::default() }).await
    }

    /// The next send that has no act yet gets this one. Without an act it is accepted.
    pub(super) fn next_send(&self, act: Act) {
        self.inner.sends.lock().unwrap().push_back(act);
    }

    /// The same for token calls; without an act the token is given.
    pub(super) fn next_token(&self, act: Act) {
        self.inner.tokens.lock().unwrap().push_back(act);
    }

    pub(super) fn sends(&self) -> Vec<Seen> {
        self.seen("/cgi-bin/message/template/send")
    }

    pub(super) fn token_calls(&self) -> Vec<Seen> {
        self.seen("/cgi-bin/stable_token")
    }

    /// How many connections were opened to it.
    pub(super) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of `Act::Pour` were taken from it.
    pub(super) fn poured(&self) -> u64 {
        self.inner.poured.load(Ordering::SeqCst)
    }

    /// Ends every connection that rests, and returns when they are ended.
    pub(super) async fn hang_up(&self) {
        while self.inner.open.load(Ordering::SeqCst) > 0 {
            self.inner.hang_up.notify_waiters();
            tokio::task::yield_now().await;
        }
    }

    /// What the next calls were told to get.
    pub(super) fn forget_acts(&self) {
        self.inner.sends.lock().unwrap().clear();
    }

    /// How many of them are not over.
    pub(super) fn pouring(&self) -> usize {
        self.inner.pouring.load(Ordering::SeqCst)
    }

    /// The heads of all calls.
    pub(super) fn heads(&self) -> Vec<String> {
        self.inner.seen.lock().unwrap().iter().map(|seen| seen.head.clone()).collect()
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.inner.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.target.split('?').next() == Some(path)).cloned().collect()
    }
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn client_msg_id(&self) -> String {
        self.json()["client_msg_id"].as_str().unwrap().to_owned()
    }
}

async fn serve(inner: Arc<Inner>, stream: TcpStream, connection: usize) {
    inner.open.fetch_add(1, Ordering::SeqCst);
    converse(&inner, stream, connection).await;
    inner.open.fetch_sub(1, Ordering::SeqCst);
}

async fn converse(inner: &Inner, mut stream: TcpStream, connection: usize) {
    let mut read = Vec::new();
    loop {
        let request = tokio::select! {
            request = read_request(&mut stream, &mut read) => request,
            () = inner.hang_up.notified() => None,
        };
        let Some((head, body)) = request else { return };
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let is_token = target.starts_with("/cgi-bin/stable_token") || target.starts_with("/cgi-bin/token");
        let seen = Seen { connection, head, target, body };
        inner.seen.lock().unwrap().push(seen.clone());
        if seen.target.starts_with("/cgi-bin/openapi/quota/get") {
            let plenty = r#"{"errcode":0,"errmsg":"ok","quota":{"daily_limit":100000,"used":1,"remain":99999}}"#;
            if !perform(inner, &mut stream, Act::ok(plenty)).await {
                return;
            }
            continue;
        }
        let act = if is_token { &inner.tokens } else { &inner.sends }.lock().unwrap().pop_front();
        let act = match act {
            Some(Act::Echo { errcode }) => echo(errcode, &seen),
            Some(act) => act,
            None => proper(inner, is_token),
        };
        if !perform(inner, &mut stream, act).await {
            return;
        }
    }
}

fn proper(inner: &Inner, is_token: bool) -> Act {
    let number = inner.given.fetch_add(1, Ordering::SeqCst);
    if is_token {
        return Act::ok(format!(r#"{{"access_token":"{TOKEN}{number}","expires_in":7200}}"#));
    }
    let msgid = 9_007_199_254_740_993 + number;
    Act::ok(format!(r#"{{"errcode":0,"errmsg":"ok","msgid":{msgid}}}"#))
}

fn echo(errcode: i64, seen: &Seen) -> Act {
    let query = seen.target.split_once('?').map_or("", |(_, query)| query);
    let decoded: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let errmsg = format!("bad {query} as in {decoded:?} with {} rid: 1-2-3", seen.body);
    Act::ok(serde_json::json!({"errcode": errcode, "errmsg": errmsg}).to_string())
}

/// → whether the connection goes on.
async fn perform(inner: &Inner, stream: &mut TcpStream, act: Act) -> bool {
    match act {
        Act::Say(bytes) => stream.write_all(&bytes).await.is_ok(),
        Act::SayAndClose(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            // Read on, or closing could turn into a reset.
            while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
            false
        }
        Act::SayAndReset(bytes) => {
            let _ = stream.write_all(&bytes).await;
            stream.set_zero_linger().unwrap();
            false
        }
        Act::Echo { .. } => unreachable!("it has become what it says"),
        Act::Reset => {
            stream.set_zero_linger().unwrap();
            false
        }
        Act::SayAndHang(bytes) => {
            let _ = stream.write_all(&bytes).await;
            while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
            false
        }
        Act::Drip { head, byte, every } => {
            let _ = stream.write_all(&head).await;
            while stream.write_all(&[byte]).await.is_ok() {
                tokio::time::sleep(every).await; // the drip itself is under test
            }
            false
        }
        Act::Pour { head, piece, times } => {
            inner.pouring.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(&head).await;
            for _ in 0..times {
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
                inner.poured.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
            inner.pouring.fetch_sub(1, Ordering::SeqCst);
            false
        }
    }
}

/// The next whole request: head and body. `None`: the connection ended.
async fn read_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if read.len() >= whole {
                let body = String::from_utf8(read[end + 4..whole].to_vec()).unwrap();
                read.drain(..whole);
                return Some((head, body));
            }
        }
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk).await {
            Ok(count @ 1..) => read.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
}

/// Neither the token nor the secret stands in this text.
#[track_caller]
pub(super) fn tells_no_secret(text: &str) {
    let found = [TOKEN, TOKEN_IN_QUERY, SECRET].into_iter().find(|secret| text.contains(secret));
    assert_eq!(found, None, "{text}");
}

/// Nor on the disk.
pub(super) fn keeps_no_secret(app: &TestApp) {
    for end in ["db", "db-wal"] {
        let bytes = std::fs::read(app.database().with_extension(end)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let found = [TOKEN, TOKEN_IN_QUERY, SECRET].into_iter().find(|secret| text.contains(secret));
        assert_eq!(found, None, "in the {end} file");
    }
}
