//! What is reached and what is not, against real sockets; names mean what the test says.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::dns::{Addrs, Name, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::domain::webhook::address::parse_network;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Gives the same addresses to every name, the next of the list at each question.
struct Told(Mutex<Vec<Vec<&'static str>>>);

impl Told {
    fn names(answers: &[&[&'static str]]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.iter().rev().map(|answer| answer.to_vec()).collect())))
    }
}

impl Resolve for Told {
    fn resolve(&self, _name: Name) -> Resolving {
        let answer = self.0.lock().unwrap().pop();
        Box::pin(async move {
            let answer = answer.ok_or("no such name")?;
            let addresses: Vec<_> = answer.into_iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A subscriber of raw bytes on loopback.
struct Subscriber {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Subscriber {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
        let (connections, requests, answer) = (this.connections.clone(), this.requests.clone(), answer.into());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, answer) = (requests.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                            break;
                        }
                    }
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        this
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/hook?key=NO-LOG-MAY-SHOW", self.address.port())
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn post(client: &OutsideClient, url: &str, allow_private: bool, timeout: Duration) -> Result<u16, OutsideFault> {
    let (url, body) = (WebhookUrl::parse(url).unwrap(), Bytes::from_static(b"{}"));
    let call = OutsideCall { url, allow_private, headers: HeaderMap::new(), body, timeout };
    let answer = client.post(call).await.map(|answer| answer.status);
    if let Err(fault) = &answer {
        assert!(!format!("{fault} {fault:?}").contains("NO-LOG-MAY-SHOW"), "{fault:?}");
    }
    answer
}

fn kind(answer: Result<u16, OutsideFault>) -> FaultKind {
    answer.unwrap_err().kind
}

fn loopback() -> Reach {
    Reach::new(vec![parse_network("127.0.0.0/8").unwrap()])
}

#[tokio::test]
async fn inside_addresses_are_not_connected_to() {
    let subscriber = Subscriber::start(OK).await;
    let client = OutsideClient::new(Reach::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"] {
        let fault = post(&client, &subscriber.url(host), false, LONG).await.unwrap_err();
        assert_eq!((fault.kind, fault.is_unsent()), (FaultKind::Blocked, true), "{host}");
        assert!(fault.detail.contains("not a public address"), "{fault}");
    }
    assert_eq!(subscriber.connections(), 0);
    for host in ["127.0.0.1", "localhost", "0x7f.1"] {
        assert_eq!(post(&client, &subscriber.url(host), true, LONG).await, Ok(200), "{host}");
    }
    let allowed = OutsideClient::new(loopback()).unwrap();
    assert_eq!(post(&allowed, &subscriber.url("localhost"), false, LONG).await, Ok(200));
    assert_eq!(post(&allowed, &subscriber.url("[::ffff:127.0.0.1]"), false, LONG).await, Ok(200));
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_means_when_it_is_connected_to() {
    let subscriber = Subscriber::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let reach = Reach::new(vec![parse_network("127.0.0.1").unwrap()]);
    // Allowed the first time; then it moves inside; then all but one of its addresses are inside; then nobody knows it.
    let names = Told::names(&[&["127.0.0.1"], &["127.0.0.2", "10.0.0.1", "::1"], &["10.0.0.1", "127.0.0.1"]]);
    let client = OutsideClient::with_names(reach, names).unwrap();
    let url = subscriber.url("rebind.example.com");
    assert_eq!(post(&client, &url, false, LONG).await, Ok(200));
    let blocked = post(&client, &url, false, LONG).await.unwrap_err();
    assert_eq!(blocked.kind, FaultKind::Blocked);
    assert!(blocked.detail.starts_with("127.0.0.2, 10.0.0.1, ::1 is not a public address"), "{blocked}");
    assert_eq!(post(&client, &url, false, LONG).await, Ok(200));
    assert_eq!(kind(post(&client, &url, false, LONG).await), FaultKind::Dns);
    assert_eq!(subscriber.connections(), 2);
}

#[tokio::test]
async fn a_connection_of_the_open_line_is_not_lent_to_the_guarded() {
    let subscriber = Subscriber::start(OK).await;
    let client = OutsideClient::new(Reach::default()).unwrap();
    let url = subscriber.url("localhost");
    assert_eq!(post(&client, &url, true, LONG).await, Ok(200));
    assert_eq!(kind(post(&client, &url, false, LONG).await), FaultKind::Blocked);
    assert_eq!(post(&client, &url, true, LONG).await, Ok(200));
    assert_eq!((subscriber.connections(), subscriber.requests.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let inside = Subscriber::start(OK).await;
    let answer = format!("HTTP/1.1 307 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", inside.url("127.0.0.1"));
    let outside = Subscriber::start(answer).await;
    let client = OutsideClient::new(loopback()).unwrap();
    assert_eq!(post(&client, &outside.url("127.0.0.1"), false, LONG).await, Ok(307));
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_huge_answer_is_dropped_and_its_status_counts() {
    let huge = format!("HTTP/1.1 202 Accepted\r\ncontent-length: 50000000\r\n\r\n{}", "x".repeat(200_000));
    let subscriber = Subscriber::start(huge).await;
    let client = OutsideClient::new(loopback()).unwrap();
    assert_eq!(post(&client, &subscriber.url("127.0.0.1"), false, LONG).await, Ok(202));
    assert_eq!(post(&client, &subscriber.url("127.0.0.1"), false, LONG).await, Ok(202));
    assert_eq!(subscriber.connections(), 2);
}

#[tokio::test]
async fn an_answer_whose_body_never_ends_is_an_answer() {
    let subscriber = Subscriber::start("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
    let client = OutsideClient::new(loopback()).unwrap();
    assert_eq!(post(&client, &subscriber.url("127.0.0.1"), false, SHORT).await, Ok(200));
}

#[tokio::test]
async fn faults_say_how_far_a_call_came() {
    let client = OutsideClient::new(loopback()).unwrap();
    let silent = Subscriber::start("").await;
    assert_eq!(kind(post(&client, &silent.url("127.0.0.1"), false, SHORT).await), FaultKind::Timeout);
    let garbage = Subscriber::start("\u{1}\u{2}\u{3}\r\n\r\n").await;
    assert_eq!(kind(post(&client, &garbage.url("127.0.0.1"), false, LONG).await), FaultKind::Broken);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = post(&client, &format!("http://{free}/"), false, LONG).await.unwrap_err();
    assert_eq!((refused.kind, refused.is_unsent()), (FaultKind::Connect, true));
    let unknown = post(&client, "http://nobody.invalid/", false, LONG).await.unwrap_err();
    assert_eq!(unknown.kind, FaultKind::Dns, "{unknown}");
    let plain = Subscriber::start(OK).await;
    let no_tls = plain.url("127.0.0.1").replace("http:", "https:");
    assert_eq!(kind(post(&client, &no_tls, false, LONG).await), FaultKind::Tls);
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = Timestamp::parse("2026-01-31T08:00:00Z").unwrap();
    let read = |text: &str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        RetryAfter::read(&headers).map(|wanted| wanted.wait(now))
    };
    assert_eq!(read("120"), Some(Duration::from_secs(120)));
    assert_eq!(read("Sat, 31 Jan 2026 08:01:30 GMT"), Some(Duration::from_secs(90)));
    assert_eq!(read("Sat, 31 Jan 2026 07:00:00 GMT"), Some(Duration::ZERO));
    for nonsense in ["", "-1", "soon", "1.5"] {
        assert_eq!(read(nonsense), None, "{nonsense}");
    }
}
