//! The send call goes wrong on the way: each fault with the state, the reason and the attempt that follow from it, how often
//! WeChat saw the message, and what must not be told.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::upstream_wechat::{Act, RawWechat, Seen, keeps_no_secret, tells_no_secret, with_length};
use crate::harness::{TestApp, order_notice};

/// How long a call may take in these tests.
const TIMEOUT: &str = "wechat.timeout = \"1s\"\nwechat.connect_timeout = \"1s\"";
const PATIENT: &str = "wechat.timeout = \"20s\"";
const TAKEN: &str = r#"{"errcode":0,"errmsg":"ok","msgid":3487542469355618313}"#;

/// One send to a person of its own.
async fn post(app: &TestApp, touser: &str, on_unknown: &str, is_async: bool) -> Value {
    let mut body = order_notice(touser);
    body["on_unknown"] = json!(on_unknown);
    body["async"] = json!(is_async);
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!(reply.status, 202, "{touser}: {}", reply.text);
    reply.json()
}

/// What leaves doubt, in both ways that `on_unknown` knows: held, it is `unknown` and WeChat has seen it once; retried, it
/// waits, and WeChat sees the same `client_msg_id` once more.
async fn leaves_doubt(head: &str, reason: &str, faults: Vec<(&str, Act)>) {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway(head).await;
    for (number, (name, act)) in faults.into_iter().enumerate() {
        let before = wechat.sends().len();
        wechat.next_send(act.clone());
        let held = post(&app, &format!("oHOLD{number}"), "hold", false).await;
        assert_eq!(held["state"], "unknown", "{name}: {held}");
        app.advance(Duration::from_secs(30)).await;
        app.run_until_idle().await;
        assert_eq!(wechat.sends().len() - before, 1, "{name}: seen once");
        let message = app.message(held["message_id"].as_str().unwrap()).await;
        ended_in_doubt(&message, name, "unknown", reason);
        tells_no_secret(&format!("{held}{message}"));

        wechat.next_send(act);
        let id = post(&app, &format!("oRETRY{number}"), "retry", true).await["message_id"].as_str().unwrap().to_owned();
        app.run_until_idle().await;
        let message = app.message(&id).await;
        ended_in_doubt(&message, name, "queued", reason);
        assert!(message["next_attempt_at"].as_str().is_some(), "{name}: {message}");
        tells_no_secret(&message.to_string());
        app.advance(Duration::from_secs(3)).await;
        app.run_until_idle().await;
        let message = app.message(&id).await;
        assert_eq!(message["state"], "sent", "{name}: {message}");
        assert_eq!(outcomes(&message), ["ambiguous", "accepted"], "{name}");
        let ids: Vec<_> = wechat.sends()[before + 1..].iter().map(Seen::client_msg_id).collect();
        let body = id.strip_prefix("msg_").unwrap();
        assert_eq!(ids, [body, body], "{name}: seen twice, by the same id");
    }
    keeps_no_secret(&app);
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[track_caller]
fn ended_in_doubt(message: &Value, name: &str, state: &str, reason: &str) {
    assert_eq!(
        (message["state"].as_str(), message["state_reason"].as_str()),
        (Some(state), Some(reason)),
        "{name}: {message}"
    );
    assert_eq!(outcomes(message), ["ambiguous"], "{name}");
    let attempt = &message["attempts"][0];
    assert!(attempt.get("errcode").is_none(), "{name}: nothing that WeChat said counts: {attempt}");
    assert!(attempt["errmsg"].as_str().is_some_and(|text| text.starts_with(reason)), "{name}: {attempt}");
}

fn outcomes(message: &Value) -> Vec<&str> {
    message["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_that_is_not_wechats_is_garbage() {
    let html = "<html><body>502 Bad Gateway</body></html>";
    let bad = |status: &str, body: &str| Act::Say(with_length(status, "", body));
    let elsewhere = RawWechat::start().await;
    let to = |status: &str| {
        let location = format!("location: {}/cgi-bin/message/template/send\r\n", elsewhere.url);
        Act::Say(with_length(status, &location, ""))
    };
    leaves_doubt(
        PATIENT,
        "garbage",
        vec![
            ("500", bad("500 Internal Server Error", html)),
            ("502", bad("502 Bad Gateway", html)),
            ("503 that says it was taken", bad("503 Service Unavailable", TAKEN)),
            ("504", bad("504 Gateway Timeout", "")),
            ("404", bad("404 Not Found", html)),
            ("403 of a firewall", bad("403 Forbidden", html)),
            ("429", bad("429 Too Many Requests", "")),
            ("status 999", bad("999 What", TAKEN)),
            ("301", to("301 Moved Permanently")),
            ("302", to("302 Found")),
            ("307", to("307 Temporary Redirect")),
            ("308", to("308 Permanent Redirect")),
            (
                "101",
                Act::Say(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec()),
            ),
            ("204", Act::Say(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())),
            ("HTML", Act::ok(html)),
            ("empty", Act::ok("")),
            ("blanks", Act::ok(" \r\n\t ")),
            ("cut JSON", Act::ok(&TAKEN[..TAKEN.len() / 2])),
            ("JSON twice", Act::ok(format!("{TAKEN}{TAKEN}"))),
            ("an array", Act::ok("[]")),
            ("null", Act::ok("null")),
            ("a text", Act::ok("\"ok\"")),
            ("an empty object", Act::ok("{}")),
            ("not UTF-8", Act::ok(b"{\"errcode\":0,\"errmsg\":\"\xff\",\"msgid\":1}")),
            ("UTF-16", Act::ok(TAKEN.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
            ("deep JSON", Act::ok("[".repeat(60_000))),
            ("errcode null", Act::ok(r#"{"errcode":null,"msgid":1}"#)),
            ("errcode true", Act::ok(r#"{"errcode":true,"msgid":1}"#)),
            ("errcode 0.5", Act::ok(r#"{"errcode":0.5,"msgid":1}"#)),
            ("errcode [0]", Act::ok(r#"{"errcode":[0],"msgid":1}"#)),
            ("errcode beyond 64 bits", Act::ok(r#"{"errcode":99999999999999999999,"msgid":1}"#)),
            ("errcode in words", Act::ok(r#"{"errcode":"zero","msgid":1}"#)),
        ],
    )
    .await;
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed: the token would go with it");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken() {
    leaves_doubt(
        PATIENT,
        "broken",
        vec![
            ("reset after the request was read", Act::Reset),
            ("closed after the request was read", Act::SayAndClose(Vec::new())),
            ("half a status line", Act::SayAndClose(b"HTTP/1.1 20".to_vec())),
            ("half a head", Act::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())),
            (
                "half a body",
                Act::SayAndClose(format!("HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{TAKEN}").into_bytes()),
            ),
            (
                "half a chunk",
                Act::SayAndClose(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{\"errcode\"".to_vec()),
            ),
            (
                "no last chunk",
                Act::SayAndClose(
                    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{TAKEN}\r\n", TAKEN.len())
                        .into_bytes(),
                ),
            ),
            (
                "a bad chunk",
                Act::SayAndClose(
                    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n".to_vec(),
                ),
            ),
            ("no HTTP", Act::SayAndClose(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())),
            ("HTTP/0.9", Act::SayAndClose(TAKEN.as_bytes().to_vec())),
            ("HTTP/2", Act::SayAndClose(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\xff\xff".to_vec())),
            (
                "two lengths",
                Act::SayAndClose(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-length: 7\r\n\r\n{TAKEN}", TAKEN.len())
                        .into_bytes(),
                ),
            ),
            ("a thousand headers", Act::SayAndClose(with_length("200 OK", &"x-more: y\r\n".repeat(1_000), TAKEN))),
            (
                "a header of a megabyte",
                Act::SayAndClose(with_length("200 OK", &format!("x-long: {}\r\n", "y".repeat(1 << 20)), TAKEN)),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_timeout() {
    let begun = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", TAKEN.len());
    let faults = vec![
        ("silence", Act::SayAndHang(Vec::new())),
        ("silence in the head", Act::SayAndHang(b"HTTP/1.1 200 OK\r\n".to_vec())),
        ("silence in the body", Act::SayAndHang(format!("{begun}{}", &TAKEN[..TAKEN.len() - 1]).into_bytes())),
        (
            "a dripping head",
            Act::Drip { head: b"HTTP/1.1 200 OK\r\nx-drip: ".to_vec(), byte: b'y', every: Duration::from_millis(20) },
        ),
        ("a dripping body", Act::Drip { head: begun.into_bytes(), byte: b' ', every: Duration::from_millis(20) }),
        (
            "100 Continue without end",
            Act::Pour { head: Vec::new(), piece: b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), times: usize::MAX },
        ),
    ];
    // Each takes its time, so they take it together.
    join_all(faults.into_iter().map(|fault| leaves_doubt(TIMEOUT, "timeout", vec![fault]))).await;
}

#[tokio::test]
async fn an_odd_answer_that_says_it_was_taken_is_believed() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway(PATIENT).await;
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{TAKEN}\r\n0\r\n\r\n", TAKEN.len());
    let early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    for (number, (name, act)) in [
        ("text/plain", Act::Say(with_length("200 OK", "content-type: text/plain\r\n", TAKEN))),
        ("text/html", Act::Say(with_length("200 OK", "content-type: text/html; charset=gbk\r\n", TAKEN))),
        ("no content type", Act::ok(TAKEN)),
        ("a BOM and blanks", Act::ok(format!("\u{feff} {TAKEN}\r\n\r\n"))),
        ("chunks", Act::Say(chunked.into_bytes())),
        ("till the end", Act::SayAndClose(format!("HTTP/1.0 200 OK\r\n\r\n{TAKEN}").into_bytes())),
        ("1xx before it", Act::Say([&early[..], &with_length("200 OK", "", TAKEN)].concat())),
        ("201", Act::Say(with_length("201 Created", "", TAKEN))),
        (
            "fields that nobody knows",
            Act::ok(r#"{"errcode":0,"errmsg":"ok","msgid":3487542469355618313,"more":{"x":[1]}}"#),
        ),
        ("no errcode", Act::ok(r#"{"msgid":3487542469355618313}"#)),
    ]
    .into_iter()
    .enumerate()
    {
        wechat.next_send(act);
        let reply = app.send(&format!("oODD{number}")).await;
        assert_eq!((reply.status, reply.field("state").as_str()), (200, "sent"), "{name}: {}", reply.text);
        assert_eq!(reply.field("msgid"), "3487542469355618313", "{name}");
        assert_eq!(wechat.sends().len(), number + 1, "{name}");
    }
}
