//! Several nodes, one account: who fetches, and whose number counts, with and without Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join;
use wxgate::domain::token::AccessToken;

use super::bench::{Board, Node, Slow, token};
use crate::harness::World;

#[tokio::test]
async fn two_nodes_with_one_redis_fetch_and_renew_once_for_both() {
    let world = World::start().await;
    let board = Arc::new(Board::default());
    let (ours, theirs) = (Node::sharing(&world, board.clone()), Node::sharing(&world, board.clone()));
    let (first, same) = join(ours.current(), theirs.current()).await;
    assert_eq!((first.generation, &first.token), (1, &same.token));
    assert_eq!(world.sandbox.token_calls().normal, 1);

    world.sandbox.revoke_tokens();
    let (second, same) = join(ours.renew(&first), theirs.renew(&first)).await;
    assert_eq!((second.generation, &second.token), (2, &same.token));
    let calls = world.sandbox.token_calls();
    assert_eq!((calls.normal, calls.forced), (2, 0));

    world.sandbox.refuse_tokens();
    let (third, same) = join(ours.renew(&second), theirs.renew(&second)).await;
    assert_eq!((third.generation, &third.token), (3, &same.token));
    assert_eq!(world.sandbox.token_calls().forced, 1);
}

#[tokio::test]
async fn the_right_to_refresh_outlasts_a_normal_and_a_forced_call() {
    let world = World::start().await;
    let board = Arc::new(Board::default());
    let node = Node::sharing(&world, board.clone());
    let first = node.current().await;
    world.sandbox.refuse_tokens();
    node.renew(&first).await;
    // The bench lets one call take 20 s.
    assert!(board.holds.lock().unwrap().iter().all(|hold| *hold >= Duration::from_secs(40)));
    assert_eq!(board.holds.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_mark_of_another_nodes_force_holds_here_too() {
    let world = World::start().await;
    let board = Arc::new(Board::default());
    let (ours, theirs) = (Node::sharing(&world, board.clone()), Node::sharing(&world, board.clone()));
    let first = ours.current().await;
    theirs.current().await;
    world.sandbox.refuse_tokens();
    let second = ours.renew(&first).await;
    assert_eq!(theirs.renew(&first).await.token, second.token);
    world.sandbox.refuse_tokens();
    let error = theirs.tokens.renew("shop", second.generation).await.unwrap_err();
    assert!(error.to_string().contains("30 s"), "{error}");
    assert_eq!(world.sandbox.token_calls().forced, 1);
}

#[tokio::test]
async fn a_fresh_token_outranks_every_number_that_anybody_counted() {
    let world = World::start().await;
    let board = Arc::new(Board::default());
    let node = Node::sharing(&world, board.clone());
    node.current().await;
    // Others counted further, with tokens that are dead or belong to nobody.
    *board.token.lock().unwrap() = Some(token(&world, "dead", 9));
    *node.sql.token.lock().unwrap() = Some(token(&world, "older", 12));
    world.sandbox.revoke_tokens();
    let borrowed = node.tokens.renew("shop", 1).await.unwrap();
    assert_eq!(borrowed.generation, 9, "nobody knows yet that it is dead");
    let fresh = node.renew(&borrowed).await;
    assert_eq!(fresh.generation, 13);
    let as_kept = |place: &std::sync::Mutex<Option<AccessToken>>| place.lock().unwrap().clone();
    assert_eq!(as_kept(&board.token).as_ref(), Some(&*fresh));
    assert_eq!(as_kept(&node.sql.token).as_ref(), Some(&*fresh));
}

#[tokio::test]
async fn a_node_that_counted_further_finds_the_living_token_after_a_flush() {
    let world = World::start().await;
    let board = Arc::new(Board::default());
    let (ours, theirs) = (Node::sharing(&world, board.clone()), Node::sharing(&world, board.clone()));
    *ours.sql.token.lock().unwrap() = Some(token(&world, "dead", 9));
    let dead = ours.current().await;
    assert_eq!(dead.generation, 9);
    // Redis is flushed, and the other node starts to count anew.
    let living = theirs.current().await;
    assert_eq!(living.generation, 1);
    let found = ours.renew(&dead).await;
    assert_eq!((&found.token, found.generation), (&living.token, 10));
    // The next one is the same for both.
    world.sandbox.revoke_tokens();
    let next = theirs.tokens.renew("shop", 1).await.unwrap();
    assert_eq!(next.generation, 10, "borrowed first, as its text is not known to be the refused one");
    let next = theirs.renew(&next).await;
    assert_eq!((next.generation, ours.renew(&found).await.token.clone()), (11, next.token.clone()));
}

#[tokio::test]
async fn a_living_token_is_served_while_redis_hangs() {
    let world = World::start().await;
    let node = Node::sharing(&world, Arc::new(Slow { answers_after: None, gives_up: true }));
    let first = node.current().await;
    assert_eq!(first.generation, 1, "a silent Redis costs time, no token");
    world.clock.advance(Duration::from_secs(7_000));
    assert_eq!(node.tokens.refresh_due(), 1);
    let served = node.tokens.current("shop").now_or_never();
    assert_eq!(served.unwrap().unwrap(), first, "at once, beside the refresh");
}

#[tokio::test]
async fn all_that_a_refresh_asks_of_redis_counts_together() {
    let world = World::start().await;
    let answers_after = Some(Duration::from_millis(60));
    let node = Node::sharing(&world, Arc::new(Slow { answers_after, gives_up: true }));
    let begun = Instant::now();
    assert_eq!(node.current().await.generation, 1);
    // The first question takes 60 ms, the second is given up after 40, and the others are not asked.
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn not_even_a_redis_door_that_never_gives_up_holds_up_a_living_token() {
    let world = World::start().await;
    let node = Node::sharing(&world, Arc::new(Slow { answers_after: None, gives_up: false }));
    *node.sql.token.lock().unwrap() = Some(token(&world, "kept", 4));
    assert_eq!(node.tokens.refresh_due(), 1);
    // The flight has read SQL before it got stuck.
    while node.tokens.status("shop").unwrap().generation.is_none() {
        tokio::task::yield_now().await;
    }
    let served = node.tokens.current("shop").now_or_never();
    assert_eq!(served.unwrap().unwrap().generation, 4);
}
