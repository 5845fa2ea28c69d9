//! The consumer of `examples/webhook_consumer` beside a running gateway.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use http::{HeaderMap, HeaderValue};
use reqwest::Method;
use serde_json::json;
use wxgate::domain::clock::{Clock, SystemClock};

use super::{FIRST, SECOND};
use crate::binary::process::{Place, until};
use crate::harness::order_notice;

const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Consumer {
    child: Child,
    url: String,
    database: PathBuf,
    _folder: tempfile::TempDir,
}

impl Consumer {
    fn start(secrets: &str) -> Self {
        // Every program of ours chooses at its start; this test has none.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("consumer.db");
        let mut child = Command::new("python3")
            .arg("examples/webhook_consumer/consumer.py")
            .env("WEBHOOK_SECRETS", secrets)
            .env("LISTEN", "127.0.0.1:0")
            .env("DATABASE", &database)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is there");
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned(), database, _folder: folder }
    }

    /// How its work looks: message, state, how often it was told.
    fn messages(&self) -> Vec<(String, String, i64)> {
        let db = rusqlite::Connection::open(&self.database).unwrap();
        let mut query = db.prepare("SELECT message_id, state, told FROM messages ORDER BY message_id").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn seen(&self) -> i64 {
        let db = rusqlite::Connection::open(&self.database).unwrap();
        db.query_row("SELECT count(*) FROM seen", [], |row| row.get(0)).unwrap()
    }

    async fn post(&self, headers: HeaderMap, body: &str) -> u16 {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(&self.url).headers(headers).body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Signed by the reference library.
fn signed(secret: &str, id: &str, at: i64, body: &str) -> HeaderMap {
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign(id, at, body.as_bytes()).unwrap();
    HeaderMap::from_iter([
        (http::HeaderName::from_static("webhook-id"), HeaderValue::from_str(id).unwrap()),
        (http::HeaderName::from_static("webhook-timestamp"), HeaderValue::from(at)),
        (http::HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).unwrap()),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_what_a_running_gateway_tells_once_and_a_replay_changes_nothing() {
    let consumer = Consumer::start(&format!("{SECOND}, {FIRST}"));
    let webhook = format!(
        "webhooks.crm = {{ url = '{}', secret = '{FIRST}', events = ['message.*'], allow_private = true }}\n",
        consumer.url
    );
    let place = Place::prepare(&webhook).await;
    let program = place.start().await;
    let tried = program.request(Method::POST, "/v1/webhooks/crm/test").send().await.unwrap();
    assert_eq!(tried.json::<serde_json::Value>().await.unwrap()["status_code"], 204);
    let sent = program.request(Method::POST, "/send-template").json(&order_notice("sim-ok")).send().await.unwrap();
    let id = sent.json::<serde_json::Value>().await.unwrap()["message_id"].as_str().unwrap().to_owned();
    let expected = [(id, "delivered".to_owned(), 2)];
    until("the consumer has both events", async || consumer.messages() == expected).await;
    let seen = consumer.seen();

    let all = json!({"types": ["message.*"]});
    let replayed = program.request(Method::POST, "/v1/webhooks/crm/replay").json(&all).send().await.unwrap();
    assert_eq!(replayed.json::<serde_json::Value>().await.unwrap()["replayed"], 2);
    let told =
        async || program.get("/v1/webhooks/crm/deliveries?status=delivered").await["data"].as_array().unwrap().len();
    until("the replay was told", async || told().await >= 4).await;
    assert_eq!((consumer.messages().as_slice(), consumer.seen()), (expected.as_slice(), seen));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_what_is_forged_old_or_touched_and_takes_a_repeat_once() {
    let consumer = Consumer::start(&format!("{FIRST},{SECOND}"));
    let now = SystemClock.now().as_seconds();
    let body = r#"{"id":"evt_1","type":"message.sent","timestamp":"2026-01-31T08:00:00.000Z","account":"shop","data":{"message_id":"msg_1","state":"sent"}}"#;
    let good = signed(FIRST, "evt_1", now, body);
    let mut touched = good.clone();
    touched.insert("webhook-signature", HeaderValue::from_static("v1,AAAA v2,x"));
    let mut unsigned = good.clone();
    unsigned.remove("webhook-signature");
    for (what, headers, body) in [
        ("another secret", signed(OTHER, "evt_1", now, body), body),
        ("too old", signed(FIRST, "evt_1", now - 400, body), body),
        ("of the future", signed(FIRST, "evt_1", now + 400, body), body),
        ("another body", good.clone(), "{}"),
        ("another signature", touched, body),
        ("none", unsigned, body),
        ("no time", HeaderMap::new(), body),
    ] {
        assert_eq!(consumer.post(headers, body).await, 401, "{what}");
    }
    assert_eq!((consumer.messages().len(), consumer.seen()), (0, 0));
    assert_eq!(consumer.post(signed(FIRST, "evt_2", now, body), body).await, 400, "the id of another");

    assert_eq!(consumer.post(good, body).await, 204);
    // A retry is signed anew, perhaps with the other secret.
    assert_eq!(consumer.post(signed(SECOND, "evt_1", now + 5, body), body).await, 204);
    assert_eq!(consumer.messages(), [("msg_1".to_owned(), "sent".to_owned(), 1)]);

    // What its work cannot take is not remembered: the next try finds it as new.
    let broken = r#"{"id":"evt_3","type":"message.sent","data":{}}"#;
    assert_eq!(consumer.post(signed(FIRST, "evt_3", now, broken), broken).await, 500);
    assert_eq!(consumer.seen(), 1);
}
