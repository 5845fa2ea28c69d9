//! Two nodes at the same row: what SQLite gets from its single writer has to hold here too.

use futures_util::FutureExt;
use futures_util::future::join_all;
use wxgate::domain::callback::Recorded;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, State};
use wxgate::store::Accepted;

use super::super::backend::Database;
use super::super::build::{
    HOLD, at, callback, key, leased, look_up, message, path, receipt, settlement, shop, to_queued, to_sent,
};
use super::open_as;

const ROUNDS: usize = 120;

/// Whichever comes first, the message is delivered, and the receipt waits for nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receipt_and_the_answer_it_belongs_to_always_meet() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    let mut early = 0;
    for n in 0..ROUNDS {
        let (user, msgid) = (format!("o{}", n % 3), n.to_string());
        let lease = leased(&a, message(&user, at(0))).await;
        let id = lease.message_id;
        let (settling, recording) = (a.queue.clone(), b.inbox.clone());
        let report = receipt(&msgid, &user, "success");
        let settled = tokio::spawn(async move { settling.settle(lease, to_sent(Some(&msgid)), at(2)).await.unwrap() });
        let recorded = tokio::spawn(async move { recording.record(report).await.unwrap() });
        recorded.await.unwrap();
        early += usize::from(settled.await.unwrap().state == State::Delivered);
        let message = look_up(&a, id).await;
        assert_eq!(message.state, State::Delivered, "round {n}: {:?}", path(&message));
    }
    assert_eq!(a.counts.unmatched_receipts().await.unwrap(), 0);
    assert!(early > 0 && early < ROUNDS, "one of the two was always first: {early} of {ROUNDS}");
    a.close().await;
    b.close().await;
}

/// The same without a `msgid`: the doubt and the receipt of one person.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receipt_and_the_doubt_it_ends_always_meet() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for n in 0..ROUNDS {
        let user = format!("o{n}");
        let lease = leased(&a, message(&user, at(0))).await;
        let id = lease.message_id;
        let next = if n % 2 == 0 {
            settlement(Next::Unknown { reason: "timeout".to_owned() })
        } else {
            to_queued(at(9), Some(at(0)))
        };
        let (settling, recording) = (a.queue.clone(), b.inbox.clone());
        let report = receipt(&n.to_string(), &user, "success");
        let settled = tokio::spawn(async move { settling.settle(lease, next, at(2)).await.unwrap() });
        let recorded = tokio::spawn(async move { recording.record(report).await.unwrap() });
        settled.await.unwrap();
        recorded.await.unwrap();
        assert_eq!(look_up(&a, id).await.state, State::Delivered, "round {n}");
    }
    assert_eq!(a.counts.unmatched_receipts().await.unwrap(), 0);
    a.close().await;
    b.close().await;
}

/// A message in doubt is lent again on one node while its receipt comes to the other: it is settled, or the receipt waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receipt_and_a_new_lease_do_not_both_have_the_message() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for n in 0..ROUNDS {
        let user = format!("o{n}");
        let lease = leased(&a, message(&user, at(0))).await;
        let id = lease.message_id;
        a.queue.settle(lease, to_queued(at(1), Some(at(0))), at(1)).await.unwrap();
        let (lending, recording) = (a.queue.clone(), b.inbox.clone());
        let report = receipt(&n.to_string(), &user, "success");
        let lent = tokio::spawn(async move { lending.lease(Lane::Normal, &shop(), 9, at(6), HOLD).await.unwrap() });
        let recorded = tokio::spawn(async move { recording.record(report).await.unwrap() });
        let lent = lent.await.unwrap();
        recorded.await.unwrap();
        let state = look_up(&a, id).await.state;
        match lent.into_iter().next() {
            None => assert_eq!(state, State::Delivered, "round {n}"),
            Some(lease) => {
                assert_eq!(state, State::Sending, "round {n}");
                // The attempt finds nobody at the other end; the receipt that waited settles it.
                let next = settlement(Next::Unknown { reason: "timeout".to_owned() });
                assert_eq!(a.queue.settle(lease, next, at(7)).await.unwrap().state, State::Delivered, "round {n}");
            }
        }
    }
    assert_eq!((a.counts.unmatched_receipts().await.unwrap(), a.counts.unaccounted()), (0, 0));
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_on_both_nodes_makes_one_message() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for round in 0..10 {
        let accepts = (0..20).map(|n| {
            let outbox = if n % 2 == 0 { a.outbox.clone() } else { b.outbox.clone() };
            let mut new = message("o1", at(round));
            new.idempotency = key(&round.to_string(), "hash");
            let id = new.id;
            tokio::spawn(async move { (id, outbox.accept(new, None).await.unwrap()) })
        });
        let answers: Vec<_> = join_all(accepts).await.into_iter().map(Result::unwrap).collect();
        let new: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Accepted::New).collect();
        let [(first, _)] = new[..] else { panic!("{answers:?}") };
        let replay = Accepted::Replay { message_id: *first };
        assert!(answers.iter().all(|(_, answer)| *answer == Accepted::New || *answer == replay), "{answers:?}");
    }
    let rows: Vec<i64> = database.column("SELECT count(*) FROM messages").await;
    assert_eq!(rows, [10]);
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_callback_that_comes_to_both_nodes_is_one() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for round in 0..20 {
        let records = (0..6).map(|n| {
            let inbox = if n % 2 == 0 { a.inbox.clone() } else { b.inbox.clone() };
            let mut callback = callback(&format!("k{round}"));
            callback.reply = Some(format!("{n}"));
            tokio::spawn(async move { (n, inbox.record(callback).await.unwrap()) })
        });
        let answers: Vec<_> = join_all(records).await.into_iter().map(Result::unwrap).collect();
        let first: Vec<_> = answers.iter().filter(|(_, answer)| matches!(answer, Recorded::First { .. })).collect();
        let [(first, _)] = first[..] else { panic!("{answers:?}") };
        let seen = Recorded::Seen { reply: Some(first.to_string()), relay: None };
        assert_eq!(answers.iter().filter(|(_, answer)| *answer == seen).count(), 5, "everybody gets the first reply");
    }
    a.close().await;
    b.close().await;
}

