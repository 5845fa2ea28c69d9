//! A WeChat that only counts: who called how often, and how many at once. Light enough for hundreds of thousands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The errcode of a send, by the number of sends before it.
pub(super) type Mood = Arc<dyn Fn(u64) -> i64 + Send + Sync>;

#[derive(Clone)]
pub(super) struct Tally(Arc<Inner>);

struct Inner {
    mood: Mood,
    /// How long a call takes: what is under way together is seen together.
    latency: Duration,
    calls: AtomicU64,
    answered: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    under_way: u64,
    /// The most that was under way beyond what had been answered before.
    ahead: u64,
    /// By `client_msg_id`.
    seen: HashMap<String, u32>,
    taken: HashMap<String, u32>,
    /// Sends in each second since the first.
    by_second: Vec<u64>,
    first: Option<Instant>,
}

impl Tally {
    pub(super) fn serve(listener: TcpListener, latency: Duration, mood: Mood) -> Self {
        let counts = Mutex::default();
        let inner = Inner { mood, latency, calls: AtomicU64::new(0), answered: AtomicU64::new(0), counts };
        let this = Self(Arc::new(inner));
        let inner = this.0.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(converse(inner.clone(), stream));
            }
        });
        this
    }

    /// How many sends came.
    pub(super) fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// How often this message was taken.
    pub(super) fn taken(&self, message_id: &str) -> u32 {
        let id = message_id.strip_prefix("msg_").unwrap();
        self.0.counts.lock().unwrap().taken.get(id).copied().unwrap_or(0)
    }

    /// The most often that any message was seen.
    pub(super) fn most(&self) -> u32 {
        self.0.counts.lock().unwrap().seen.values().copied().max().unwrap_or(0)
    }

    /// By how many the sends under way were ever ahead of the answers given: 1 when each waited for a good one.
    pub(super) fn ahead(&self) -> u64 {
        self.0.counts.lock().unwrap().ahead
    }

    /// Sends in each second of real time since the first.
    pub(super) fn by_second(&self) -> Vec<u64> {
        self.0.counts.lock().unwrap().by_second.clone()
    }
}

async fn converse(inner: Arc<Inner>, mut stream: TcpStream) {
    let mut read = Vec::new();
    while let Some((is_send, client_msg_id)) = next_call(&mut stream, &mut read).await {
        let body = if is_send {
            let errcode = inner.send_begins(&client_msg_id);
            tokio::time::sleep(inner.latency).await; // what a call takes, not a wait for something
            inner.send_ends(&client_msg_id, errcode);
            format!(r#"{{"errcode":{errcode},"errmsg":"x","msgid":{}}}"#, inner.calls.load(Ordering::SeqCst))
        } else {
            r#"{"access_token":"TALLY","expires_in":7200}"#.to_owned()
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Inner {
    fn send_begins(&self, id: &str) -> i64 {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let mut counts = self.counts.lock().unwrap();
        counts.under_way += 1;
        let ahead = counts.under_way.saturating_sub(self.answered.load(Ordering::SeqCst));
        counts.ahead = counts.ahead.max(ahead);
        *counts.seen.entry(id.to_owned()).or_default() += 1;
        let second = counts.first.get_or_insert_with(Instant::now).elapsed().as_secs();
        let second = usize::try_from(second).unwrap();
        if counts.by_second.len() <= second {
            counts.by_second.resize(second + 1, 0);
        }
        counts.by_second[second] += 1;
        (self.mood)(number)
    }

    fn send_ends(&self, id: &str, errcode: i64) {
        let mut counts = self.counts.lock().unwrap();
        counts.under_way -= 1;
        if errcode == 0 {
            self.answered.fetch_add(1, Ordering::SeqCst);
            *counts.taken.entry(id.to_owned()).or_default() += 1;
        }
    }
}

/// → whether it is a send, and its `client_msg_id`. `None`: the connection ended.
async fn next_call(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(bool, String)> {
    loop {
        let text = String::from_utf8_lossy(read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
            let length: usize = length.parse().unwrap();
            if body.len() >= length {
                let id =
                    body.split_once("\"client_msg_id\":\"").map_or("", |(_, rest)| rest.split('"').next().unwrap());
                let call = (head.contains("/message/template/send"), id.to_owned());
                let whole = head.len() + 4 + length;
                read.drain(..whole);
                return Some(call);
            }
        }
        let mut chunk = [0; 8 * 1024];
        match stream.read(&mut chunk).await {
            Ok(count @ 1..) => read.extend_from_slice(&chunk[..count]),
            _ => return None,
        }
    }
}
