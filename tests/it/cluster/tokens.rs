//! One token for all nodes, whatever happens to a node or to Redis.

use std::time::{Duration, Instant};

use futures_util::future::join;
use wxgate::sandbox::Fault;

use super::bench::{Pair, hand_over, is_up, redis_errors, send, token};
use crate::binary::process::until;
use crate::harness::Way;

const TOKEN_API: &str = "/cgi-bin/stable_token";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_token_costs_two_nodes_one_refresh() {
    let mut pair = Pair::prepare().await;
    let programs = pair.start().await;
    for round in 1..=6 {
        pair.round(&programs).await;
        let (ours, theirs) = (token(&programs[0]).await, token(&programs[1]).await);
        let calls = pair.sandbox.token_calls();
        // The first token, and one for each that died.
        let extra = calls.normal - (round + 1).min(calls.normal);
        assert!(extra <= redis_errors(&programs).await, "round {round}: {calls:?}");
        assert_eq!(calls.forced, 0);
        assert_eq!(ours, theirs, "round {round}");
    }
    pair.nobody_got_it_twice();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_the_middle_of_a_refresh_holds_the_other_up_for_seconds_only() {
    let pair = Pair::prepare().await;
    let [ours, theirs] = pair.start().await;
    assert_eq!(send(&ours, "oFIRST").await.0, 200);
    assert_eq!(send(&theirs, "oSECOND").await.0, 200);
    let calls = pair.sandbox.calls(TOKEN_API);
    pair.sandbox.revoke_tokens();
    let slow = pair.sandbox.set_fault(Fault::slow(60_000).on(TOKEN_API));
    hand_over(&ours, "oLEFT_BEHIND").await;
    until("the refresh is under way", async || pair.sandbox.calls(TOKEN_API) > calls).await;
    let key = "wxgate:token-lock:shop:wx0000000000000demo";
    assert_eq!(pair.redis.command(&["EXISTS", key]).await, redis::Value::Int(1));
    ours.kill();
    pair.sandbox.remove_fault(slow);

    let begun = Instant::now();
    let (status, text) = send(&theirs, "oTHIRD").await;
    assert_eq!(status, 200, "{text}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // What the dead one had accepted is sent by its next start.
    let ours = pair.places[0].start().await;
    until("the message that was left behind has been sent", async || pair.sandbox.deliveries_to("oLEFT_BEHIND") == 1)
        .await;
    until("both have the same token", async || token(&ours).await == token(&theirs).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_at_any_moment_changes_nothing_but_the_number_of_calls() {
    let mut pair = Pair::prepare().await;
    let programs = pair.start().await;
    pair.round(&programs).await;
    pair.redis.command(&["FLUSHALL"]).await;
    pair.round(&programs).await;

    // In the middle of a refresh: the lock is gone, and the other node refreshes too.
    let slow = pair.sandbox.set_fault(Fault::slow(500).on(TOKEN_API));
    let (sandbox, mut raw) = (pair.sandbox.clone(), pair.redis.raw().await);
    let before = sandbox.calls(TOKEN_API);
    let flushes = async move {
        until("a refresh is under way", async || sandbox.calls(TOKEN_API) > before).await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut raw).await.unwrap();
    };
    join(pair.round(&programs), flushes).await;
    pair.sandbox.remove_fault(slow);
    pair.round(&programs).await;
    pair.nobody_got_it_twice();
    assert_eq!(token(&programs[0]).await, token(&programs[1]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_way_to_redis_is_slow_works_for_itself_and_joins_again() {
    let mut pair = Pair::prepare().await;
    let programs = pair.start().await;
    pair.round(&programs).await;
    let mut last = pair.shared_generation().await.unwrap();
    for way in [Way::Delay(Duration::from_secs(2)), Way::Pass, Way::Freeze, Way::Pass] {
        pair.roads[0].set(way);
        for _ in 0..4 {
            pair.round(&programs).await;
            let now = pair.shared_generation().await.unwrap();
            assert!(now >= last, "{now} after {last}: an older one overwrote a newer one");
            last = now;
        }
        if way == Way::Pass {
            until("the link is up again", async || is_up(&programs[0]).await).await;
        }
    }
    pair.round(&programs).await;
    pair.nobody_got_it_twice();
    assert_eq!(token(&programs[0]).await, token(&programs[1]).await);
}
