//! `Counts`.

use rstest::rstest;
use wxgate::domain::state::{Lane, State};
use wxgate::store::StateCount;

use super::backend::Backend;
use super::build::{HOLD, at, leased, message, sent, shop, to_queued};

fn line(account: &str, lane: Lane, state: State, count: u64) -> StateCount {
    StateCount { account: account.to_owned(), lane, state, count }
}

#[rstest]
#[tokio::test]
async fn figures_follow_the_messages_over_a_restart(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    sent(&house.stores, "o1", "900").await;
    let mut bulk = message("o1", at(0));
    bulk.lane = Lane::Bulk;
    bulk.account = "other".into();
    house.stores.outbox.accept(bulk, None).await.unwrap();
    leased(&house.stores, message("o2", at(0))).await;
    let expected = [
        line("other", Lane::Bulk, State::Queued, 1),
        line("shop", Lane::Normal, State::Sending, 1),
        line("shop", Lane::Normal, State::Sent, 1),
    ];
    for _ in 0..2 {
        assert_eq!(house.stores.counts.states(), expected);
        assert_eq!((house.stores.counts.accepted(), house.stores.counts.unaccounted()), (3, 0));
        house.restart().await;
    }
}

#[rstest]
#[tokio::test]
async fn the_oldest_ready_is_the_first_that_is_due(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let counts = &house.stores.counts;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    house.stores.queue.settle(lease, to_queued(at(10), None), at(1)).await.unwrap();
    let mut urgent = message("o1", at(0));
    (urgent.lane, urgent.send_at) = (Lane::Urgent, Some(at(20)));
    house.stores.outbox.accept(urgent, None).await.unwrap();
    assert_eq!(counts.oldest_ready(at(9)).await.unwrap(), None);
    assert_eq!(counts.oldest_ready(at(10)).await.unwrap(), Some(at(10)));
    house.stores.queue.lease(Lane::Normal, &shop(), 1, at(20), HOLD).await.unwrap();
    assert_eq!(counts.oldest_ready(at(25)).await.unwrap(), Some(at(20)));
}

#[rstest]
#[tokio::test]
async fn the_probe_writes_and_reads_until_the_store_is_closed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    house.stores.counts.probe().await.unwrap();
    house.stores.counts.probe().await.unwrap();
    house.stores.close().await;
    assert!(house.stores.counts.probe().await.is_err());
}
