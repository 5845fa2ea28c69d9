//! A message that takes the process down with it each time.

use rstest::rstest;
use wxgate::domain::state::{Lane, State};
use wxgate::store::Rescued;

use super::backend::{Backend, House};
use super::build::{HOLD, WINDOW, at, leased, look_up, message, path, receipt, shop, to_queued, to_sent};

/// The gateway dies and comes back.
async fn crash(house: &mut House, second: i64) -> Rescued {
    house.restart().await;
    house.stores.queue.rescue(at(second), WINDOW, 9, &[]).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn after_three_crashes_in_a_row_it_is_quarantined(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let id = leased(&house.stores, message("o1", at(0))).await.message_id;
    for second in [1, 2] {
        assert_eq!(crash(&mut house, second).await.queued, [id]);
        let lent = house.stores.queue.lease(Lane::Normal, &shop(), 9, at(second), HOLD).await.unwrap();
        assert_eq!(lent.len(), 1);
    }
    let rescued = crash(&mut house, 3).await;
    assert_eq!((rescued.quarantined, rescued.queued.len(), rescued.unknown.len()), (vec![id], 0, 0));
    let read = look_up(&house.stores, id).await;
    assert_eq!((read.state, read.state_reason.as_deref()), (State::Unknown, Some("quarantined")));
    assert_eq!(path(&read).last(), Some(&State::Unknown));
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(4), HOLD).await.unwrap().is_empty());
    assert_eq!(house.stores.counts.unaccounted(), 0);
    // It may be there, and its receipt says so.
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    assert_eq!(look_up(&house.stores, id).await.state, State::Delivered);
}

#[rstest]
#[tokio::test]
async fn an_attempt_that_ends_in_between_clears_the_suspicion(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let id = leased(&house.stores, message("o1", at(0))).await.message_id;
    for second in [1, 2, 3, 4, 5] {
        let rescued = crash(&mut house, second).await;
        assert_eq!((rescued.queued, rescued.quarantined), (vec![id], Vec::new()), "{second}");
        let queue = &house.stores.queue;
        let lease = queue.lease(Lane::Normal, &shop(), 9, at(second), HOLD).await.unwrap().remove(0);
        if second % 2 == 0 {
            // Busy, say; then it is lent again.
            assert!(queue.settle(lease, to_queued(at(second), Some(at(0))), at(second)).await.unwrap().applied);
            assert_eq!(queue.lease(Lane::Normal, &shop(), 9, at(second), HOLD).await.unwrap().len(), 1);
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_result_that_comes_after_all_lifts_the_quarantine(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let mut lease = leased(&house.stores, message("o1", at(0))).await;
    let queue = &house.stores.queue;
    for round in 1..=3 {
        // Its lease ends, and nobody says that it is still running.
        let rescued = queue.rescue(at(61 * round), WINDOW, 9, &[]).await.unwrap();
        if round < 3 {
            assert_eq!(rescued.queued.len(), 1);
            lease = queue.lease(Lane::Normal, &shop(), 9, at(61 * round), HOLD).await.unwrap().remove(0);
        } else {
            assert_eq!(rescued.quarantined, [lease.message_id]);
        }
    }
    let id = lease.message_id;
    assert!(queue.settle(lease, to_sent(Some("900")), at(200)).await.unwrap().applied);
    assert_eq!(look_up(&house.stores, id).await.state, State::Sent);
}
