//! Events over a WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wxgate::domain::caller::Scope;

use super::events::raise;
use crate::harness::{Setup, TestApp};

const PATIENCE: Duration = Duration::from_secs(30);
const OTHER: &str = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(app: &TestApp, key: Option<&str>, query: &str) -> Result<Socket, Error> {
    let url = format!("{}/v1/events/ws?{query}", app.url.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    if let Some(key) = key {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

pub(super) async fn open(app: &TestApp, query: &str) -> Socket {
    connect(app, Some(&app.key), query).await.unwrap()
}

async fn frame(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame in time");
    next.expect("the socket is open").unwrap()
}

/// The next event.
pub(super) async fn event(socket: &mut Socket) -> Value {
    loop {
        match frame(socket).await {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn events_come_as_text_frames_through_the_filter() {
    let app = TestApp::start_with(Setup { config: OTHER.to_owned(), ..Setup::default() }).await;
    let mut all = open(&app, "types=quota.*").await;
    let key = app.make_key("other", &[Scope::Read], Some(&["other"]), None).await;
    let mut bound = connect(&app, Some(&key), "").await.unwrap();
    raise(&app, "token.conflict", Some("shop"), json!({})).await;
    raise(&app, "quota.low", Some("shop"), json!({"n": 1})).await;
    raise(&app, "token.conflict", Some("other"), json!({"n": 2})).await;
    let told = event(&mut all).await;
    assert_eq!(
        (&told["type"], &told["account"], &told["data"]),
        (&json!("quota.low"), &json!("shop"), &json!({"n": 1}))
    );
    assert_eq!(event(&mut bound).await["data"], json!({"n": 2}));
}

#[tokio::test]
async fn the_first_frame_says_where_to_go_on() {
    let app = TestApp::start().await;
    for n in 0..5 {
        raise(&app, "quota.low", None, json!({"n": n})).await;
    }
    let list = app.get("/v1/events").send().await.json();
    let second = list["data"][1]["id"].as_str().unwrap();
    for by_frame in [true, false] {
        let query = if by_frame { String::new() } else { format!("after={second}") };
        let mut socket = open(&app, &query).await;
        if by_frame {
            socket.send(Message::text(json!({"after": second}).to_string())).await.unwrap();
        }
        for n in 2..5 {
            assert_eq!(event(&mut socket).await["data"]["n"], json!(n), "{by_frame}");
        }
    }
    let mut socket = open(&app, "").await;
    socket.send(Message::text("{\"since\":1}")).await.unwrap();
    let Message::Close(Some(close)) = frame(&mut socket).await else { panic!("a close") };
    assert_eq!(close.code, CloseCode::Policy);
}

#[tokio::test]
async fn who_may_not_read_gets_no_socket() {
    let app = TestApp::start().await;
    let sender = app.make_key("sender", &[Scope::Send], None, None).await;
    for (key, query, status) in [
        (None, "", 401),
        (Some("wxg_x_0"), "", 401),
        (Some(sender.as_str()), "", 403),
        (Some(app.key.as_str()), "types=x*", 400),
    ] {
        let Err(Error::Http(refusal)) = connect(&app, key, query).await else { panic!("{key:?} got in") };
        assert_eq!(refusal.status(), status);
    }
    app.get("/v1/events/ws").send().await.is_problem(400, "malformed_request");
}

#[tokio::test]
async fn whoever_takes_nothing_is_dropped_and_goes_on_later() {
    let app = TestApp::start().await;
    let mut socket = open(&app, "").await;
    // More than the buffers between us hold.
    let filling = "x".repeat(500_000);
    for n in 0..80 {
        raise(&app, "quota.low", None, json!({"n": n, "filling": filling})).await;
    }
    // It is about nothing but this time.
    tokio::time::sleep(Duration::from_secs(13)).await;
    let mut seen = 0;
    let reason = loop {
        match frame(&mut socket).await {
            Message::Text(text) => {
                let told: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(told["data"]["n"], json!(seen));
                seen += 1;
            }
            Message::Close(Some(close)) => {
                assert_eq!(close.code, CloseCode::Again);
                break close.reason.to_string();
            }
            _ => {}
        }
    };
    assert!((1..80).contains(&seen), "{seen}");
    let mut socket = open(&app, &format!("after={reason}")).await;
    let first = event(&mut socket).await["data"]["n"].as_u64().unwrap();
    assert!(first <= seen && first + 1 >= seen, "{first} after {seen}");
}
