//! Events on the wire: a list to go through, and server-sent events.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::callback::NewCallback;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;
use wxgate::domain::event::NewEvent;
use wxgate::domain::ids::CallbackId;

use crate::harness::{Setup, TestApp, order_notice};
use crate::store::backend::Database;

const PATIENCE: Duration = Duration::from_secs(20);
const OTHER: &str = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";

/// Somebody who listens.
pub(super) struct Ear {
    response: reqwest::Response,
    text: String,
}

impl Ear {
    pub(super) async fn open(app: &TestApp, query: &str, last: Option<&str>) -> Self {
        Self::open_as(app, &app.key, query, last).await
    }

    async fn open_as(app: &TestApp, key: &str, query: &str, last: Option<&str>) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request =
            client.get(format!("{}/v1/events?{query}", app.url)).header("accept", "text/event-stream").bearer_auth(key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Self::of(request.send().await.unwrap()).await
    }

    /// What has been answered is a stream that has begun.
    pub(super) async fn of(response: reqwest::Response) -> Self {
        let mut ear = Self { response, text: String::new() };
        assert_eq!(ear.response.status(), 200, "{:?}", ear.response.chunk().await);
        assert_eq!(ear.response.headers()["content-type"], "text/event-stream");
        assert_eq!(ear.response.headers()["x-accel-buffering"], "no");
        assert!(ear.frame().await.unwrap().contains(": listening"));
        ear
    }

    /// `None`: the stream has ended.
    pub(super) async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(frame);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("a frame in time");
            self.text += std::str::from_utf8(&chunk.ok().flatten()?).unwrap();
        }
    }

    /// The next event: its id and its envelope.
    pub(super) async fn next(&mut self) -> (String, Value) {
        loop {
            let frame = self.frame().await.expect("the stream goes on");
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let Some(id) = field("id: ") else { continue };
            let envelope: Value = serde_json::from_str(&field("data: ").unwrap()).unwrap();
            assert_eq!((envelope["id"].as_str(), envelope["type"].as_str()), (Some(&*id), field("event: ").as_deref()));
            return (id, envelope);
        }
    }
}

pub(super) async fn raise(app: &TestApp, kind: &'static str, account: Option<&str>, data: Value) {
    let event = NewEvent {
        kind: kind.into(),
        account: account.map(str::to_owned),
        message_id: None,
        batch_id: None,
        client: None,
        at: app.clock.now(),
        data: data.to_string(),
    };
    app.app.stores().events.raise(event).await.unwrap();
}

async fn numbers(app: &TestApp, range: std::ops::Range<u64>) {
    for n in range {
        raise(app, "quota.low", Some("shop"), json!({"n": n})).await;
    }
}

#[tokio::test]
async fn a_send_and_its_receipt_can_be_read_as_events() {
    let app = TestApp::start().await;
    let sent = app.post("/send-template").json(&order_notice("sim-ok")).send().await;
    let id = sent.field("message_id");
    app.sandbox.deliver_receipts().await;
    let list = app.get(&format!("/v1/events?message_id={id}")).send().await.json();
    let types: Vec<_> = list["data"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["message.sent", "message.delivered"]);
    let last = &list["data"][1];
    assert_eq!((&last["account"], &last["data"]["state"]), (&json!("shop"), &json!("delivered")));
    assert_eq!(last["data"]["touser"], json!("sim-ok"));
    assert!(last["data"]["msgid"].is_string());
    let callbacks = app.get("/v1/events?types=callback.*").send().await.json();
    assert_eq!(callbacks["data"][0]["type"], json!("callback.event.TEMPLATESENDJOBFINISH"));
    assert_eq!(callbacks["data"][0]["data"]["content"]["status"], json!("success"));
    assert_eq!(callbacks["next_cursor"], Value::Null);
}

