//! Signed requests on the wire: what is right passes once, and everything that somebody could make of it is refused.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;

use super::forms::{Credential, ask};
use crate::api::wire::{Answer, Wire, nothing_happened};
use crate::harness::sign::{self, Signed, SigningKey};
use crate::harness::{Setup, TestApp, order_notice};

const SEND: &str = "/send-template?a=1&b=2";

/// One right send, taken apart so that each part can be changed behind the signer's back.
struct Forge {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Forge {
    /// Signed now, or so many seconds from now.
    fn right(app: &TestApp, key: &SigningKey, offset: i64) -> Self {
        let body = order_notice("oSIGNED").to_string();
        let timestamp = app.clock.now().as_seconds() + offset;
        let signed = Signed { timestamp, nonce: sign::nonce(), method: "POST", target: SEND, body: &body };
        let headers = key.headers(&signed).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { method: "POST".to_owned(), target: SEND.to_owned(), headers, body }
    }

    fn header(&mut self, name: &str) -> &mut String {
        &mut self.headers.iter_mut().find(|(found, _)| found == name).unwrap().1
    }

    fn with(mut self, name: &str, change: impl FnOnce(&str) -> String) -> Self {
        let value = self.header(name);
        *value = change(value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| found != name);
        self
    }

    fn and(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn head(&self, length: usize) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let Self { method, target, .. } = self;
        format!(
            "{method} {target} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
        )
    }

