//! How far a call came, against servers that answer badly or not at all.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::config::wechat::WechatConfig;

const TOKEN: &str = "TOKEN-THAT-NO-LOG-MAY-SHOW";
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(150);

fn client(connect_timeout: Duration, timeout: Duration) -> WechatClient {
    let config = WechatConfig { base_url: String::new(), connect_timeout, timeout, proxy: None };
    WechatClient::open(&config).unwrap()
}

fn account(base_url: String, token_api: TokenApi) -> Account {
    Account {
        name: Arc::from("shop"),
        app_id: "wx1".to_owned(),
        app_secret: Secret::new("SECRET-THAT-NO-LOG-MAY-SHOW"),
        callback: None,
        token_api,
        base_url,
        on_unknown: crate::domain::state::OnUnknown::default(),
        daily_quota: None,
        templates: std::collections::BTreeMap::new(),
        replies: crate::domain::account::Replies::default(),
        relay: None,
        quiet: None,
    }
}

async fn send_to(client: &WechatClient, base_url: String) -> Result<Answer, CallError> {
    let account = account(base_url, TokenApi::Stable);
    let sent = client.send_template(&account, &Secret::new(TOKEN), "{}").await;
    if let Err(error) = &sent {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("NO-LOG-MAY-SHOW") && !text.contains("access_token"), "{text}");
    }
    sent
}

/// Reads a whole request: head, and a body of two bytes or none.
async fn read_request(stream: &mut TcpStream) -> String {
    let (mut seen, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        let wanted = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= wanted.unwrap_or(0)) {
            return text;
        }
        match stream.read(&mut chunk).await.unwrap() {
            0 => return text,
            read => seen.extend_from_slice(chunk.get(..read).unwrap()),
        }
    }
}

/// A server that answers each request with these bytes and closes. → its base URL
async fn answering(answer: impl Into<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.into();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
        }
    });
    base_url
}

fn with_length(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn kind_of(result: Result<Answer, CallError>) -> Option<NoAnswer> {
    match result {
        Err(CallError::NoAnswer { kind, .. }) => Some(kind),
        _ => None,
    }
}

fn is_not_sent(result: &Result<Answer, CallError>) -> bool {
    matches!(result, Err(CallError::NotSent { .. }))
}

#[tokio::test]
async fn a_refused_port_is_certain_to_have_got_nothing() {
    // Taken, so that nobody else listens there, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base_url = format!("http://{}", socket.local_addr().unwrap());
    let sent = send_to(&client(LONG, LONG), base_url).await;
    assert!(is_not_sent(&sent), "{sent:?}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_certain_to_have_got_nothing() {
    let sent = send_to(&client(LONG, LONG), "http://no-such-host.invalid".to_owned()).await;
    assert!(is_not_sent(&sent), "{sent:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_is_certain_to_have_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 this is not TLS\r\n\r\n").await.unwrap();
    });
    let sent = send_to(&client(LONG, LONG), base_url).await;
    assert!(is_not_sent(&sent), "{sent:?}");
}

#[tokio::test]
async fn a_connect_timeout_is_certain_to_have_sent_nothing() {
    // The backlog accepts; the handshake waits for ever.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("https://{}", listener.local_addr().unwrap());
    let sent = send_to(&client(SHORT, LONG), base_url).await;
    assert!(is_not_sent(&sent), "{sent:?}");
}

