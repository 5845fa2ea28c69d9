//! Requests that a proxy in front and the gateway could read in two ways, heads without measure, and clients that talk and do
//! not listen. (What no HTTP client would send at all: `api/raw.rs`, `api/headers.rs`, `api/malformed.rs`.)

use std::fmt::Write;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::api::wire::{GOOD, JSON, Wire, head_of, no_fault_inside, nothing_happened, post_raw, rows};
use crate::harness::{Setup, TestApp};

/// A whole second request, to be hidden in the body of a first.
fn hidden(app: &TestApp) -> String {
    format!("{}{GOOD}", head_of(app, &format!("{JSON}content-length: {}\r\n", GOOD.len())))
}

/// Everything that comes back until the connection ends or rests.
async fn answers(wire: &mut Wire) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(answer) = wire.answer().await {
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test]
async fn a_length_and_chunks_together_end_the_connection_so_that_nothing_can_hide_behind() {
    let app = TestApp::start().await;
    let hidden = hidden(&app);
    let body = format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len());
    for (number, lengths) in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", body.len() + hidden.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", body.len() + hidden.len()),
        "content-length: 0\r\ntransfer-encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: CHUNKED\r\ncontent-length: 5\r\n".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("{}{body}{hidden}", head_of(&app, &format!("{JSON}{lengths}")))).await;
        wire.end().await;
        assert_eq!(answers(&mut wire).await, [200], "{lengths}: the chunks count, and it is the last request");
        assert_eq!(rows(&app, "messages"), i64::try_from(number).unwrap() + 1, "{lengths}");
    }
}

