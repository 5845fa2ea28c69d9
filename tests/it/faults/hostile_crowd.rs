//! A crowd that says little: thousands of connections that rest or have begun a head. They cost little, they are left in
//! time, and whoever means business is served meanwhile.

use std::io::Write;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::binary::process::{Place, Program, resident_kib, until};
use crate::harness::order_notice;

const CROWD: usize = 10_000;
/// A generous bound for a debug build: hyper's first buffer alone is 8 KiB.
const MOST_PER_CONNECTION_KIB: u64 = 40;

/// Raises the soft limit of open files, which the program inherits.
fn allow_files(count: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= count, "the crowd needs {count} open files, and the hard limit is {hard}: raise it (ulimit -Hn)");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

async fn connect(program: &Program, says: &str) -> TcpStream {
    let mut stream = TcpStream::connect(program.url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(says.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_rest_cost_little_and_do_not_keep_others_from_sending() {
    allow_files(CROWD as u64 + 1_000);
    let place = Place::prepare("").await;
    let program = place
        .start_with(&[("WXGATE__SERVER__MAX_CONNECTIONS", "10500"), ("WXGATE__SERVER__HEADER_TIMEOUT", "12s")])
        .await;
    let send = || {
        let request = program.request(reqwest::Method::POST, "/send-template").timeout(Duration::from_secs(20));
        request.json(&order_notice("oBUSINESS")).send()
    };
    assert_eq!(send().await.unwrap().status(), 200);
    let before = resident_kib(program.id());

    let mut idle = Vec::new();
    for _ in 0..CROWD / 2 {
        idle.push(connect(&program, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await);
    }
    for stream in &mut idle {
        let mut answer = [0; 15];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
    let mut begun = Vec::new();
    for number in 0..CROWD / 2 {
        begun.push(
            connect(&program, if number % 2 == 0 { "" } else { "POST /send-template HTTP/1.1\r\nhost: x\r\nauth" })
                .await,
        );
    }
    until("all are in", async || program.metric("wxgate_http_connections_open").await >= CROWD as f64).await;
    let after = resident_kib(program.id());
    let each = (after - before) / CROWD as u64;
    let _ = writeln!(std::io::stderr(), "{CROWD} connections: {before} KiB before, {after} KiB after, {each} KiB each");
    assert!(each <= MOST_PER_CONNECTION_KIB, "{each} KiB each");
    for _ in 0..20 {
        assert_eq!(send().await.unwrap().status(), 200);
    }
    // Half a head is not waited for longer than a head may take; a rest may be longer.
    until("the half heads are cut", async || {
        program.metric("wxgate_http_connections_open").await < (CROWD / 2 + 100) as f64
    })
    .await;
    assert!(
        program.metric("wxgate_http_connections_open").await >= (CROWD / 2) as f64,
        "those who rest are still there"
    );
    drop(idle);
    until("those who left are forgotten", async || program.metric("wxgate_http_connections_open").await < 100.0).await;
    assert_eq!(send().await.unwrap().status(), 200);
    assert_eq!(place.sandbox.deliveries_to("oBUSINESS"), 22);
}

/// Heads and bodies that drip, a thousand at once, each a byte at a time: none is served, all are left, and a send goes through
/// between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_drips_do_not_hold_up_a_send() {
    allow_files(3_000);
    let place = Place::prepare("").await;
    let limits = [("WXGATE__SERVER__HEADER_TIMEOUT", "3s"), ("WXGATE__SERVER__BODY_TIMEOUT", "3s")];
    let program = place.start_with(&limits).await;
    let head = format!(
        "POST /send-template HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n",
        program.key
    );
    let mut drips = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let mut stream =
            connect(&program, if number % 2 == 0 { "POST /send-template HTTP/1.1\r\nx: " } else { &head }).await;
        drips.spawn(async move {
            // The drip itself is under test.
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    for _ in 0..20 {
        let request = program.request(reqwest::Method::POST, "/send-template").timeout(Duration::from_secs(20));
        assert_eq!(request.json(&order_notice("oBETWEEN")).send().await.unwrap().status(), 200);
    }
    until("they are all left", async || {
        while drips.try_join_next().is_some() {}
        drips.is_empty()
    })
    .await;
    assert_eq!(place.sandbox.message_count(), 20);
}
