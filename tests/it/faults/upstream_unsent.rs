//! WeChat cannot be reached: nothing has left, so the message waits, uncounted, until the line is back or its time is over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use wxgate::domain::clock::Clock;
use wxgate::domain::secret::Secret;
use wxgate::domain::token::AccessToken;
use wxgate::sandbox::DEMO_APP_ID;

use super::upstream_wechat::{Act, Line, RawWechat, TOKEN, keeps_no_secret, tells_no_secret};
use crate::harness::{Setup, TestApp};

/// What a server does with a client that wants to speak TLS.
#[derive(Clone)]
enum Tls {
    /// With a certificate that nobody vouches for.
    SelfSigned(Arc<ServerConfig>),
    Garbage,
    Close,
    Reset,
    Silence,
}

/// A server for `https`; → its URL, and everything that it was sent in clear.
async fn tls_server(kind: Tls) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(greet(kind.clone(), stream, ears.clone()));
        }
    });
    (format!("https://localhost:{port}"), heard)
}

async fn greet(kind: Tls, mut stream: TcpStream, ears: Arc<Mutex<Vec<u8>>>) {
    if let Tls::SelfSigned(config) = kind {
        // A client that trusts nobody ends the handshake; one that did not would be heard here.
        if let Ok(mut tls) = TlsAcceptor::from(config).accept(stream).await {
            let mut bytes = Vec::new();
            let _ = tls.read_to_end(&mut bytes).await;
            ears.lock().unwrap().extend_from_slice(&bytes);
        }
        return;
    }
    let mut hello = [0; 4096];
    let count = stream.read(&mut hello).await.unwrap_or(0);
    ears.lock().unwrap().extend_from_slice(&hello[..count]);
    match kind {
        Tls::Garbage => {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\nthis is not TLS").await;
        }
        Tls::Reset => stream.set_zero_linger().unwrap(),
        Tls::Silence => std::future::pending().await,
        Tls::Close | Tls::SelfSigned(_) => {}
    }
}

fn self_signed(names: &[&str], is_expired: bool) -> Tls {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    if is_expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    Tls::SelfSigned(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()))
}

/// A gateway that has a token for this WeChat already.
async fn gateway_with_token(base_url: &str) -> TestApp {
    gateway_with(base_url, "wechat.connect_timeout = \"300ms\"\n").await
}

async fn gateway_with(base_url: &str, head: &str) -> TestApp {
    let head = head.to_owned();
    let app =
        TestApp::start_with(Setup { account: format!("base_url = \"{base_url}\""), head, ..Setup::default() }).await;
    let now = app.clock.now();
    let token = AccessToken {
        token: Secret::new(TOKEN),
        generation: 1,
        fetched_at: now,
        expires_at: now.plus(Duration::from_secs(7_200)),
        forced_at: None,
        forced_today: 0,
    };
    assert!(app.app.stores().tokens.keep("shop", DEMO_APP_ID, &token).await.unwrap());
    app
}

type Place = (&'static str, String, Arc<Mutex<Vec<u8>>>);

/// Places where no call can get through: what they are, their URLs, and what they hear.
async fn places(closed: &Line) -> Vec<Place> {
    let mut places: Vec<Place> = vec![
        ("a refused connection", closed.url(), Arc::default()),
        ("a name that does not exist", "http://no-such-host.invalid".to_owned(), Arc::default()),
    ];
    for (name, kind) in [
        ("a certificate that nobody vouches for", self_signed(&["localhost"], false)),
        ("a certificate of another name", self_signed(&["elsewhere.example"], false)),
        ("an expired certificate", self_signed(&["localhost"], true)),
        ("garbage in the handshake", Tls::Garbage),
        ("an end in the handshake", Tls::Close),
        ("a reset in the handshake", Tls::Reset),
        ("silence in the handshake", Tls::Silence),
    ] {
        let (url, heard) = tls_server(kind).await;
        places.push((name, url, heard));
    }
    places
}

#[tokio::test]
async fn a_token_call_that_never_left_holds_messages_up_and_says_why() {
    let closed = Line::closed();
    for (name, url, heard) in places(&closed).await {
        let head = "wechat.connect_timeout = \"300ms\"\n".to_owned();
        let setup = Setup { account: format!("base_url = \"{url}\""), head, ..Setup::default() };
        let app = TestApp::start_with(setup).await;
        let id = app.send_async("oWAITS").await.field("message_id");
        app.run_until_idle().await;
        let message = app.message(&id).await;
        assert_eq!(message["state_reason"], "no_token", "{name}: {message}");
        assert_eq!(message["attempts"], serde_json::json!([]), "{name}");
        let reply = app.get("/v1/accounts/shop/token").send().await;
        let problem = reply.is_problem(503, "token_unavailable").json();
        assert_eq!(problem["retryable"], true, "{name}");
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        assert!(!heard.contains("POST"), "{name}: {heard}");
        tells_no_secret(&format!("{message}{}{heard}", reply.text));
    }
}

#[tokio::test]
async fn what_never_left_waits_uncounted() {
    let closed = Line::closed();
    for (name, url, heard) in places(&closed).await {
        let app = gateway_with_token(&url).await;
        let id = app.send_async("oWAITS").await.field("message_id");
        // More often than a message may be tried.
        for _ in 0..7 {
            app.run_until_idle().await;
            app.advance(Duration::from_secs(70)).await;
        }
        let message = app.message(&id).await;
        assert_eq!(
            (message["state"].as_str(), message["state_reason"].as_str()),
            (Some("queued"), Some("not_connected")),
            "{name}: {message}"
        );
        let attempts = message["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 7, "{name}: {message}");
        for attempt in attempts {
            assert_eq!(attempt["outcome"], "not_sent", "{name}: {attempt}");
            assert!(attempt["errmsg"].as_str().unwrap().starts_with("not connected: "), "{name}: {attempt}");
        }
        let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
        assert!(!heard.contains("POST") && !heard.contains("oWAITS"), "{name}: {heard}");
        tells_no_secret(&format!("{message}{heard}"));
        keeps_no_secret(&app);
        app.advance(Duration::from_secs(24 * 3_600)).await;
        app.tick().await;
        assert_eq!(app.state_of(&id).await, "expired", "{name}: nothing left, so there is no doubt");
    }
}

#[tokio::test]
async fn a_caller_who_waits_while_wechat_is_away_gets_202_and_the_message_goes_out_when_it_is_back() {
    let mut line = Line::closed();
    let app = gateway_with(&line.url(), "").await;
    let reply =
        app.post("/send-template").header("prefer", "wait=1").json(&crate::harness::order_notice("oBACK")).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "queued"), "{}", reply.text);
    let wechat: RawWechat = line.open();
    app.advance(Duration::from_secs(30)).await;
    app.run_until_idle().await;
    let message = app.message(&reply.field("message_id")).await;
    assert_eq!(message["state"], "sent", "{message}");
    assert_eq!(wechat.sends().len(), 1);
}