#[tokio::test]
async fn lengths_and_codings_in_disguise_are_refused_and_nothing_behind_them_is_read() {
    let app = TestApp::start().await;
    let hidden = hidden(&app);
    for disguise in [
        "content-length: +5\r\n",
        "content-length: 5, 6\r\n",
        "content-length: 5 6\r\n",
        "content-length: 0x5\r\n",
        "content-length:\r\n",
        "content-length : 5\r\n",
        "content-length\t: 5\r\n",
        " content-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 0\r\n",
        "content-length: \u{665}\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding\t: chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "transfer-encoding: \u{b}chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "transfer-encoding: \"chunked\"\r\n",
        "transfer-encoding: gzip\r\n",
        "x: y\rtransfer-encoding: chunked\r\n",
        "x: y\0\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("{}0\r\n\r\n{hidden}", head_of(&app, &format!("{JSON}{disguise}")))).await;
        wire.end().await;
        let statuses = answers(&mut wire).await;
        assert!(statuses == [400] || statuses.is_empty(), "{disguise:?}: {statuses:?}");
    }
    // An old HTTP knows no chunks.
    let mut wire = Wire::connect(&app).await;
    let head = head_of(&app, &format!("{JSON}transfer-encoding: chunked\r\n")).replace("HTTP/1.1", "HTTP/1.0");
    wire.write(format!("{head}0\r\n\r\n{hidden}")).await;
    wire.end().await;
    assert_eq!(answers(&mut wire).await, [400]);
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_body_where_none_is_wanted_is_no_second_request() {
    let app = TestApp::start().await;
    let hidden = hidden(&app);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let mut wire = Wire::connect(&app).await;
        let length = hidden.len();
        wire.write(format!("{method} /health HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{hidden}")).await;
        wire.end().await;
        let answer = wire.read_to_end().await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{method}: {answer}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn bad_chunks_are_the_end_of_the_connection() {
    let app = TestApp::start().await;
    let hidden = hidden(&app);
    let head = head_of(&app, &format!("{JSON}transfer-encoding: chunked\r\n"));
    let extension = "x".repeat(100_000);
    let trailers = "x-trailer: y\r\n".repeat(20_000);
    for chunks in [
        "5\n{\"a\":\r\n0\r\n\r\n".to_owned(),
        " 2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "2 2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "0x2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "+2\r\n{}\r\n0\r\n\r\n".to_owned(),
        "2\r\n{}0\r\n\r\n".to_owned(),
        "10000000000000002\r\n{}\r\n0\r\n\r\n".to_owned(),
        format!("2;{extension}\r\n{{}}\r\n0\r\n\r\n"),
        format!("2\r\n{{}}\r\n0\r\n{trailers}\r\n"),
        "2\r\n{}\r\n0\r\nx y: z\r\n\r\n".to_owned(),
    ] {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("{head}{chunks}{hidden}")).await;
        wire.end().await;
        let answer = wire.read_to_end().await;
        let shown = &chunks[..chunks.len().min(60)];
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{shown:?}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_head_without_measure_is_cut_off_long_before_its_end() {
    let app = TestApp::start().await;
    let fields: String = (0..100_000).fold(String::new(), |mut all, n| {
        let _ = write!(all, "x-{n}: y\r\n");
        all
    });
    for (name, head) in [
        ("100,000 fields", format!("GET /health HTTP/1.1\r\nhost: x\r\n{fields}\r\n")),
        ("a field of a megabyte", format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))),
        ("a name of a megabyte", format!("GET /health HTTP/1.1\r\nhost: x\r\n{}: y\r\n\r\n", "x".repeat(1 << 20))),
        ("a method of a megabyte", format!("{} /health HTTP/1.1\r\nhost: x\r\n\r\n", "G".repeat(1 << 20))),
        ("a path of a megabyte", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20))),
        ("a version of a megabyte", format!("GET /health HTTP/{}\r\nhost: x\r\n\r\n", "1".repeat(1 << 20))),
        ("a megabyte of line ends", format!("{}GET /health HTTP/1.1\r\nhost: x\r\n", "\r\n".repeat(1 << 19))),
        ("a megabyte without a line end", "x".repeat(1 << 20)),
    ] {
        let mut wire = Wire::connect(&app).await;
        let started = Instant::now();
        wire.write(head).await;
        wire.end().await;
        let answer = wire.read_to_end().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name}: {:?}", started.elapsed());
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn an_upgrade_is_not_taken_up() {
    let app = TestApp::start().await;
    let websocket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    for upgrade in [websocket, h2c, "connection: upgrade\r\nupgrade: TLS/1.0\r\n"] {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("GET /health HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n")).await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "{upgrade}");
        wire.write("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.answer().await.unwrap().status, 200, "{upgrade}: it goes on as HTTP");
        assert_eq!(post_raw(&app, &format!("{JSON}{upgrade}"), "{").await.status, 400, "{upgrade}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn other_expectations_are_not_waited_for() {
    let app = TestApp::start().await;
    for expect in ["100-Continue", "200-ok", "100-continue, 100-continue", "", "100-continue\r\nexpect: 100-continue"] {
        let mut wire = Wire::connect(&app).await;
        let head = head_of(&app, &format!("{JSON}expect: {expect}\r\ncontent-length: {}\r\n", GOOD.len()));
        wire.write(format!("{head}{GOOD}")).await;
        let mut answer = wire.answer().await.unwrap();
        if answer.status == 100 {
            answer = wire.answer().await.unwrap();
        }
        assert_eq!(answer.status, 200, "{expect}");
    }
    no_fault_inside(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_levels_of_json_are_too_many_and_soon_found_so() {
    let config = "\n[server]\nbody_limit = \"8MiB\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let million = 1_000_000;
    for (name, body) in [
        ("arrays", format!("{}{}", "[".repeat(million), "]".repeat(million))),
        ("arrays that do not end", "[".repeat(million)),
        ("objects", format!("{}1{}", "{\"a\":".repeat(million), "}".repeat(million))),
        ("arrays in a value", GOOD.replace("\"tea\"", &format!("{}{}", "[".repeat(million), "]".repeat(million)))),
    ] {
        let started = Instant::now();
        post_raw(&app, JSON, body).await.is_problem(400, "malformed_request");
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: {:?}", started.elapsed());
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn numbers_beyond_all_measure_are_texts_or_faults_and_never_other_numbers() {
    let app = TestApp::start().await;
    for (value, status) in [
        ("1e999999999", 200),
        ("-0.0000000000000000000000000000000000000001", 200),
        ("123456789012345678901234567890.123456789", 200),
    ] {
        let answer = post_raw(&app, JSON, GOOD.replace("\"tea\"", value)).await;
        assert_eq!(answer.status, status, "{value}: {}", answer.body);
        let taken = app.sandbox.messages();
        assert!(taken.last().unwrap().raw_body.contains(&format!("\"{value}\"")), "{value} is sent as it was written");
    }
    let before = rows(&app, "messages");
    for member in
        ["\"ttl_s\":1e400", "\"ttl_s\":18446744073709551616", "\"ttl_s\":-9223372036854775809", "\"ttl_s\":9e99"]
    {
        let body = format!("{},{member}}}", &GOOD[..GOOD.len() - 1]);
        let answer = post_raw(&app, JSON, body).await;
        assert!([400, 422].contains(&answer.status), "{member}: {}", answer.body);
    }
    assert_eq!(rows(&app, "messages"), before);
}

/// Requests in a row, and not one answer read: the gateway stops reading, keeps no more than its buffers hold, and hangs up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_listen_is_not_listened_to_and_is_left() {
    let config = "\n[server]\nidle_timeout = \"1s\"\nheader_timeout = \"1s\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    for batch in [1, 1_000] {
        let mut stream = tokio::net::TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
        // Large answers to small questions.
        let questions = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(batch);
        let mut written = 0;
        let talk = async {
            while stream.write_all(questions.as_bytes()).await.is_ok() {
                written += questions.len();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), talk).await.expect("it hangs up");
        assert!(written < 64 << 20, "{written} bytes were taken without an answer being read");
    }
    assert_eq!(app.anonymous(reqwest::Method::GET, "/health").send().await.status, 200);
}
