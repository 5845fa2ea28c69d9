//! Answers that are too much: read to a bound, given up, the connection dropped; and none of it can be had in memory.

use std::time::Duration;

use super::upstream_wechat::{Act, RawWechat, TOKEN, keeps_no_secret, tells_no_secret, with_length};
use crate::harness::order_notice;

/// 40 MiB of JSON that says "taken", in 40 KiB (tests/fixtures/faults/bomb.json.gz: blanks before the last brace).
const BOMB: &[u8] = include_bytes!("../../fixtures/faults/bomb.json.gz");
const HUNDRED_MEGABYTES: usize = 100 << 20;
/// What the buffers of two sockets can hold beside the 64 KiB that are read.
const BUFFERS: u64 = 16 << 20;

fn pour(head: &str, piece: Vec<u8>) -> Act {
    let times = HUNDRED_MEGABYTES / piece.len();
    Act::Pour { head: head.as_bytes().to_vec(), piece, times }
}

fn too_much() -> Vec<(&'static str, Act)> {
    let megabyte = "x".repeat(1 << 20);
    let chunk = format!("{:x}\r\n{megabyte}\r\n", megabyte.len()).into_bytes();
    let small_chunks = "1\r\n \r\n".repeat(10_000).into_bytes();
    let lines = "x-more: and more\r\n".repeat(10_000).into_bytes();
    let with_length = format!("HTTP/1.1 200 OK\r\ncontent-length: {HUNDRED_MEGABYTES}\r\n\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    vec![
        ("a length of 100 MB", pour(&with_length, megabyte.clone().into_bytes())),
        ("chunks without end", pour(chunked, chunk)),
        ("small chunks without end", pour(chunked, small_chunks)),
        ("till the end", pour("HTTP/1.0 200 OK\r\n\r\n", megabyte.clone().into_bytes())),
        ("JSON without end", pour("HTTP/1.0 200 OK\r\n\r\n{\"errcode\":0,\"errmsg\":\"", megabyte.into_bytes())),
        ("a head without end", pour("HTTP/1.1 200 OK\r\n", lines)),
        ("an error of 100 MB", pour(&with_length.replace("200 OK", "500 Oops"), vec![b'x'; 1 << 20])),
    ]
}

/// The server got rid of a little of it, and then the connection ended.
async fn was_cut_off(wechat: &RawWechat, name: &str) {
    while wechat.pouring() > 0 {
        tokio::task::yield_now().await;
    }
    let poured = wechat.poured();
    assert!(poured < BUFFERS, "{name}: {poured} bytes were taken");
}

#[tokio::test]
async fn a_send_is_not_drowned_by_its_answer() {
    for (name, act) in too_much() {
        let wechat = RawWechat::start().await;
        let app = wechat.gateway("").await;
        wechat.next_send(act);
        let mut body = order_notice("oDROWNS");
        body["on_unknown"] = "hold".into();
        let reply = app.post("/send-template").json(&body).send().await;
        assert_eq!((reply.status, reply.field("state").as_str()), (202, "unknown"), "{name}: {}", reply.text);
        let message = app.message(&reply.field("message_id")).await;
        assert!(["garbage", "broken"].contains(&message["state_reason"].as_str().unwrap()), "{name}: {message}");
        was_cut_off(&wechat, name).await;
        assert_eq!(app.send("oNEXT").await.status, 200, "{name}");
        let sends = wechat.sends();
        assert_ne!(sends[1].connection, sends[0].connection, "{name}: the flooded connection is not used again");
    }
}

#[tokio::test]
async fn a_token_call_is_not_drowned_either() {
    for (name, act) in too_much() {
        let wechat = RawWechat::start().await;
        let app = wechat.gateway("").await;
        wechat.next_token(act);
        app.get("/v1/accounts/shop/token").send().await.is_problem(503, "token_unavailable");
        was_cut_off(&wechat, name).await;
    }
}

#[tokio::test]
async fn a_compressed_answer_was_not_asked_for_and_is_not_unpacked() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    for (number, encoding) in ["gzip", "deflate", "br", "zstd", "gzip, gzip", ""].into_iter().enumerate() {
        let header = if encoding.is_empty() { String::new() } else { format!("content-encoding: {encoding}\r\n") };
        wechat.next_send(Act::Say(with_length("200 OK", &header, BOMB)));
        let mut body = order_notice(&format!("oBOMB{number}"));
        body["on_unknown"] = "hold".into();
        let reply = app.post("/send-template").json(&body).send().await;
        assert_eq!((reply.status, reply.field("state").as_str()), (202, "unknown"), "{encoding}: {}", reply.text);
        let message = app.message(&reply.field("message_id")).await;
        assert_eq!(message["state_reason"], "garbage", "{encoding}: {message}");
    }
    let heads = wechat.heads();
    assert!(heads.iter().all(|head| !head.to_lowercase().contains("accept-encoding")), "{heads:?}");
}

/// Long words of WeChat's, or of somebody who plays WeChat, are cut before they are kept.
#[tokio::test]
async fn what_an_answer_says_is_kept_in_a_few_words() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    let long = "长".repeat(20_000);
    wechat.next_send(Act::ok(format!(r#"{{"errcode":43004,"errmsg":"{long} rid: 1-2-3"}}"#)));
    let reply = app.send("oWORDY").await;
    reply.is_problem(422, "recipient_refused");
    let message = app.message(reply.json()["message_id"].as_str().unwrap()).await;
    let attempt = &message["attempts"][0];
    assert!(attempt["errmsg"].as_str().unwrap().len() <= 1_024, "{} bytes", attempt["errmsg"].as_str().unwrap().len());
    assert_eq!(attempt["rid"], "1-2-3", "which is looked for in all of it");
    assert!(reply.text.len() < 4_096, "{} bytes", reply.text.len());

    wechat.next_send(Act::ok(format!(r#"{{"errcode":0,"errmsg":"ok","msgid":"{}"}}"#, "7".repeat(60_000))));
    let reply = app.send("oOTHER").await;
    assert_eq!((reply.status, reply.json().get("msgid")), (200, None), "that is no id: {}", reply.text);
}

/// Whoever answers may write back what it was sent.
#[tokio::test]
async fn an_answer_that_repeats_the_token_or_the_secret_is_not_repeated_by_us() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    let mut told = Vec::new();
    for (number, errcode) in [40001, 43004, 45009, -1, 987_654].into_iter().enumerate() {
        // A refused token is followed by a second call.
        for _ in 0..if errcode == 40001 { 2 } else { 1 } {
            wechat.next_send(Act::Echo { errcode });
        }
        let id = app.send_async(&format!("oECHO{number}")).await.field("message_id");
        app.run_until_idle().await;
        let message = app.message(&id).await;
        assert!(message.to_string().contains("bad access_token=*** as in"), "{message}");
        told.push(message.to_string());
    }
    wechat.next_send(Act::ok(format!(r#"{{"errcode":0,"msgid":"{TOKEN}"}}"#)));
    told.push(app.send("oECHO").await.text);
    app.advance(Duration::from_secs(7_200)).await;
    wechat.next_token(Act::Echo { errcode: 40125 });
    let refused = app.send("oLAST").await;
    refused.is_problem(502, "account_refused");
    assert!(refused.text.contains("stable_token") || refused.text.contains("client_credential"), "{}", refused.text);
    told.push(refused.text);
    told.push(app.get("/v1/accounts/shop/token").send().await.text);
    told.push(app.get("/ready").send().await.text);
    told.push(app.get("/metrics").send().await.text);
    for text in told {
        tells_no_secret(&text);
    }
    keeps_no_secret(&app);
}
