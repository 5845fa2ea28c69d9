//! Tickets: what a browser, which cannot set headers, watches events with.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use wxgate::domain::audit::Actor;
use wxgate::domain::caller::Scope;

use super::events::{Ear, raise};
use super::events_ws::{Socket, event};
use crate::harness::{Reply, Request, Setup, TestApp};

const CONSOLE: &str = "https://console.example.com";
const OTHER: &str = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";

async fn ticket(app: &TestApp, key: &str, body: Value) -> Value {
    let reply = as_key(app, key, reqwest::Method::POST, "/v1/events/tickets").json(&body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()
}

fn as_key(app: &TestApp, key: &str, method: reqwest::Method, path: &str) -> Request {
    Request::new(plain().request(method, format!("{}{path}", app.url)).bearer_auth(key))
}

fn plain() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// As `new EventSource(…)` asks.
fn source(app: &TestApp, view: &Value, origin: Option<&str>) -> reqwest::RequestBuilder {
    let url = format!("{}{}", app.url, view["stream"].as_str().unwrap());
    let request = plain().get(url).header("accept", "text/event-stream");
    match origin {
        Some(origin) => request.header("origin", origin),
        None => request,
    }
}

async fn refused(request: reqwest::RequestBuilder) {
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "unauthenticated");
}

