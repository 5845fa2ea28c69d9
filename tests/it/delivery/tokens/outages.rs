//! WeChat out of reach, answers lost, a clock set back, a bug of ours: the engine comes back by itself, and soon.

use std::sync::atomic::Ordering;
use std::time::Duration;

use wxgate::domain::clock::Clock;
use wxgate::sandbox::{Fault, FaultKind};
use wxgate::services::tokens::TokenError;

use super::TOKEN_API;
use super::bench::{ClosedFront, Node};
use crate::harness::World;

const SECOND: Duration = Duration::from_secs(1);

/// Ticks each second of this span and lets each refresh that begins end. → how many began
async fn tick_for(node: &Node, world: &World, span: Duration) -> u64 {
    let (mut begun, end) = (0, world.clock.now().plus(span));
    while world.clock.now() < end {
        if node.tokens.refresh_due() > 0 {
            begun += 1;
            let _ = node.tokens.current("shop").await;
        }
        world.clock.advance(SECOND);
    }
    begun
}

#[tokio::test]
async fn an_outage_of_the_line_costs_no_budget_and_ends_within_half_a_minute() {
    let world = World::start().await;
    let front = ClosedFront::new();
    let node = Node::with(&world, &front.base_url, None, 5);
    let tries = tick_for(&node, &world, Duration::from_secs(1_800)).await;
    assert!((60..=70).contains(&tries), "a pause of at most 30 s: {tries}");
    assert_eq!(*node.sql.raised.lock().unwrap(), ["token.refresh_failing"], "told once, not for every try");
    assert!(!node.tokens.can_send("shop"));
    front.open(&world);
    tick_for(&node, &world, Duration::from_secs(31)).await;
    assert!(node.tokens.can_send("shop"));
    assert_eq!(node.tokens.status("shop").unwrap().state, "ready");
}

#[tokio::test]
async fn an_outage_that_swallows_calls_leaves_budget_for_its_end() {
    let world = World::start().await;
    let node = Node::with(&world, &world.sandbox_url, None, 30);
    world.sandbox.set_fault(Fault::http(502).on(TOKEN_API));
    let tries = tick_for(&node, &world, Duration::from_secs(3 * 3_600)).await;
    assert!((30..=3 * 30).contains(&tries), "{tries}");
    let problem = node.tokens.status("shop").unwrap().problem.unwrap();
    assert!(!problem.contains("used up"), "{problem}");
    world.sandbox.clear_faults();
    tick_for(&node, &world, Duration::from_secs(241)).await;
    assert_eq!(node.tokens.status("shop").unwrap().state, "ready", "within twice an even share of the hour");
}

#[tokio::test]
async fn a_forced_refresh_whose_answer_is_lost_counts() {
    let world = World::start().await;
    let node = Node::of(&world);
    let first = node.current().await;
    world.clock.advance(Duration::from_secs(60));
    world.sandbox.refuse_tokens();
    // The normal call is answered; the forced one is not, and WeChat never saw it.
    world.sandbox.set_fault(Fault::of(FaultKind::ResetBefore).on(TOKEN_API).every(2).times(1));
    assert!(node.tokens.renew("shop", first.generation).await.is_err());
    let kept = node.sql.token.lock().unwrap().clone().unwrap();
    assert_eq!((kept.forced_at, kept.forced_today), (Some(world.clock.now()), 1));

    world.clock.advance(Duration::from_secs(10));
    let error = node.tokens.renew("shop", first.generation).await.unwrap_err();
    assert!(error.to_string().contains("30 s"), "{error}");
    // A restart forgets neither.
    let restarted = Node::of(&world);
    *restarted.sql.token.lock().unwrap() = Some(kept);
    let error = restarted.tokens.renew("shop", first.generation).await.unwrap_err();
    assert!(error.to_string().contains("30 s"), "{error}");
    assert_eq!(world.sandbox.token_calls().issued, 1);

    world.clock.advance(Duration::from_secs(30));
    let second = node.renew(&first).await;
    assert_eq!((second.generation, second.forced_today), (2, 2));
}

