//! Nodes with one Redis whose clocks disagree by seconds.

use std::sync::Arc;
use std::time::Duration;

use wxgate::domain::clock::{Clock, ManualClock, SystemClock};

use crate::harness::{RedisServer, Setup, TestApp, World};

const APART: Duration = Duration::from_secs(5);

/// Two gateways, one ahead of WeChat's clock and one behind it.
struct Skewed {
    fast: TestApp,
    slow: TestApp,
    world: World,
    _redis: RedisServer,
}

impl Skewed {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let now = SystemClock.now();
        let world = World::starting_at(now).await;
        let node = async |clock: ManualClock| {
            let world = World { clock: Arc::new(clock), ..world.clone() };
            let config = format!(
                "[redis]\nurl = \"redis://127.0.0.1:{}\"\n[secrets]\nkey = \"{}=\"\n",
                redis.port,
                "A".repeat(43)
            );
            TestApp::start_with(Setup { config, world: Some(world), ..Setup::default() }).await
        };
        let fast = node(ManualClock::starting_at(now.plus(APART))).await;
        let slow = node(ManualClock::starting_at(now.minus(APART))).await;
        Self { fast, slow, world, _redis: redis }
    }

    fn both(&self) -> [&TestApp; 2] {
        [&self.fast, &self.slow]
    }

    /// Time passes everywhere.
    async fn advance(&self, span: Duration) {
        self.world.clock.advance(span);
        for node in self.both() {
            node.advance(span).await;
        }
    }

    /// Each node sends; all of it arrives once.
    async fn send(&self, name: &str) {
        for (number, node) in self.both().into_iter().enumerate() {
            let person = format!("{name}{number}");
            let reply = node.send(&person).await;
            assert_eq!(reply.status, 200, "{person}: {}", reply.text);
            assert_eq!(self.world.sandbox.deliveries_to(&person), 1, "{person}");
        }
    }

    async fn have_the_same_token(&self) {
        let token = async |node: &TestApp| {
            let body = node.get("/v1/accounts/shop/token").send().await.json();
            (body["access_token"].clone(), body["generation"].clone())
        };
        assert_eq!(token(&self.fast).await, token(&self.slow).await);
    }
}

#[tokio::test]
async fn clocks_that_disagree_share_one_token_and_refresh_it_once() {
    let nodes = Skewed::start().await;
    nodes.send("oFIRST").await;
    assert_eq!(nodes.world.sandbox.token_calls().normal, 1);
    nodes.world.sandbox.revoke_tokens();
    nodes.send("oSECOND").await;
    assert_eq!(nodes.world.sandbox.token_calls().normal, 2);
    nodes.have_the_same_token().await;
}

#[tokio::test]
async fn the_end_of_a_token_is_met_by_clocks_that_disagree() {
    let nodes = Skewed::start().await;
    nodes.send("oFIRST").await;
    // It was fetched by the one whose clock runs ahead: to both it lives on for seconds when WeChat refuses it already.
    nodes.advance(Duration::from_secs(7_200)).await;
    nodes.send("oSECOND").await;
    let calls = nodes.world.sandbox.token_calls();
    assert_eq!((calls.normal, calls.forced), (2, 0));
    nodes.have_the_same_token().await;
}

#[tokio::test]
async fn the_background_refresh_of_clocks_that_disagree_is_one_for_both() {
    let nodes = Skewed::start().await;
    nodes.send("oFIRST").await;
    nodes.advance(Duration::from_secs(7_200 - 280)).await;
    for round in 0..3 {
        for node in nodes.both() {
            node.tick().await;
        }
        nodes.send(&format!("oTICK{round}-")).await;
        nodes.advance(Duration::from_secs(1)).await;
    }
    let calls = nodes.world.sandbox.token_calls();
    assert_eq!((calls.normal, calls.forced), (2, 0));
    nodes.have_the_same_token().await;
}

#[tokio::test]
async fn a_forced_refresh_is_not_repeated_by_a_node_whose_clock_is_behind() {
    let nodes = Skewed::start().await;
    nodes.send("oFIRST").await;
    nodes.world.sandbox.refuse_tokens();
    nodes.send("oSECOND").await;
    assert_eq!(nodes.world.sandbox.token_calls().forced, 1);
    // Refused again at once: the mark of the node that is ahead holds for the one behind.
    nodes.world.sandbox.refuse_tokens();
    let reply = nodes.slow.send_async("oTHIRD").await;
    nodes.slow.run_until_idle().await;
    assert_eq!(nodes.world.sandbox.token_calls().forced, 1);
    assert_eq!(nodes.slow.state_of(&reply.field("message_id")).await, "queued");
    nodes.advance(Duration::from_secs(120)).await;
    nodes.slow.run_until_idle().await;
    assert_eq!(nodes.slow.state_of(&reply.field("message_id")).await, "sent");
    assert_eq!(nodes.world.sandbox.token_calls().forced, 2);
}