    async fn send(&self, app: &TestApp) -> Answer {
        let mut wire = Wire::connect(app).await;
        wire.write(format!("{}{}", self.head(self.body.len()), self.body)).await;
        wire.answer().await.expect("an answer")
    }
}

async fn house() -> (TestApp, SigningKey) {
    let config = format!("{}auth_failures.rate = 0\n", crate::harness::UNLIMITED);
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let key = app.make_signing_key("crm", &[Scope::Send], None).await;
    (app, key)
}

#[tokio::test]
async fn a_signed_send_passes_once() {
    let (app, key) = house().await;
    let right = Forge::right(&app, &key, 0);
    let answer = right.send(&app).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(app.sandbox.message_count(), 1);
    let again = right.send(&app).await;
    again.is_problem(401, "unauthenticated");
    // Word for word what a wrong signature gets.
    let wrong = Forge::right(&app, &key, 0).with("X-Wxgate-Signature", |_| format!("v1={}", "0".repeat(64)));
    let detail = |answer: &Answer| serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["detail"].clone();
    assert_eq!(detail(&again), detail(&wrong.send(&app).await));
    // Not with another key's blessing either: the nonce belongs to the key, and another one may use it.
    let other = app.make_signing_key("crm", &[Scope::Send], None).await;
    let nonce = right.headers.iter().find(|(name, _)| name == "X-Wxgate-Nonce").unwrap().1.clone();
    let body = right.body.clone();
    let timestamp = app.clock.now().as_seconds();
    let signed = Signed { timestamp, nonce, method: "POST", target: SEND, body: &body };
    let mut second = Forge::right(&app, &other, 0);
    second.headers = other.headers(&signed).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(second.send(&app).await.status, 200);
    assert_eq!(app.sandbox.message_count(), 2);
}

#[tokio::test]
async fn of_many_copies_at_once_one_passes() {
    let (app, key) = house().await;
    let right = Forge::right(&app, &key, 0);
    let answers = futures_util::future::join_all((0..20).map(|_| right.send(&app))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 19);
    assert_eq!(app.sandbox.message_count(), 1);
}

#[tokio::test]
async fn a_replay_is_refused_as_long_as_its_time_is_taken_and_after_that_for_its_time() {
    let (app, key) = house().await;
    let right = Forge::right(&app, &key, 300);
    assert_eq!(right.send(&app).await.status, 200);
    for _ in 0..7 {
        right.send(&app).await.is_problem(401, "unauthenticated");
        app.advance(Duration::from_secs(100)).await;
        app.tick().await;
    }
    // The clock is set back into its window.
    app.clock.set(app.clock.now().minus(Duration::from_secs(650)));
    right.send(&app).await.is_problem(401, "unauthenticated");
    assert_eq!(app.sandbox.message_count(), 1);
}

#[tokio::test]
async fn the_time_may_be_five_minutes_off_and_no_more() {
    let (app, key) = house().await;
    for (offset, status) in [(-3600, 401), (-301, 401), (-300, 200), (0, 200), (300, 200), (301, 401), (86_400, 401)] {
        assert_eq!(Forge::right(&app, &key, offset).send(&app).await.status, status, "{offset}");
    }
}

#[tokio::test]
async fn whatever_is_changed_on_the_way_is_refused() {
    let (app, key) = house().await;
    let right = || Forge::right(&app, &key, 0);
    let cut = |text: &str| text[..text.len() - 2].to_owned();
    let stranger = app.make_signing_key("other", &[Scope::Send], None).await;
    let bearer_only = app.make_key("bearer", &[Scope::Send], None, None).await;
    let plain = SigningKey::of(&bearer_only);
    let attacks = [
        ("another recipient", Forge { body: right().body.replace("oSIGNED", "oSIGNEE"), ..right() }),
        ("a blank more", Forge { body: format!("{} ", right().body), ..right() }),
        ("no body", Forge { body: String::new(), ..right() }),
        ("a query in another order", Forge { target: "/send-template?b=2&a=1".to_owned(), ..right() }),
        ("a query that means the same", Forge { target: "/send-template?a=%31&b=2".to_owned(), ..right() }),
        ("no query", Forge { target: "/send-template".to_owned(), ..right() }),
        ("another path", Forge { target: "/v1/messages?a=1&b=2".to_owned(), method: "GET".to_owned(), ..right() }),
        ("a truncated MAC", right().with("X-Wxgate-Signature", cut)),
        ("a MAC of nothing", right().with("X-Wxgate-Signature", |_| "v1=".to_owned())),
        ("a longer MAC", right().with("X-Wxgate-Signature", |text| format!("{text}00"))),
        ("capital digits", right().with("X-Wxgate-Signature", |text| text.to_uppercase().replace("V1", "v1"))),
        ("another scheme", right().with("X-Wxgate-Signature", |text| text.replace("v1", "v0"))),
        ("no scheme", right().with("X-Wxgate-Signature", |text| text.replace("v1=", ""))),
        ("two MACs in one", right().with("X-Wxgate-Signature", |text| format!("{text},{text}"))),
        ("an empty signature", right().with("X-Wxgate-Signature", |_| String::new())),
        ("another time", right().with("X-Wxgate-Timestamp", |text| (text.parse::<i64>().unwrap() + 1).to_string())),
        ("the same time in other words", right().with("X-Wxgate-Timestamp", |text| format!("0{text}"))),
        ("a time with a sign", right().with("X-Wxgate-Timestamp", |text| format!("+{text}"))),
        ("a time in milliseconds", right().with("X-Wxgate-Timestamp", |text| format!("{text}000"))),
        ("no time", right().with("X-Wxgate-Timestamp", |_| String::new())),
        ("another nonce", right().with("X-Wxgate-Nonce", |_| sign::nonce())),
        ("a nonce beyond measure", right().with("X-Wxgate-Nonce", |text| text.repeat(5))),
        ("no nonce", right().with("X-Wxgate-Nonce", |_| String::new())),
        ("another key", right().with("X-Wxgate-Key", |_| stranger.id.clone())),
        ("a key that cannot sign", Forge::right(&app, &plain, 0)),
        ("a key that nobody has", right().with("X-Wxgate-Key", |_| "key_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned())),
        ("the whole key", right().with("X-Wxgate-Key", |_| format!("wxg_{}_{}", key.id, key.secret))),
        ("two signatures", right().and("X-Wxgate-Signature", format!("v1={}", "0".repeat(64)))),
        ("two signatures, the right one last", {
            let forged = right();
            let mac = forged.headers[3].1.clone();
            forged.with("X-Wxgate-Signature", |_| format!("v1={}", "0".repeat(64))).and("x-wxgate-signature", mac)
        }),
        ("two keys", right().and("X-Wxgate-Key", stranger.id.clone())),
        ("two times", right().and("X-Wxgate-Timestamp", "1")),
        ("two nonces", right().and("X-Wxgate-Nonce", sign::nonce())),
        ("no signature", right().without("X-Wxgate-Signature")),
        ("no key", right().without("X-Wxgate-Key")),
        ("no nonce header", right().without("X-Wxgate-Nonce")),
        ("no time header", right().without("X-Wxgate-Timestamp")),
        ("a bearer beside it", right().and("Authorization", format!("Bearer {}", app.key))),
        ("an empty bearer beside it", right().and("Authorization", "")),
    ];
    for (what, forged) in attacks {
        let answer = forged.send(&app).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.is_problem(401, "unauthenticated");
        assert!(!answer.body.contains(&key.secret), "{what}");
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_signature_for_reading_does_not_cancel() {
    let (app, _) = house().await;
    let key = app.make_signing_key("crm", &[Scope::Send, Scope::Read], None).await;
    let mut later = order_notice("oLATER");
    later["send_at"] = json!(app.clock.now().plus(Duration::from_secs(3600)).to_string());
    later["async"] = json!(true);
    let sent = ask(&app, &Credential::Signed(key.clone()), Method::POST, "/send-template", &later.to_string()).await;
    let target = format!("/v1/messages/{}", sent.field("message_id"));
    let timestamp = app.clock.now().as_seconds();
    let signed = Signed { timestamp, nonce: sign::nonce(), method: "GET", target: &target, body: "" };
    let with_it = async |method: Method| {
        let request = app.anonymous(method, &target);
        let headers = key.headers(&signed);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
    };
    with_it(Method::DELETE).await.is_problem(401, "unauthenticated");
    assert_eq!(with_it(Method::GET).await.field("state"), "scheduled");
}

#[tokio::test]
async fn a_wrong_request_uses_up_no_nonce() {
    let (app, key) = house().await;
    let right = Forge::right(&app, &key, 0);
    let wrong = Forge {
        body: right.body.replace("oSIGNED", "oSIGNEE"),
        headers: right.headers.clone(),
        ..Forge::right(&app, &key, 0)
    };
    wrong.send(&app).await.is_problem(401, "unauthenticated");
    assert_eq!(right.send(&app).await.status, 200);
}

#[tokio::test]
async fn a_body_is_read_only_behind_a_head_that_could_be_right_and_up_to_its_limit() {
    let (app, key) = house().await;
    let ahead = async |forged: Forge, length: usize, body: &str| {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("{}{body}", forged.head(length))).await;
        wire.answer().await.expect("an answer before the body has come")
    };
    let hopeless = [
        Forge::right(&app, &key, -301),
        Forge::right(&app, &key, 0).with("X-Wxgate-Nonce", |_| String::new()),
        Forge::right(&app, &key, 0).with("X-Wxgate-Signature", |text| text.to_uppercase()),
        Forge::right(&app, &key, 0).with("X-Wxgate-Key", |_| "key_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned()),
        Forge::right(&app, &key, 0).without("X-Wxgate-Timestamp"),
    ];
    for forged in hopeless {
        ahead(forged, 100_000, "").await.is_problem(401, "unauthenticated");
    }
    ahead(Forge::right(&app, &key, 0), 262_145, "").await.is_problem(413, "payload_too_large");
    // Without a length beforehand, the limit is met on the way.
    let chunked = Forge::right(&app, &key, 0).head(0).replace("content-length: 0", "transfer-encoding: chunked");
    let mut wire = Wire::connect(&app).await;
    wire.write(chunked).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..5 {
        wire.write(&chunk).await;
    }
    wire.answer().await.expect("an answer").is_problem(413, "payload_too_large");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let config = "\n[server]\nbody_timeout = \"100ms\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let key = app.make_signing_key("crm", &[Scope::Send], None).await;
    let forged = Forge::right(&app, &key, 0);
    let mut wire = Wire::connect(&app).await;
    wire.write(forged.head(forged.body.len())).await;
    wire.write(&forged.body[..10]).await;
    wire.answer().await.expect("an answer").is_problem(408, "request_timeout");
}

#[tokio::test]
async fn a_body_in_pieces_is_signed_as_a_whole() {
    let (app, key) = house().await;
    let forged = Forge::right(&app, &key, 0);
    let length = format!("content-length: {}", forged.body.len());
    let mut wire = Wire::connect(&app).await;
    wire.write(forged.head(forged.body.len()).replace(&length, "transfer-encoding: chunked")).await;
    for piece in forged.body.as_bytes().chunks(7) {
        wire.write(format!("{:x}\r\n", piece.len())).await;
        wire.write(piece).await;
        wire.write("\r\n").await;
    }
    wire.write("0\r\n\r\n").await;
    assert_eq!(wire.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_configured_client_signs_with_its_secret_the_old_one_and_the_new() {
    let [new, old] = ["ab", "cd"].map(|half| half.repeat(32));
    let config = format!(
        "\n[clients.order-service]\nsign_secret = \"{new}\"\nprevious_sign_secret = \"{old}\"\nscopes = [\"read\"]\n"
    );
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let read = async |credential: Credential| ask(&app, &credential, Method::GET, "/v1/messages", "").await.status;
    let key = |secret: &str| SigningKey { id: "order-service".to_owned(), secret: secret.to_owned() };
    for secret in [&new, &old] {
        assert_eq!(read(Credential::Signed(key(secret))).await, 200);
        assert_eq!(
            read(Credential::Bearer(format!("wxg_order-service_{secret}"))).await,
            200,
            "the same secret as bearer"
        );
    }
    assert_eq!(read(Credential::Signed(key(&"ef".repeat(32)))).await, 401);
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, new.as_bytes()));
    assert_eq!(read(Credential::Signed(key(&hash))).await, 401, "what a stolen hash would be good for");
}

#[tokio::test]
async fn a_stolen_hash_signs_nothing() {
    let (app, key) = house().await;
    let stored = app.app.stores().keys.look_up(&key.id).await.unwrap().unwrap();
    let thief = SigningKey { secret: stored.secret_sha256, ..key };
    Forge::right(&app, &thief, 0).send(&app).await.is_problem(401, "unauthenticated");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_request_that_is_signed_is_a_request_like_others() {
    let (app, key) = house().await;
    let key = Credential::Signed(key);
    let body = json!({"touser": "oX", "template_id": "TPL-ORDER", "data": {"thing1": 7}, "dry_run": true}).to_string();
    let reply = ask(&app, &key, Method::POST, "/send-template", &body).await;
    assert_eq!((reply.status, reply.field("dry_run").as_str()), (200, "true"), "{}", reply.text);
    ask(&app, &key, Method::POST, "/send-template", "{").await.is_problem(400, "malformed_request");
    ask(&app, &key, Method::POST, "/send-template", "").await.is_problem(415, "unsupported_media_type");
    ask(&app, &key, Method::GET, "/send-template", "").await.is_problem(405, "method_not_allowed");
    ask(&app, &key, Method::GET, "/nowhere", "").await.is_problem(404, "not_found");
    ask(&app, &key, Method::GET, "/v1/messages", "").await.is_problem(403, "forbidden");
}