#[tokio::test]
async fn pages_are_gone_through_oldest_first() {
    let app = TestApp::start().await;
    numbers(&app, 0..7).await;
    let mut seen = Vec::new();
    let mut target = "/v1/events?limit=3&types=quota.*".to_owned();
    loop {
        let page = app.get(&target).send().await;
        let body = page.json();
        seen.extend(body["data"].as_array().unwrap().iter().map(|event| event["data"]["n"].as_u64().unwrap()));
        let Some(link) = page.header("link") else { break };
        assert!(body["next_cursor"].is_string());
        target = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(seen, (0..7).collect::<Vec<_>>());
    let all = app.get("/v1/events").send().await.json();
    let third = all["data"][2]["id"].as_str().unwrap();
    let rest = app.get(&format!("/v1/events?after={third}")).send().await.json();
    assert_eq!(rest["data"].as_array().unwrap().len(), 4);
    for wrong in ["limit=201", "types=mess*", "after=msg_1", "type=x"] {
        app.get(&format!("/v1/events?{wrong}")).send().await.is_problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn a_key_of_an_account_sees_only_its_own() {
    let app = TestApp::start_with(Setup { config: OTHER.to_owned(), ..Setup::default() }).await;
    let key = app.make_key("other", &[Scope::Read], Some(&["other"]), None).await;
    let mut ear = Ear::open_as(&app, &key, "", None).await;
    raise(&app, "token.conflict", Some("shop"), json!({})).await;
    raise(&app, "batch.finished", None, json!({})).await;
    raise(&app, "token.conflict", Some("other"), json!({"own": true})).await;
    assert_eq!(ear.next().await.1["data"], json!({"own": true}));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let list = client.get(format!("{}/v1/events", app.url)).bearer_auth(&key).send().await.unwrap();
    let list: Value = serde_json::from_str(&list.text().await.unwrap()).unwrap();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_begins_now_and_resumes_without_gap_or_double() {
    let app = TestApp::start().await;
    numbers(&app, 0..3).await;
    let mut ear = Ear::open(&app, "types=quota.*", None).await;
    numbers(&app, 3..5).await;
    raise(&app, "token.conflict", None, json!({})).await;
    let (_, first) = ear.next().await;
    let (last, second) = ear.next().await;
    assert_eq!((&first["data"]["n"], &second["data"]["n"]), (&json!(3), &json!(4)));
    drop(ear);
    // More than a listener can be behind, and more than is read at once.
    numbers(&app, 5..700).await;
    let mut ear = Ear::open(&app, "types=quota.*", Some(&last)).await;
    let writer = numbers(&app, 700..1000);
    let reader = async {
        for n in 5..1000 {
            assert_eq!(ear.next().await.1["data"]["n"], json!(n));
        }
    };
    tokio::join!(writer, reader);
    // By the query, for those that cannot set a header; what is no id of ours counts as none.
    let mut ear = Ear::open(&app, &format!("types=quota.*&last_event_id={last}"), None).await;
    assert_eq!(ear.next().await.1["data"]["n"], json!(5));
    let mut ear = Ear::open(&app, "types=quota.*", Some("42")).await;
    numbers(&app, 1000..1001).await;
    assert_eq!(ear.next().await.1["data"]["n"], json!(1000));
}

#[tokio::test]
async fn many_listen_and_whoever_dawdles_holds_up_nobody() {
    let app = TestApp::start().await;
    let (mut quick, mut dawdling) = (Ear::open(&app, "", None).await, Ear::open(&app, "", None).await);
    for n in 0..600 {
        numbers(&app, n..n + 1).await;
        assert_eq!(quick.next().await.1["data"]["n"], json!(n));
    }
    for n in 0..600 {
        assert_eq!(dawdling.next().await.1["data"]["n"], json!(n));
    }
    drop((quick, dawdling));
    // The reader has gone to sleep or is about to: whoever comes then hears all the same.
    for n in 600..620 {
        let mut ear = Ear::open(&app, "", None).await;
        numbers(&app, n..n + 1).await;
        assert_eq!(ear.next().await.1["data"]["n"], json!(n));
    }
}

#[tokio::test]
async fn what_another_node_does_is_heard_here() {
    let database = Database::create().await;
    let storage = || Some(database.toml());
    let one = TestApp::start_with(Setup { storage: storage(), ..Setup::default() }).await;
    let world = Some(one.world.clone());
    let two = TestApp::start_with(Setup { storage: storage(), world, ..Setup::default() }).await;
    let mut ear = Ear::open(&one, "types=callback.*", None).await;
    let callback = |n: u64| NewCallback {
        id: CallbackId::generate(two.clock.now()),
        account: "shop".to_owned(),
        dedupe_key: n.to_string(),
        kind: "text".to_owned(),
        openid: None,
        body: String::new(),
        reply: None,
        received_at: two.clock.now(),
        receipts: Vec::new(),
        user: None,
        told: Some(json!({"n": n}).to_string()),
        is_relayed: false,
    };
    let (first, second) = (one.app.stores().inbox.clone(), two.app.stores().inbox.clone());
    for n in 0..20 {
        let inbox: &Arc<dyn wxgate::store::Inbox> = if n % 2 == 0 { &second } else { &first };
        inbox.record(callback(n)).await.unwrap();
    }
    for n in 0..20 {
        assert_eq!(ear.next().await.1["data"]["n"], json!(n));
    }
}