#[tokio::test]
async fn a_url_that_is_none_sends_nothing() {
    let sent = send_to(&client(LONG, LONG), "http://[".to_owned()).await;
    assert!(is_not_sent(&sent), "{sent:?}");
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_broken() {
    let sent = send_to(&client(LONG, LONG), answering("").await).await;
    assert_eq!(kind_of(sent), Some(NoAnswer::Broken));
}

#[tokio::test]
async fn half_an_answer_is_broken() {
    for half in ["HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"errcode\":0,"] {
        let sent = send_to(&client(LONG, LONG), answering(half).await).await;
        assert_eq!(kind_of(sent), Some(NoAnswer::Broken), "{half}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_even_within_the_body() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(begun.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let sent = send_to(&client(SHORT, SHORT), base_url).await;
        assert_eq!(kind_of(sent), Some(NoAnswer::TimedOut), "{begun}");
    }
}

#[tokio::test]
async fn what_is_not_wechats_is_garbage() {
    let answers = [
        with_length("200 OK", "<html>maintenance</html>"),
        with_length("200 OK", ""),
        with_length("200 OK", "{\"errcode\":0"),
        with_length("200 OK", "{}"),
        with_length("502 Bad Gateway", "<html></html>"),
        with_length("503 Service Unavailable", "{\"errcode\":0,\"msgid\":1}"),
        with_length("302 Found", ""),
    ];
    for answer in answers {
        let sent = send_to(&client(LONG, LONG), answering(answer.clone()).await).await;
        assert_eq!(kind_of(sent), Some(NoAnswer::Garbage), "{answer}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_garbage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let sent = send_to(&client(LONG, LONG), base_url).await;
    assert_eq!(kind_of(sent), Some(NoAnswer::Garbage));
}

#[tokio::test]
async fn a_proper_answer_is_read() {
    let answer = with_length("200 OK", "{\"errcode\":0,\"errmsg\":\"ok\",\"msgid\":9007199254740993}");
    let sent = send_to(&client(LONG, LONG), answering(answer).await).await.unwrap();
    assert_eq!((sent.errcode, sent.msgid.as_deref()), (0, Some("9007199254740993")));
}

#[tokio::test]
async fn a_token_call_says_what_the_page_asks_for() {
    for (token_api, first_line, body) in [
        (
            TokenApi::Stable,
            "POST /cgi-bin/stable_token HTTP/1.1",
            r#"{"grant_type":"client_credential","appid":"wx1","secret":"SECRET-THAT-NO-LOG-MAY-SHOW","force_refresh":true}"#,
        ),
        (
            TokenApi::Legacy,
            "GET /cgi-bin/token?grant_type=client_credential&appid=wx1&secret=SECRET-THAT-NO-LOG-MAY-SHOW HTTP/1.1",
            "",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account = account(format!("http://{}", listener.local_addr().unwrap()), token_api);
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let heard = read_request(&mut stream).await;
            let answer = with_length("200 OK", r#"{"access_token":"T","expires_in":7200}"#);
            stream.write_all(answer.as_bytes()).await.unwrap();
            heard
        });
        let reply = client(LONG, LONG).fetch_token(&account, true).await.unwrap();
        assert!(matches!(reply, TokenReply::Token(fresh) if fresh.expires_in == Duration::from_secs(7_200)));
        let heard = heard.await.unwrap();
        assert!(heard.starts_with(first_line) && heard.ends_with(&format!("\r\n\r\n{body}")), "{heard}");
    }
}

#[tokio::test]
async fn a_token_answer_without_a_token_is_garbage() {
    for body in [r#"{"expires_in":7200}"#, r#"{"access_token":"","expires_in":7200}"#, r#"{"access_token":"T"}"#] {
        let account = account(answering(with_length("200 OK", body)).await, TokenApi::Legacy);
        let error = client(LONG, LONG).fetch_token(&account, false).await.unwrap_err();
        assert!(matches!(error, CallError::NoAnswer { kind: NoAnswer::Garbage, .. }), "{body}: {error}");
        assert!(!error.to_string().contains("NO-LOG-MAY-SHOW"));
    }
}

#[test]
fn a_token_is_encoded_into_the_query() {
    assert_eq!(url_with("https://x/y", &[("access_token", "a+b/c=&d")]), "https://x/y?access_token=a%2Bb%2Fc%3D%26d");
}

#[tokio::test]
async fn the_client_for_proxies_tells_the_same() {
    let config = WechatConfig { base_url: String::new(), connect_timeout: LONG, timeout: LONG, proxy: None };
    let client = WechatClient::new(crate::upstream::http::client(&config).unwrap());
    let sent = send_to(&client, answering(with_length("200 OK", r#"{"errcode":0,"msgid":7}"#)).await).await;
    assert_eq!(sent.unwrap().msgid.as_deref(), Some("7"));
    assert!(is_not_sent(&send_to(&client, "http://no-such-host.invalid".to_owned()).await));
    for (answer, kind) in [
        ("", NoAnswer::Broken),
        ("HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{", NoAnswer::Broken),
        (&with_length("200 OK", ""), NoAnswer::Garbage),
    ] {
        assert_eq!(kind_of(send_to(&client, answering(answer).await).await), Some(kind), "{answer}");
    }
}

#[tokio::test]
async fn an_address_is_spelt_out() {
    let base_url = answering(with_length("200 OK", r#"{"errcode":0,"msgid":7}"#)).await;
    let sent = send_to(&client(LONG, LONG), format!("{base_url}/a b/ü")).await;
    assert_eq!(sent.unwrap().msgid.as_deref(), Some("7"));
}