/// A proxy between us and WeChat that does not make the way: nothing left, and its password is told to nobody.
#[tokio::test]
async fn a_proxy_that_makes_no_way_means_that_nothing_left() {
    for (name, answer) in [
        (
            "it wants a password",
            &b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n"[..],
        ),
        ("it cannot", b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops"),
        ("it may not", b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        ("it talks nonsense", b"nonsense\r\n\r\n"),
        ("it hangs up", b""),
        ("it makes the way to nowhere", b"HTTP/1.1 200 Connection established\r\n\r\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://user:PROXYPASSWORD@{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(String::new()));
        let ears = heard.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                ears.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                let _ = stream.write_all(answer).await;
            }
        });
        let app = gateway_with("https://api.weixin.example", &format!("wechat.proxy = \"{proxy}\"\n")).await;
        let id = app.send_async("oPROXY").await.field("message_id");
        app.run_until_idle().await;
        let message = app.message(&id).await;
        assert_eq!(message["state_reason"], "not_connected", "{name}: {message}");
        assert_eq!(message["attempts"][0]["outcome"], "not_sent", "{name}: {message}");
        let heard = heard.lock().unwrap().clone();
        assert!(heard.starts_with("CONNECT api.weixin.example:443 "), "{name}: {heard}");
        tells_no_secret(&format!("{message}{heard}"));
        assert!(!message.to_string().contains("PROXYPASSWORD"), "{name}: {message}");
    }
}

/// What could not be sent anyway is not taken in hand: nothing is written twice, and a crash puts nothing in doubt.
#[tokio::test]
async fn what_comes_while_the_line_is_shut_is_left_to_the_queue() {
    let closed = Line::closed();
    let head = "queue.breaker_failures = 1\n";
    let app = gateway_with(&closed.url(), head).await;
    let first = app.send_async("oFIRST").await.field("message_id");
    app.app.settled().await;
    assert_eq!(app.message(&first).await["state_reason"], "not_connected");
    let mut body = crate::harness::order_notice("oSECOND");
    body["on_unknown"] = "hold".into();
    let waiting = app.post("/send-template").header("prefer", "wait=1").json(&body).send().await;
    assert_eq!((waiting.status, waiting.field("state").as_str()), (202, "queued"), "{}", waiting.text);
    let at_once = app.send_async("oTHIRD").await;
    app.app.settled().await;
    for id in [waiting.field("message_id"), at_once.field("message_id")] {
        let message = app.message(&id).await;
        let states: Vec<_> =
            message["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
        assert_eq!(states, ["queued"], "{message}");
    }
}

/// The same when there is no token and none may be fetched now; but who waits is told whether the account is at fault.
#[tokio::test]
async fn what_comes_while_no_token_can_be_had_is_left_to_the_queue() {
    let wechat = RawWechat::start().await;
    let app = wechat.gateway("").await;
    wechat.next_token(Act::ok(r#"{"errcode":40164,"errmsg":"invalid ip"}"#));
    let first = app.send_async("oFIRST").await.field("message_id");
    app.app.settled().await;
    assert_eq!(app.message(&first).await["state_reason"], "no_token");
    let second = app.send_async("oSECOND").await.field("message_id");
    app.app.settled().await;
    assert_eq!(app.message(&second).await["history"].as_array().unwrap().len(), 1);
    app.send("oTHIRD").await.is_problem(502, "account_refused");
    assert_eq!(wechat.token_calls().len(), 1);
}