/// Repairs run on every node at once: each row is touched by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repairs_of_two_nodes_share_the_rows() {
    let database = Database::create().await;
    let (a, b) = (open_as(&database, "a").await, open_as(&database, "b").await);
    for n in 0..60 {
        a.outbox.accept(message("o1", at(n)), None).await.unwrap();
    }
    let repairs = [&a, &b, &a, &b].map(|stores| {
        let queue = stores.queue.clone();
        tokio::spawn(async move { queue.expire(at(10_000), 500).await.unwrap().len() })
    });
    let mut touched = 0;
    for repair in repairs {
        touched += repair.await.unwrap();
    }
    assert_eq!(touched, 60);
    super::until("the figures agree", async || {
        b.counts.states().iter().map(|line| (line.state, line.count)).collect::<Vec<_>>() == [(State::Expired, 60)]
    })
    .await;
    a.close().await;
    b.close().await;
}

/// Somebody else locks two rows the other way round, and PostgreSQL ends our transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadlock_costs_time_and_nothing_else() {
    let database = Database::create().await;
    let stores = open_as(&database, "a").await;
    let leases = [
        leased(&stores, message("o1", at(0))).await,
        leased(&stores, message("o1", at(1))).await,
        leased(&stores, message("o1", at(2))).await,
    ];
    let ids = leases.each_ref().map(|lease| lease.message_id);
    let lock = |n: usize| format!("SELECT 1 FROM messages WHERE id = '{}' FOR UPDATE", ids[n]);
    // The first settlement waits, so that the other two come together behind it.
    let (plug, rival) = (database.connect().await, database.connect().await);
    plug.batch_execute(&format!("BEGIN; {}", lock(0))).await.unwrap();
    rival.batch_execute(&format!("SET deadlock_timeout = '60s'; BEGIN; {}", lock(2))).await.unwrap();
    // Polled once, each has its place in the writer's row.
    let settle = |n: usize| {
        let mut settling = stores.queue.settle(leases[n].clone(), to_sent(Some(&n.to_string())), at(5));
        assert!((&mut settling).now_or_never().is_none());
        settling
    };
    let first = settle(0);
    super::until("the writer waits", async || {
        let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        database.column::<i32>(waits).await.len() == 1
    })
    .await;
    let behind = [settle(1), settle(2)];
    plug.batch_execute("COMMIT").await.unwrap();
    super::until("the writer has the second row", async || {
        database.column::<i32>(&format!("{} SKIP LOCKED", lock(1))).await.is_empty()
    })
    .await;
    rival.batch_execute(&format!("{}; COMMIT", lock(1))).await.unwrap();
    for settling in std::iter::once(first).chain(behind) {
        assert!(settling.await.unwrap().applied);
    }
    stores.close().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    super::until("it was a deadlock", async || database.column::<i64>(deadlocks).await[0] > 0).await;
}
