//! `Restore`: what a backup that was put back may have sent since.

use std::collections::BTreeMap;

use rstest::rstest;
use wxgate::domain::clock::Timestamp;
use wxgate::domain::message::NewMessage;
use wxgate::domain::state::{Lane, State};
use wxgate::domain::user::UserChange;
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{
    HOLD, WINDOW, act, at, callback, leased, look_up, message, path, receipt, sent, shop, to_queued, unknown,
};

async fn scheduled(stores: &Stores, account: &str, send_at: Timestamp) -> NewMessage {
    let mut new = message("o1", at(0));
    (new.account, new.send_at, new.expires_at) = (account.into(), Some(send_at), at(9_000));
    stores.outbox.accept(new.clone(), None).await.unwrap();
    new
}

#[rstest]
#[tokio::test]
async fn what_is_due_may_have_been_sent_and_what_is_due_later_cannot(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let stores = &house.stores;
    let queued = message("o1", at(0));
    let mut bulk = message("o1", at(0));
    bulk.lane = Lane::Bulk;
    for new in [&queued, &bulk] {
        stores.outbox.accept(new.clone(), None).await.unwrap();
    }
    let due = scheduled(stores, "shop", at(100)).await.id;
    let later = scheduled(stores, "shop", at(101)).await.id;
    let other = scheduled(stores, "mall", at(50)).await.id;
    let sending = leased(stores, message("o2", at(0))).await.message_id;
    let parked = leased(stores, message("o3", at(0))).await;
    let parked_id = parked.message_id;
    stores.queue.settle(parked, to_queued(at(500), Some(at(0))), at(1)).await.unwrap();
    let doubtful = leased(stores, message("o4", at(0))).await;
    let doubtful_id = doubtful.message_id;
    stores.queue.settle(doubtful, to_queued(at(9), Some(at(0))), at(1)).await.unwrap();
    let over = [sent(stores, "o5", "900").await, unknown(stores, "o6").await];

    let mut counts = BTreeMap::new();
    for line in stores.restore.at_stake(at(100)).await.unwrap() {
        counts.insert((line.account, line.lane, line.state), line.count);
    }
    let expected = [
        (("shop", Lane::Normal, State::Queued), 2),
        (("shop", Lane::Bulk, State::Queued), 1),
        (("shop", Lane::Normal, State::Scheduled), 1),
        (("mall", Lane::Normal, State::Scheduled), 1),
        (("shop", Lane::Normal, State::Sending), 1),
    ];
    let owned = expected.map(|((account, lane, state), count)| ((account.to_owned(), lane, state), count));
    assert_eq!(counts, BTreeMap::from(owned));

    // In batches, and once.
    let mut touched = Vec::new();
    for _ in 0..4 {
        touched.push(stores.restore.doubt(at(100), 4, None).await.unwrap());
    }
    assert_eq!(touched, [4, 2, 0, 0]);
    assert!(stores.restore.at_stake(at(100)).await.unwrap().is_empty());
    for id in [queued.id, bulk.id, due, other, sending, doubtful_id] {
        let read = look_up(stores, id).await;
        assert_eq!(
            (read.state, read.state_reason.as_deref(), read.updated_at),
            (State::Unknown, Some("restored"), at(100))
        );
        assert_eq!(path(&read).last(), Some(&State::Unknown));
        assert_eq!(read.history.last().unwrap().reason.as_deref(), Some("restored"));
    }
    assert_eq!(look_up(stores, later).await.state, State::Scheduled);
    assert_eq!(look_up(stores, parked_id).await.state, State::Queued);
    assert_eq!(look_up(stores, over[0]).await.state, State::Sent);
    assert_eq!(look_up(stores, over[1]).await.state_reason.as_deref(), Some("timeout"));
    assert_eq!(stores.counts.unaccounted(), 0);

    // Receipts of messages that the backup does not know come to the same people.
    stores.inbox.record(receipt("901", "o2", "success")).await.unwrap();
    assert_eq!(look_up(stores, sending).await.state, State::Unknown);
    house.restart().await;
    assert_eq!(house.stores.counts.unaccounted(), 0, "as written");
    let rescued = house.stores.queue.rescue(at(101), WINDOW, 9, &[]).await.unwrap();
    assert!(rescued.queued.is_empty() && rescued.unknown.is_empty());
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(100), HOLD).await.unwrap().is_empty());
}

#[rstest]
#[tokio::test]
async fn the_newest_date_is_that_of_whatever_came_last(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let newest = async || house.stores.restore.newest().await.unwrap();
    assert_eq!(newest().await, None);
    let mut new = message("o1", at(10));
    new.idempotency = super::build::key("k1", "hash");
    let lease = leased(&house.stores, new).await;
    assert_eq!(newest().await, Some(at(10)));
    house.stores.queue.settle(lease, to_queued(at(500), None), at(20)).await.unwrap();
    assert_eq!(newest().await, Some(at(20)), "a change, and no date that lies ahead");
    let mut later = callback("d1");
    later.received_at = at(30);
    house.stores.inbox.record(later).await.unwrap();
    assert_eq!(newest().await, Some(at(30)));
    let change = UserChange { user_id: Some(Some("u1".to_owned())), tags: None };
    house.stores.users.change("shop", &super::build::openid("o1"), change, at(40), act()).await.unwrap();
    assert_eq!(newest().await, Some(at(40)));
}

#[rstest]
#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    for touser in ["o1", "o2"] {
        house.stores.outbox.accept(message(touser, at(0)), None).await.unwrap();
    }
    house.execute("UPDATE messages SET on_unknown = 'perhaps' WHERE touser = 'o1'").await;
    assert_eq!(house.stores.restore.doubt(at(1), 9, None).await.unwrap(), 2);
    assert_eq!(house.stores.restore.doubt(at(1), 9, None).await.unwrap(), 0);
    assert_eq!(house.stores.counts.unaccounted(), 0);
}
