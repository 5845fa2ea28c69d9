//! The heads of requests: content type and length, keys, preferences, ids and traces.

use std::time::{Duration, Instant};

use serde_json::json;
use wxgate::sandbox::{Fault, FaultKind};

use super::wire::{GOOD, JSON, Wire, head_of, no_fault_inside, nothing_happened, post_raw, rows};
use crate::harness::{Setup, TestApp, order_notice};

fn server(settings: &str) -> Setup {
    Setup { config: format!("\n[server]\n{settings}\n"), ..Setup::default() }
}

#[tokio::test]
async fn only_a_body_that_says_it_is_json_in_utf8_is_read() {
    let app = TestApp::start().await;
    for headers in [
        "",
        "content-type:\r\n",
        "content-type: text/plain\r\n",
        "content-type: text/json\r\n",
        "content-type: application/jsonp\r\n",
        "content-type: application/problem+json\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: multipart/form-data; boundary=x\r\n",
        "content-type: application/xml\r\n",
        "content-type: application\r\n",
        "content-type: \u{e9}\r\n",
        "content-type: application/json; charset=gbk\r\n",
        "content-type: application/json; charset=utf-16\r\n",
        "content-type: application/json;charset=\r\n",
        "content-type: application/json, text/plain\r\n",
        "content-type: application/json\r\ncontent-type: text/plain\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: application/json\r\ncontent-encoding: br\r\n",
        "content-type: application/json\r\ncontent-encoding: identity, gzip\r\n",
    ] {
        let answer = post_raw(&app, headers, GOOD).await;
        answer.is_problem(415, "unsupported_media_type");
    }
    nothing_happened(&app).await;
    for headers in [
        JSON,
        "Content-Type: APPLICATION/JSON\r\n",
        "content-type: application/json; charset=utf-8\r\n",
        "content-type: application/json;charset=\"UTF-8\"\r\n",
        "content-type: application/json ; charset=utf8 ; foo=bar\r\n",
        "content-type: application/json\r\ncontent-encoding: identity\r\n",
    ] {
        assert_eq!(post_raw(&app, headers, GOOD).await.status, 200, "{headers}");
    }
}

