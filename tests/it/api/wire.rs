//! Raw TCP for what a polite client would never send, and looks behind the answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::TestApp;

/// Longer than anything here takes; reached only by a fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, byte by byte.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer as it stood on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) async fn connect(app: &TestApp) -> Self {
        let address = app.url.strip_prefix("http://").unwrap();
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// The server may hang up in the middle of what it does not want.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Nothing more will be written.
    pub(crate) async fn end(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer. `None`: the connection ended without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8(self.read[..head_end].to_vec()).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length: usize = header(&head, "content-length").map_or(0, |text| text.parse().unwrap());
        while self.read.len() < head_end + length {
            assert!(self.more().await, "half a body behind {head}");
        }
        let body = String::from_utf8(self.read[head_end..head_end + length].to_vec()).unwrap();
        self.read.drain(..head_end + length);
        Some(Answer { status, head, body })
    }

    /// Everything up to and with this text.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        while find(&self.read, text.as_bytes()).is_none() {
            assert!(self.more().await, "ended before {text}");
        }
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Everything until the end of the connection.
    pub(crate) async fn read_to_end(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Whether the other side has hung up, with nothing more to say.
    pub(crate) async fn is_over(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("an answer in time") {
            Ok(read @ 1..) => {
                self.read.extend_from_slice(&chunk[..read]);
                true
            }
            // A reset is an end as well.
            _ => false,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Asserts an RFC 9457 problem of this status and code.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> &Self {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        self
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value)
    });
    line.map(str::trim)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// `POST /send-template` with these header lines (each with its `\r\n`) and this body, on a connection of its own.
pub(crate) async fn post_raw(app: &TestApp, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let head = format!("{headers}content-length: {}\r\n", body.len());
    let mut wire = Wire::connect(app).await;
    wire.write(head_of(app, &head)).await;
    wire.write(body).await;
    wire.answer().await.expect("an answer")
}

/// The head of a send with a good key.
pub(crate) fn head_of(app: &TestApp, headers: &str) -> String {
    format!("POST /send-template HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {}\r\n{headers}\r\n", app.key)
}

pub(crate) const JSON: &str = "content-type: application/json\r\n";

/// A send that is good as it is.
pub(crate) const GOOD: &str = r#"{"touser":"oGOOD","template_id":"TPL-ORDER","data":{"thing1":"tea"}}"#;

/// How many rows a table has.
pub(crate) fn rows(app: &TestApp, table: &str) -> i64 {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Nothing was kept, nothing was pushed, nothing went wrong inside.
pub(crate) async fn nothing_happened(app: &TestApp) {
    for table in ["messages", "idempotency"] {
        assert_eq!(rows(app, table), 0, "{table}");
    }
    assert_eq!(app.sandbox.message_count(), 0);
    no_fault_inside(app).await;
}

/// No request ended in a 500 (as panics do), and every message is accounted for.
pub(crate) async fn no_fault_inside(app: &TestApp) {
    let text = app.anonymous(reqwest::Method::GET, "/metrics").send().await.text;
    assert!(!text.contains("status=\"500\""), "{text}");
    assert!(text.contains("\nwxgate_messages_unaccounted 0\n"), "{text}");
}
