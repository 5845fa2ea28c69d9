//! `Outbox`.

use rstest::rstest;
use wxgate::domain::ids::BatchId;
use wxgate::domain::state::State;
use wxgate::store::{Accepted, Error};

use super::backend::Backend;
use super::build::{HOLD, at, key, look_up, message, path, shop};

#[rstest]
#[tokio::test]
async fn what_is_accepted_is_read_back_whole(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let mut new = message("o1", at(0));
    new.metadata = Some("{\"order\":\"7\"}".to_owned());
    new.batch_id = Some(BatchId::generate(at(0)));
    new.retry_of = Some(message("o1", at(0)).id);
    new.send_at = Some(at(30));
    let kept = new.clone();
    assert_eq!(house.stores.outbox.accept(new, None).await.unwrap(), Accepted::New);

    let read = look_up(&house.stores, kept.id).await;
    assert_eq!((read.state, read.next_attempt_at), (State::Scheduled, Some(at(30))));
    assert_eq!(path(&read), [State::Scheduled]);
    assert_eq!((read.account.as_str(), read.client.as_str(), &read.touser), ("shop", "crm", &kept.touser));
    assert_eq!((read.body, read.client_msg_id), (kept.body, kept.client_msg_id));
    assert_eq!((read.metadata, read.batch_id, read.retry_of), (kept.metadata, kept.batch_id, kept.retry_of));
    assert_eq!((read.created_at, read.expires_at, read.send_at), (at(0), kept.expires_at, Some(at(30))));
    assert!(read.attempts.is_empty() && read.msgid.is_none());
}

#[rstest]
#[tokio::test]
async fn the_first_lease_is_written_with_the_message(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let new = message("o1", at(0));
    let id = new.id;
    house.stores.outbox.accept(new, Some(HOLD)).await.unwrap();
    let read = look_up(&house.stores, id).await;
    assert_eq!((read.state, read.next_attempt_at), (State::Sending, None));
    assert_eq!(path(&read), [State::Queued, State::Sending]);
    assert_eq!(house.stores.queue.next_due(&shop()).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn a_key_gives_its_message_again_and_refuses_another_body(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let outbox = &house.stores.outbox;
    let mut first = message("o1", at(0));
    first.idempotency = key("k", "hash");
    let message_id = first.id;
    assert_eq!(outbox.accept(first, Some(HOLD)).await.unwrap(), Accepted::New);

    for (hash, answer) in [("hash", Accepted::Replay { message_id }), ("other", Accepted::Mismatch { message_id })] {
        let mut again = message("o1", at(1));
        again.idempotency = key("k", hash);
        let id = again.id;
        assert_eq!(outbox.accept(again, Some(HOLD)).await.unwrap(), answer);
        assert_eq!(house.stores.messages.look_up(id).await.unwrap(), None);
    }
    let mut foreign = message("o1", at(1));
    foreign.idempotency = key("k", "hash").map(|mut key| {
        key.client = "shop-front".to_owned();
        key
    });
    assert_eq!(outbox.accept(foreign, None).await.unwrap(), Accepted::New);
    assert_eq!(house.stores.counts.accepted(), 2);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_with_one_key_make_one_message(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let accepts: Vec<_> = (0..50)
        .map(|_| {
            let outbox = house.stores.outbox.clone();
            let mut new = message("o1", at(0));
            new.idempotency = key("k", "hash");
            tokio::spawn(async move { (new.id, outbox.accept(new, None).await.unwrap()) })
        })
        .collect();
    let mut new = Vec::new();
    let mut replayed = Vec::new();
    for accept in accepts {
        match accept.await.unwrap() {
            (id, Accepted::New) => new.push(id),
            (_, Accepted::Replay { message_id }) => replayed.push(message_id),
            (_, mismatch) => panic!("{mismatch:?}"),
        }
    }
    assert_eq!((new.len(), replayed.len()), (1, 49));
    assert!(replayed.iter().all(|id| *id == new[0]));
    assert_eq!(house.stores.counts.accepted(), 1);
}

/// Over a restart too, when what came before has to be read again.
#[rstest]
#[tokio::test]
async fn a_key_is_known_for_days(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let days = |n: i64| at(n * 86_400 - n * 1_000);
    let mut ids = Vec::new();
    for n in 0..7 {
        let mut new = message("o1", days(n));
        new.idempotency = key(&format!("k{n}"), "hash");
        ids.push(new.id);
        assert_eq!(house.stores.outbox.accept(new, None).await.unwrap(), Accepted::New);
    }
    for restarts in 0..2 {
        for (n, id) in ids.iter().enumerate() {
            let replay = Accepted::Replay { message_id: *id };
            let known = house.stores.outbox.known(&key(&format!("k{n}"), "hash").unwrap()).await.unwrap();
            assert_eq!(known.as_ref(), Some(&replay), "k{n} after {restarts}");
            let mut again = message("o1", days(7));
            again.idempotency = key(&format!("k{n}"), "hash");
            assert_eq!(house.stores.outbox.accept(again, None).await.unwrap(), replay, "k{n} after {restarts}");
        }
        assert_eq!(house.stores.outbox.known(&key("k7", "hash").unwrap()).await.unwrap(), None);
        house.restart().await;
    }
    assert_eq!(house.stores.counts.accepted(), 7);
}

#[rstest]
#[tokio::test]
async fn keys_are_forgotten_oldest_first_in_bounded_steps(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let outbox = &house.stores.outbox;
    for n in 0..5 {
        let mut new = message("o1", at(n));
        new.idempotency = key(&format!("k{n}"), "hash");
        outbox.accept(new, None).await.unwrap();
    }
    assert_eq!(outbox.forget_keys(at(4), 3).await.unwrap(), 3);
    assert_eq!(outbox.forget_keys(at(4), 3).await.unwrap(), 1);
    assert_eq!(outbox.forget_keys(at(4), 3).await.unwrap(), 0);
    for (n, remembered) in [(3, false), (4, true)] {
        let mut again = message("o1", at(9));
        again.idempotency = key(&format!("k{n}"), "hash");
        let replayed = outbox.accept(again, None).await.unwrap() != Accepted::New;
        assert_eq!(replayed, remembered, "k{n}");
    }
}

#[rstest]
#[tokio::test]
async fn a_poisonous_accept_hurts_nobody_else_in_its_batch(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let outbox = &house.stores.outbox;
    let taken = message("o1", at(0));
    outbox.accept(taken.clone(), None).await.unwrap();
    // The same id again, and a key that must not stay behind.
    let mut poison = taken.clone();
    poison.idempotency = key("k", "hash");
    let mut next = message("o2", at(1));
    next.idempotency = key("k", "hash");
    let (before, poisoned, after) = tokio::join!(
        outbox.accept(message("o3", at(1)), None),
        outbox.accept(poison, None),
        outbox.accept(next, None),
    );
    assert_eq!(before.unwrap(), Accepted::New);
    assert!(matches!(poisoned, Err(Error::Unavailable { .. })));
    assert_eq!(after.unwrap(), Accepted::New);
    assert_eq!((house.stores.counts.accepted(), house.stores.counts.unaccounted()), (3, 0));
}