#[tokio::test]
async fn the_length_of_a_body_is_what_it_says_or_the_request_is_none() {
    let app = TestApp::start_with(server("body_timeout = \"100ms\"")).await;
    // Shorter than announced, and then silence.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: 500\r\n"))).await;
    wire.write(GOOD).await;
    let answer = wire.answer().await.unwrap();
    answer.is_problem(408, "request_timeout");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(wire.is_over().await);
    // Shorter than announced, and then the end.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: 500\r\n"))).await;
    wire.write(GOOD).await;
    wire.end().await;
    if let Some(answer) = wire.answer().await {
        answer.is_problem(400, "malformed_request");
    }
    assert!(wire.is_over().await);
    // No length at all: an empty body.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, JSON)).await;
    wire.answer().await.unwrap().is_problem(400, "malformed_request");
    // Lengths that no server should believe.
    for lengths in [
        "content-length: -1\r\n",
        "content-length: 1e3\r\n",
        "content-length: abc\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
    ] {
        let mut wire = Wire::connect(&app).await;
        wire.write(head_of(&app, &format!("{JSON}{lengths}"))).await;
        wire.write(GOOD).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{lengths} {answer:?}");
        assert!(wire.is_over().await, "{lengths}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn what_is_longer_than_announced_is_no_second_request() {
    let app = TestApp::start().await;
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: {}\r\n", GOOD.len()))).await;
    wire.write(format!("{GOOD}garbage\r\n\r\n")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(wire.answer().await.unwrap().status, 400);
    assert!(wire.is_over().await);
    assert_eq!(rows(&app, "messages"), 1);
}

#[tokio::test]
async fn a_chunked_body_is_as_good_as_any_and_bad_chunks_are_refused() {
    let app = TestApp::start().await;
    let head = head_of(&app, &format!("{JSON}transfer-encoding: chunked\r\n"));
    let (first, second) = GOOD.split_at(20);
    let mut wire = Wire::connect(&app).await;
    wire.write(&head).await;
    wire.write(format!(
        "{:x}\r\n{first}\r\n{:X};ext=1\r\n{second}\r\n0\r\nx-trailer: t\r\n\r\n",
        first.len(),
        second.len()
    ))
    .await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    for chunks in ["zz\r\n{}\r\n0\r\n\r\n", "-5\r\n{}\r\n", "ffffffffffffffffff\r\n{}\r\n", "2\r\n{}x\r\n0\r\n\r\n"] {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("{head}{chunks}")).await;
        let answer = wire.answer().await.unwrap();
        assert_eq!(answer.status, 400, "{chunks:?} {answer:?}");
        assert!(wire.is_over().await, "{chunks:?}");
    }
    // Both: the chunks count (RFC 9112), and nothing is left over that could be another request.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: 4\r\ntransfer-encoding: chunked\r\n"))).await;
    wire.write(format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", GOOD.len())).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    wire.write("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let next = wire.answer().await;
    assert!(next.as_ref().is_none_or(|answer| answer.status == 200), "{next:?}");
    assert_eq!(rows(&app, "messages"), 2);
    no_fault_inside(&app).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_is_not_read_to_its_end() {
    let app = TestApp::start_with(server("body_limit = \"1KiB\"")).await;
    // Announced: refused before a byte of it was sent.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: 1025\r\n"))).await;
    let answer = wire.answer().await.unwrap();
    answer.is_problem(413, "payload_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(wire.is_over().await);
    // Announced beyond all measure.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: 18446744073709551615\r\n"))).await;
    let answer = wire.answer().await.unwrap();
    assert!([400, 413, 431].contains(&answer.status), "{answer:?}");
    // Not announced: refused when it is met.
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}transfer-encoding: chunked\r\n"))).await;
    for _ in 0..3 {
        wire.write(format!("200\r\n{}\r\n", " ".repeat(512))).await;
    }
    wire.answer().await.unwrap().is_problem(413, "payload_too_large");
    // Sent whole, by a client that looks at the answer only afterwards.
    let answer = post_raw(&app, JSON, format!("{GOOD}{}", " ".repeat(4 << 20))).await;
    answer.is_problem(413, "payload_too_large");
    nothing_happened(&app).await;
    let padded = format!("{GOOD}{}", " ".repeat(1024 - GOOD.len()));
    assert_eq!(post_raw(&app, JSON, padded).await.status, 200, "the last byte that fits");
}

#[tokio::test]
async fn a_body_that_drips_is_408() {
    let app = TestApp::start_with(server("body_timeout = \"150ms\"")).await;
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &format!("{JSON}content-length: {}\r\n", GOOD.len()))).await;
    let started = Instant::now();
    for byte in GOOD.as_bytes() {
        wire.write([*byte]).await;
        tokio::time::sleep(Duration::from_millis(10)).await; // the drip itself is under test
        if started.elapsed() > Duration::from_millis(400) {
            break;
        }
    }
    wire.answer().await.unwrap().is_problem(408, "request_timeout");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_body_is_asked_for_only_after_its_caller_is_known() {
    let app = TestApp::start().await;
    let expect = format!("{JSON}expect: 100-continue\r\ncontent-length: {}\r\n", GOOD.len());
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &expect).replace("Bearer wxg", "Bearer xxx")).await;
    wire.answer().await.unwrap().is_problem(401, "unauthenticated");
    let mut wire = Wire::connect(&app).await;
    wire.write(head_of(&app, &expect)).await;
    assert_eq!(wire.answer().await.unwrap().status, 100);
    wire.write(GOOD).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_idempotency_key_is_visible_ascii_and_comes_once() {
    let app = TestApp::start().await;
    let long = format!("idempotency-key: {}\r\n", "k".repeat(256));
    for headers in [
        "idempotency-key:\r\n",
        "idempotency-key:   \r\n",
        "idempotency-key: a b\r\n",
        "idempotency-key: a\tb\r\n",
        "idempotency-key: 键\r\n",
        "idempotency-key: a\r\nidempotency-key: a\r\n",
        "idempotency-key: a\r\nIdempotency-Key: b\r\n",
        &long,
    ] {
        let answer = post_raw(&app, &format!("{JSON}{headers}"), GOOD).await;
        answer.is_problem(400, "malformed_request");
        assert!(answer.body.contains("\"code\":\"idempotency_key\""), "{}", answer.body);
    }
    nothing_happened(&app).await;
    let longest = format!("{JSON}idempotency-key: {}\r\n", "k".repeat(255));
    assert_eq!(post_raw(&app, &longest, GOOD).await.status, 200);
}

#[tokio::test]
async fn preferences_decide_how_long_an_answer_may_take() {
    let app = TestApp::start().await;
    for (prefer, status) in [
        ("respond-async", 202),
        ("Respond-Async", 202),
        ("return=minimal, respond-async", 202),
        ("respond-async; foo=bar", 202),
        ("respond-async, wait=10", 202),
        ("wait=0", 202),
        ("wait=\"0\"", 202),
        ("wait=5", 200),
        ("wait=999999", 200),
        ("wait=-1", 200),
        ("wait=soon", 200),
        ("wait=", 200),
        ("return=minimal", 200),
        ("", 200),
        (";;,,==", 200),
    ] {
        let reply = app.post("/send-template").header("prefer", prefer).json(&order_notice("oPREFER")).send().await;
        assert_eq!(reply.status, status, "{prefer:?}: {}", reply.text);
    }
    app.sandbox.set_fault(Fault::of(FaultKind::Hang).on("/cgi-bin/message/template/send"));
    let started = Instant::now();
    let reply = app.post("/send-template").header("prefer", "wait=1").json(&order_notice("oPREFER")).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "sending"), "{}", reply.text);
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_sane_request_id_comes_back_and_an_insane_one_is_replaced() {
    let app = TestApp::start().await;
    let long = "x".repeat(65);
    for (sent, is_kept) in [
        ("order-7.retry_2", true),
        ("A", true),
        ("", false),
        ("a b", false),
        ("<script>", false),
        ("\"quoted\"", false),
        ("键", false),
        (&long, false),
    ] {
        for path in ["/health", "/v1/messages", "/nowhere"] {
            let mut wire = Wire::connect(&app).await;
            wire.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {sent}\r\n\r\n")).await;
            let answer = wire.answer().await.unwrap();
            let got = answer.header("x-request-id").unwrap();
            let ours = got.len() == 32 && got.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(if is_kept { got == sent } else { ours }, "{path} {sent:?} {got}");
            assert_eq!(answer.head.to_lowercase().matches("x-request-id").count(), 1);
        }
    }
    let reply = app.post("/send-template").header("x-request-id", "mine").json(&json!({})).send().await;
    assert_eq!(reply.is_problem(422, "invalid_message").field("request_id"), "mine");
}

#[tokio::test]
async fn a_legal_traceparent_is_kept_with_the_message() {
    let app = TestApp::start().await;
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (sent, kept) in [
        (good, Some(good)),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
        ("nonsense", None),
        ("", None),
    ] {
        let reply = app.post("/send-template").header("traceparent", sent).json(&order_notice("oTRACE")).send().await;
        assert_eq!(reply.status, 200, "{sent:?}: {}", reply.text);
        let conn = rusqlite::Connection::open(app.database()).unwrap();
        let select = "SELECT trace FROM messages WHERE id = ?1";
        let trace: Option<String> = conn.query_row(select, [reply.field("message_id")], |row| row.get(0)).unwrap();
        assert_eq!(trace.as_deref(), kept, "{sent:?}");
    }
}

#[tokio::test]
async fn answers_wear_what_keeps_browsers_and_caches_away() {
    let app = TestApp::start().await;
    for path in ["/v1/messages", "/v1/accounts/shop/token", "/v1/messages/msg_x", "/health", "/ready", "/metrics"] {
        let reply = app.get(path).send().await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    for path in ["/", "/docs", "/problems", "/openapi.json", "/nowhere", "/wechat/shop"] {
        let reply = app.anonymous(reqwest::Method::GET, path).send().await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(reply.header("server").is_none() && reply.header("x-powered-by").is_none(), "{path}");
    }
}
