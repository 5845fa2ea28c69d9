//! Two gateways over one database: what one does is heard at the other, and whoever changes over misses nothing.

use serde_json::{Value, json};

use super::events::Ear;
use super::events_ws;
use crate::harness::{Setup, TestApp};
use crate::store::backend::Database;

const TYPES: &str = "types=message.*";

struct Nodes {
    /// Sends, and is told of receipts: the sandbox calls the one that started last.
    a: TestApp,
    /// Only listened at.
    b: TestApp,
    /// It is gone when this is.
    _database: Database,
}

impl Nodes {
    async fn open() -> Self {
        let database = Database::create().await;
        let setup = |world| Setup { storage: Some(database.toml()), world, ..Setup::default() };
        let b = TestApp::start_with(setup(None)).await;
        let a = TestApp::start_with(setup(Some(b.world.clone()))).await;
        Self { a, b, _database: database }
    }

    /// Sent and delivered through node A; → the message.
    async fn deliver(&self, touser: &str) -> String {
        let sent = self.a.send(touser).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
        self.a.sandbox.deliver_receipts().await;
        sent.field("message_id")
    }

    async fn deliver_many(&self, prefix: &str, count: usize) -> Vec<(Value, Value)> {
        let mut expected = Vec::new();
        for n in 0..count {
            expected.extend(story(&self.deliver(&format!("{prefix}{n}")).await));
        }
        expected
    }
}

/// The events of a message that arrives: type and message.
fn story(id: &str) -> [(Value, Value); 2] {
    ["message.sent", "message.delivered"].map(|kind| (json!(kind), json!(id)))
}

fn told(event: &Value) -> (Value, Value) {
    (event["type"].clone(), event["data"]["message_id"].clone())
}

#[tokio::test]
async fn a_stream_at_one_node_tells_of_messages_of_the_other_and_goes_on_at_either() {
    let nodes = Nodes::open().await;
    let mut ear = Ear::open(&nodes.b, TYPES, None).await;
    let mut last = String::new();
    for expected in nodes.deliver_many("oFIRST", 3).await {
        let (id, event) = ear.next().await;
        assert_eq!(told(&event), expected);
        last = id;
    }
    drop(ear);
    // While nobody listens; then at A, then at B again.
    for node in [&nodes.a, &nodes.b] {
        let mut expected = nodes.deliver_many("oAWAY", 3).await;
        let mut ear = Ear::open(node, TYPES, Some(&last)).await;
        expected.extend(nodes.deliver_many("oBACK", 2).await);
        for expected in expected {
            let (id, event) = ear.next().await;
            assert_eq!(told(&event), expected);
            last = id;
        }
    }
}

#[tokio::test]
async fn a_websocket_at_one_node_tells_of_messages_of_the_other_and_goes_on_at_either() {
    let nodes = Nodes::open().await;
    let mut socket = events_ws::open(&nodes.b, TYPES).await;
    let mut last = String::new();
    for expected in nodes.deliver_many("oFIRST", 3).await {
        let event = events_ws::event(&mut socket).await;
        assert_eq!(told(&event), expected);
        last = event["id"].as_str().unwrap().to_owned();
    }
    drop(socket);
    for node in [&nodes.a, &nodes.b] {
        let mut expected = nodes.deliver_many("oAWAY", 3).await;
        let mut socket = events_ws::open(node, &format!("{TYPES}&after={last}")).await;
        expected.extend(nodes.deliver_many("oBACK", 2).await);
        for expected in expected {
            let event = events_ws::event(&mut socket).await;
            assert_eq!(told(&event), expected);
            last = event["id"].as_str().unwrap().to_owned();
        }
    }
}