#[tokio::test]
async fn a_token_that_our_own_lost_force_killed_is_no_conflict() {
    let world = World::start().await;
    let node = Node::of(&world);
    let first = node.current().await;
    world.clock.advance(Duration::from_secs(60));
    world.sandbox.refuse_tokens();
    // WeChat does as it is told, and the answer is lost.
    world.sandbox.set_fault(Fault::of(FaultKind::Reset).on(TOKEN_API).every(2).times(1));
    assert!(node.tokens.renew("shop", first.generation).await.is_err());
    world.clock.advance(Duration::from_secs(5));
    let second = node.renew(&first).await;
    assert_eq!((second.generation, world.sandbox.token_calls().issued), (2, 2));
    assert_eq!(node.refreshes("conflict"), 0);
    assert_eq!(*node.sql.raised.lock().unwrap(), ["token.refresh_failing"]);
}

#[tokio::test]
async fn a_refresh_that_breaks_down_is_over_though_nobody_waits_for_it() {
    let world = World::start().await;
    let node = Node::of(&world);
    node.sql.panics.store(true, Ordering::SeqCst);
    assert_eq!(node.tokens.refresh_due(), 1);
    while node.sql.panics.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    assert!(!node.tokens.can_send("shop"), "it counts as a failure");
    world.clock.advance(SECOND);
    assert_eq!(node.tokens.refresh_due(), 1, "and the next one may begin");
    assert_eq!(node.current().await.generation, 1);
}

#[tokio::test]
async fn who_waits_for_a_refresh_that_breaks_down_is_told() {
    let world = World::start().await;
    let node = Node::of(&world);
    node.sql.panics.store(true, Ordering::SeqCst);
    assert!(matches!(node.tokens.current("shop").await, Err(TokenError::Unavailable { .. })));
}

#[tokio::test]
async fn a_clock_that_is_set_back_by_hours_does_not_prolong_a_pause_or_the_budget() {
    let world = World::start().await;
    let node = Node::with(&world, &world.sandbox_url, None, 1);
    world.sandbox.set_fault(Fault::errcode(40164).on(TOKEN_API));
    assert!(node.tokens.current("shop").await.is_err());
    world.clock.advance(SECOND);
    assert!(!node.tokens.can_send("shop"), "a pause of a minute");
    world.clock.set(world.clock.now().minus(Duration::from_secs(5 * 3_600)));
    assert!(!node.tokens.can_send("shop"), "the clock alone ends no pause");
    world.clock.advance(Duration::from_secs(60));
    assert!(node.tokens.can_send("shop"));
    world.sandbox.clear_faults();
    let error = node.tokens.current("shop").await.unwrap_err();
    assert!(error.to_string().contains("used up"), "one an hour: {error}");
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(node.current().await.generation, 1);
}

#[tokio::test]
async fn sending_is_worthwhile_unless_no_token_lives_and_none_may_be_fetched() {
    let world = World::start().await;
    let node = Node::of(&world);
    assert!(node.tokens.can_send("shop"), "none was asked for yet");
    assert!(node.tokens.can_send("nowhere"), "not for us to say");
    node.current().await;
    world.sandbox.set_fault(Fault::errcode(40125).on(TOKEN_API));
    world.clock.advance(Duration::from_secs(7_000));
    assert_eq!(node.tokens.refresh_due(), 1);
    while node.refreshes("failed") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(node.tokens.can_send("shop"), "the last good one lives");
    world.clock.advance(Duration::from_secs(200));
    assert!(node.tokens.can_send("shop"), "it is dead, but the pause is over");
    assert!(node.tokens.current("shop").await.is_err());
    assert!(!node.tokens.can_send("shop"));
}

#[tokio::test]
async fn a_token_refused_again_is_an_alarm_once() {
    let world = World::start().await;
    let node = Node::of(&world);
    for generation in [2, 2, 2, 3] {
        node.tokens.report_refused_again("shop", generation);
    }
    node.tokens.report_refused_again("nowhere", 2);
    assert_eq!(node.refreshes("refused_again"), 2);
}
