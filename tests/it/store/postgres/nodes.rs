//! Several nodes, one database: work is done once, the dead are replaced, the living are left alone, news gets round.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use wxgate::domain::state::{Lane, State};
use wxgate::store::{Change, Stores};

use super::super::backend::Database;
use super::super::build::{HOLD, WINDOW, at, leased, look_up, message, shop, to_queued, to_sent};
use super::{Mortal, open_as, until};

async fn lease_all(stores: Stores) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let lent = stores.queue.lease(Lane::Normal, &shop(), 7, at(500), HOLD).await.unwrap();
        if lent.is_empty() {
            return ids;
        }
        ids.extend(lent.iter().map(|lease| lease.message_id.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn work_is_lent_once_whoever_asks() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for n in 0..300 {
        a.outbox.accept(message("o1", at(n)), None).await.unwrap();
    }
    let takers = [&a, &b, &a, &b].map(|stores| tokio::spawn(lease_all(stores.clone())));
    let mut lent = Vec::new();
    for taker in takers {
        lent.extend(taker.await.unwrap());
    }
    assert_eq!((lent.len(), lent.iter().collect::<HashSet<_>>().len()), (300, 300));
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_held_is_taken_back_and_what_a_living_one_holds_is_not() {
    let database = Database::create().await;
    let (a, b) = (Mortal::open(&database, "a").await, open_as(&database, "b").await);
    let held = leased(&a.stores, message("o1", at(0))).await;
    // Long after the lease has ended, too: whoever holds it lives and will see to it.
    for _ in 0..3 {
        let rescued = b.queue.rescue(at(1000), WINDOW, 9, &[]).await.unwrap();
        assert_eq!(rescued, wxgate::store::Rescued::default());
    }
    a.die();
    until("b takes it back", async || {
        b.queue.rescue(at(100), WINDOW, 9, &[]).await.unwrap().queued == [held.message_id]
    })
    .await;
    let again = b.queue.lease(Lane::Normal, &shop(), 9, at(101), HOLD).await.unwrap();
    assert_eq!((again.len(), again[0].generation, again[0].doubtful_since), (1, 2, Some(at(0))));
    // The dead one's result comes late: somebody else holds it now.
    let late = b.queue.settle(held, to_sent(Some("900")), at(102)).await.unwrap();
    assert!(!late.applied && late.state == State::Sending);
    assert!(b.queue.settle(again[0].clone(), to_sent(Some("901")), at(103)).await.unwrap().applied);
    // Its figures outlive it.
    until("the figures of the dead are counted", async || (b.counts.accepted(), b.counts.unaccounted()) == (1, 0))
        .await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_again_in_the_same_place_need_not_wait() {
    let database = Database::create().await;
    let before = Mortal::open(&database, "a").await;
    let held = leased(&before.stores, message("o1", at(0))).await;
    before.die();
    let begun = std::time::Instant::now();
    let after = open_as(&database, "a").await;
    until("it takes back its own", async || {
        after.queue.rescue(at(1), WINDOW, 9, &[]).await.unwrap().queued == [held.message_id]
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(4), "others wait five seconds, {:?}", begun.elapsed());
    after.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_in_good_order_leaves_nothing_behind() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    let held = leased(&a, message("o1", at(0))).await;
    a.close().await;
    let rescued = b.queue.rescue(at(1), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued.queued, [held.message_id]);
    let left: Vec<String> = database.column("SELECT name FROM nodes").await;
    assert_eq!(left.len(), 1, "{left:?}");
    let boots: Vec<String> = database.column("SELECT DISTINCT boot FROM counts UNION SELECT boot FROM totals").await;
    assert!(boots.len() <= 2, "the nodes' own and none: {boots:?}");
    b.close().await;
    let boots: Vec<String> = database.column("SELECT DISTINCT boot FROM counts UNION SELECT boot FROM totals").await;
    assert_eq!(boots, [""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_those_of_all_nodes() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for n in 0..3 {
        a.outbox.accept(message("o1", at(n)), None).await.unwrap();
        b.outbox.accept(message("o1", at(n)), None).await.unwrap();
    }
    assert_eq!((a.counts.accepted(), a.counts.unaccounted()), (3, 0), "its own are there at once");
    for stores in [&a, &b] {
        until("both know of all", async || (stores.counts.accepted(), stores.counts.unaccounted()) == (6, 0)).await;
        let states = stores.counts.states();
        assert_eq!(states.iter().map(|line| (line.state, line.count)).collect::<Vec<_>>(), [(State::Queued, 6)]);
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_does_the_others_hear() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    // A node tells nobody until it has seen that there is somebody.
    let mut heard = b.queue.changed();
    until("b hears of work", async || {
        a.outbox.accept(message("o1", at(0)), None).await.unwrap();
        tokio::time::timeout(Duration::from_millis(100), &mut heard).await == Ok(Change::Due)
    })
    .await;

    let lent = b.queue.lease(Lane::Normal, &shop(), 9, at(1), HOLD).await.unwrap();
    let ended = lent[0].clone();
    b.queue.settle(ended.clone(), to_sent(Some("900")), at(2)).await.unwrap();
    let mut told = a.queue.changed().await;
    while told == Change::Due {
        told = a.queue.changed().await;
    }
    assert_eq!(told, Change::Ended(ended.message_id));

    // A repeat that is due now is work too; one's own news is none.
    if let Some(lease) = lent.get(1).cloned() {
        b.queue.settle(lease, to_queued(at(2), None), at(2)).await.unwrap();
        assert_eq!(a.queue.changed().await, Change::Due);
    }
    assert!(b.queue.changed().now_or_never().is_none());
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_presence_shows_itself_again() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    let held = leased(&a, message("o1", at(0))).await;
    let pids: Vec<i32> = database
        .column("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wxgate presence%'")
        .await;
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wxgate presence%'").await;
    until("both are back", async || {
        let now: Vec<i32> = database
            .column("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wxgate presence%'")
            .await;
        now.len() == 2 && now.iter().all(|pid| !pids.contains(pid))
    })
    .await;
    // Nobody was taken for dead meanwhile.
    let rescued = b.queue.rescue(at(1000), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued, wxgate::store::Rescued::default());
    assert!(a.queue.settle(held.clone(), to_sent(Some("900")), at(2)).await.unwrap().applied);
    assert_eq!(look_up(&b, held.message_id).await.state, State::Sent);
    a.close().await;
    b.close().await;
}