async fn socket(app: &TestApp, view: &Value, origin: Option<&str>) -> Result<Socket, Error> {
    let url = format!("{}{}", app.url.replace("http://", "ws://"), view["websocket"].as_str().unwrap());
    let mut request = url.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

#[tokio::test]
async fn a_ticket_shows_what_it_was_made_for_and_no_more_than_its_maker_may_see() {
    let app = TestApp::start_with(Setup { config: OTHER.to_owned(), ..Setup::default() }).await;
    let bound = app.make_key("other", &[Scope::Read], Some(&["other"]), None).await;
    let narrow = ticket(&app, &app.key, json!({"types": ["quota.*"], "account": "shop"})).await;
    let of_other = ticket(&app, &bound, json!({})).await;
    let mut ear = Ear::of(source(&app, &narrow, None).send().await.unwrap()).await;
    let mut eye = socket(&app, &of_other, None).await.unwrap();
    raise(&app, "token.conflict", Some("shop"), json!({"n": 1})).await;
    raise(&app, "quota.low", Some("other"), json!({"n": 2})).await;
    raise(&app, "quota.low", Some("shop"), json!({"n": 3})).await;
    let (third, told) = ear.next().await;
    assert_eq!(told["data"], json!({"n": 3}));
    assert_eq!(event(&mut eye).await["data"], json!({"n": 2}));
    // As browsers come back after a break.
    raise(&app, "quota.low", Some("shop"), json!({"n": 4})).await;
    let again = source(&app, &narrow, None).header("last-event-id", third).send().await.unwrap();
    assert_eq!(Ear::of(again).await.next().await.1["data"], json!({"n": 4}));
}

#[tokio::test]
async fn a_ticket_opens_streams_and_nothing_else() {
    let app = TestApp::start().await;
    let view = ticket(&app, &app.key, json!({})).await;
    let text = view["ticket"].as_str().unwrap();
    let get = |path: String| Request::new(plain().get(format!("{}{path}", app.url))).send();
    get(format!("/v1/events?ticket={text}")).await.is_problem(400, "malformed_request");
    get(format!("/v1/messages?ticket={text}")).await.is_problem(401, "unauthenticated");
    as_key(&app, text, reqwest::Method::GET, "/v1/events").send().await.is_problem(401, "unauthenticated");
    // What it shows cannot be widened, and it takes no key beside it.
    let streamed = |query: &str| source(&app, &json!({"stream": format!("/v1/events?ticket={text}{query}")}), None);
    Request::new(streamed("&types=quota.*")).send().await.is_problem(400, "malformed_request");
    refused(streamed("").bearer_auth(&app.key)).await;
    refused(streamed(&format!("&key={}", app.key))).await;
}

#[tokio::test]
async fn a_ticket_ends_with_its_time_and_with_its_makers_key() {
    let app = TestApp::start().await;
    let maker = app.make_key("console", &[Scope::Read], None, None).await;
    let short = ticket(&app, &app.key, json!({"ttl_s": 60})).await;
    let long = ticket(&app, &maker, json!({"ttl_s": 86_400})).await;
    app.advance(Duration::from_secs(59)).await;
    drop(Ear::of(source(&app, &short, None).send().await.unwrap()).await);
    app.advance(Duration::from_secs(1)).await;
    refused(source(&app, &short, None)).await;
    assert!(socket(&app, &short, None).await.is_err());
    drop(Ear::of(source(&app, &long, None).send().await.unwrap()).await);

    assert!(app.app.access().revoke(id_of(&maker), Actor::gateway()).await.unwrap());
    app.tick().await;
    refused(source(&app, &long, None)).await;
    assert_eq!(app.metric("wxgate_auth_failures_total{form=\"ticket\"}").await, 3.0);
}

#[tokio::test]
async fn a_stream_ends_with_what_opened_it() {
    let app = TestApp::start().await;
    let maker = app.make_key("console", &[Scope::Read], None, None).await;
    let (long, short) = (json!({"ttl_s": 86_400}), json!({"ttl_s": 60}));
    let (long, short) = (ticket(&app, &maker, long).await, ticket(&app, &app.key, short).await);
    let mut by_ticket = Ear::of(source(&app, &long, None).send().await.unwrap()).await;
    let mut by_time = socket(&app, &short, None).await.unwrap();
    let by_key = source(&app, &json!({"stream": "/v1/events"}), None).bearer_auth(&maker).send().await.unwrap();
    let mut by_key = Ear::of(by_key).await;
    let lasting = source(&app, &json!({"stream": "/v1/events"}), None).bearer_auth(&app.key).send().await.unwrap();
    let mut lasting = Ear::of(lasting).await;

    assert!(app.app.access().revoke(id_of(&maker), Actor::gateway()).await.unwrap());
    app.tick().await;
    app.advance(Duration::from_secs(60)).await;
    // Each looks again after five seconds.
    while by_ticket.frame().await.is_some() {}
    while by_key.frame().await.is_some() {}
    let Some(Ok(Message::Close(Some(close)))) = by_time.next().await else { panic!("a close") };
    assert_eq!(close.code, CloseCode::Policy);
    raise(&app, "quota.low", Some("shop"), json!({"n": 1})).await;
    assert_eq!(lasting.next().await.1["data"], json!({"n": 1}));
}

fn id_of(key: &str) -> &str {
    key.strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap().0
}

#[tokio::test]
async fn a_ticket_that_was_touched_opens_nothing() {
    let app = TestApp::start().await;
    let view = ticket(&app, &app.key, json!({})).await;
    let text = view["ticket"].as_str().unwrap();
    let turned = |at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let forged =
        [turned(10), turned(text.len() / 2), text[..text.len() - 4].to_owned(), "wxt_".to_owned(), "x".to_owned()];
    for forged in forged {
        refused(source(&app, &json!({"stream": format!("/v1/events?ticket={forged}")}), None)).await;
    }
}

#[tokio::test]
async fn pages_of_one_origin_may_use_a_ticket_and_others_may_not() {
    let app = TestApp::start().await;
    let view = ticket(&app, &app.key, json!({"origin": CONSOLE})).await;
    let answer = source(&app, &view, Some(CONSOLE)).send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], CONSOLE);
    assert_eq!(answer.headers()["vary"], "Origin");
    assert!(socket(&app, &view, Some(CONSOLE)).await.is_ok());
    refused(source(&app, &view, Some("https://evil.example.com"))).await;
    assert!(socket(&app, &view, Some("https://evil.example.com")).await.is_err());
    // Programs that are no browsers name none.
    assert_eq!(source(&app, &view, None).send().await.unwrap().status(), 200);
    let local = ticket(&app, &app.key, json!({})).await;
    let answer = source(&app, &local, None).send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_is_wrong_with_a_wish_is_told_with_its_place() {
    let app = TestApp::start().await;
    let sender = app.make_key("sender", &[Scope::Send], None, None).await;
    as_key(&app, &sender, reqwest::Method::POST, "/v1/events/tickets")
        .json(&json!({}))
        .send()
        .await
        .is_problem(403, "forbidden");
    for (body, status, path) in [
        (json!({"types": "message.*"}), 400, "/types"),
        (json!({"types": ["message.*", "mess*"]}), 400, "/types/1"),
        (json!({"types": [7]}), 400, "/types/0"),
        (json!({"types": vec!["message.*"; 21]}), 422, "/types"),
        (json!({"message_id": "bat_1"}), 400, "/message_id"),
        (json!({"origin": "https://console.example.com/"}), 400, "/origin"),
        (json!({"origin": "*"}), 400, "/origin"),
        (json!({"origin": "null"}), 400, "/origin"),
        (json!({"ttl_s": 0}), 422, "/ttl_s"),
        (json!({"ttl_s": 86_401}), 422, "/ttl_s"),
        (json!({"ttl": 5}), 400, "/ttl"),
    ] {
        let reply: Reply = app.post("/v1/events/tickets").json(&body).send().await;
        assert_eq!((reply.status, reply.json()["errors"][0]["path"].as_str()), (status, Some(path)), "{}", reply.text);
    }
}
