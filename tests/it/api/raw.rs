//! What no client library would send: the server refuses it, survives it and keeps nothing.

use super::wire::{GOOD, JSON, Wire, head_of, nothing_happened, rows};
use crate::harness::{Setup, TestApp};

async fn ask(app: &TestApp, request: impl AsRef<[u8]>) -> Option<super::wire::Answer> {
    let mut wire = Wire::connect(app).await;
    wire.write(request).await;
    wire.answer().await
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_connection_ends() {
    let app = TestApp::start().await;
    for request in [
        &b"NONSENSE\r\n\r\n"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTX/1.1\r\n\r\n",
        b"GET /health HTTP/1.1 \r\nhost: x\r\n\r\n",
        b"GET /he alth HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET /health HTTP/1.1\r\n: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nho st: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\0y\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        b"G@T /health HTTP/1.1\r\nhost: x\r\n\r\n\x80",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut wire = Wire::connect(&app).await;
        wire.write(request).await;
        wire.end().await;
        let shown = String::from_utf8_lossy(request).into_owned();
        if let Some(answer) = wire.answer().await {
            assert!((400..=599).contains(&answer.status) && answer.status != 500, "{shown:?} {answer:?}");
        }
        assert!(wire.is_over().await, "{shown:?}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn heads_and_paths_beyond_measure_are_refused() {
    let app = TestApp::start().await;
    let huge = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-huge: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET /health HTTP/1.1\r\nhost: x\r\n{}\r\n", "x-many: y\r\n".repeat(2_000));
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(200_000));
    for (request, what) in [(huge, "one header"), (many, "many headers"), (path, "a path")] {
        if let Some(answer) = ask(&app, request).await {
            assert!([400, 414, 431].contains(&answer.status), "{what} {answer:?}");
        }
    }
    for path in
        [format!("/{}", "x".repeat(10_000)), "/x".repeat(5_000), format!("/v1/messages/{}", "%41".repeat(3_400))]
    {
        let answer =
            ask(&app, format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", app.key)).await;
        answer.unwrap().is_problem(404, "not_found");
    }
    let query = format!(
        "GET /v1/messages?{} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        "a=1&".repeat(3_000),
        app.key
    );
    ask(&app, query).await.unwrap().is_problem(400, "malformed_request");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn paths_in_disguise_lead_nowhere() {
    let app = TestApp::start().await;
    for path in [
        "/../send-template",
        "/./send-template",
        "/v1/../send-template",
        "/v1/%2e%2e/send-template",
        "/send-template%2f",
        "/send-template%00",
        "/send-template;a=b",
        "//send-template",
        "/%73end-template",
        "/SEND-TEMPLATE",
        "/v1/messages/%zz",
        "/v1/messages/%",
        "/v1/messages/%f",
        "/v1/messages/%ff%fe",
        "/v1/messages/%00",
        "/v1/messages/..%2f..%2fetc%2fpasswd",
        "/v1/messages/\\..\\",
        "/v1/accounts/%ff/token",
        "/v1/accounts/../token",
        "/v1/accounts/shop%00/token",
        "/v1/accounts/shop/users/%ff",
        "/problems/%ff",
        "/wechat/%ff",
        "/wechat/..",
        "/[::1]",
        "/\u{7f}",
        "/é",
        "/{id}",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{JSON}", app.key);
            let request = format!("{head}content-length: {}\r\n\r\n{GOOD}", GOOD.len());
            let answer = ask(&app, request).await.unwrap();
            assert!((400..=499).contains(&answer.status), "{method} {path} {answer:?}");
        }
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn other_forms_of_a_target_are_understood_or_refused() {
    let app = TestApp::start().await;
    for (request, status) in [
        ("GET http://elsewhere.example/health HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n", 200),
        ("GET http://elsewhere.example HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n", 200),
        ("GET /health?x=1#fragment HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        ("GET /health HTTP/1.0\r\n\r\n", 200),
        ("GET /health HTTP/1.1\r\n\r\n", 200),
        ("\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        ("GET * HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        ("CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: elsewhere.example\r\n\r\n", 404),
        ("TRACE /health HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    ] {
        let answer = ask(&app, request).await.unwrap();
        assert_eq!(answer.status, status, "{request} {answer:?}");
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{request}");
        }
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_a_row() {
    let app = TestApp::start().await;
    let mut wire = Wire::connect(&app).await;
    let send = format!("{}{GOOD}", head_of(&app, &format!("{JSON}content-length: {}\r\n", GOOD.len())));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    wire.write(format!("{}{send}{}{send}{}", get("/health"), get("/nowhere"), get("/health"))).await;
    for status in [200, 200, 404, 200, 200] {
        assert_eq!(wire.answer().await.unwrap().status, status);
    }
    wire.write(get("/health")).await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
    assert_eq!(rows(&app, "messages"), 2);
}

#[tokio::test]
async fn half_a_head_and_a_silent_connection_are_given_up() {
    let config = "\n[server]\nheader_timeout = \"100ms\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    for start in ["", "GET", "POST /send-template HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "] {
        let mut wire = Wire::connect(&app).await;
        wire.write(start).await;
        assert!(wire.is_over().await, "{start:?}");
    }
    // A head that drips, one header after the other, gets no longer than one that rests.
    let mut wire = Wire::connect(&app).await;
    wire.write("GET /health HTTP/1.1\r\n").await;
    let started = std::time::Instant::now();
    let dripping = async {
        for n in 0..200 {
            wire.write(format!("x-{n}: y\r\n")).await;
            tokio::time::sleep(std::time::Duration::from_millis(10)).await; // the drip itself is under test
        }
    };
    let _ = tokio::time::timeout(std::time::Duration::from_millis(600), dripping).await;
    assert!(wire.is_over().await);
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_in_the_middle_of_a_body_leaves_nothing() {
    let app = TestApp::start().await;
    for cut in [0, 1, 20, GOOD.len() - 1] {
        let mut wire = Wire::connect(&app).await;
        wire.write(head_of(&app, &format!("{JSON}content-length: {}\r\n", GOOD.len()))).await;
        wire.write(&GOOD[..cut]).await;
        drop(wire);
    }
    nothing_happened(&app).await;
}
