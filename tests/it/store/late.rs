//! Results that come late: after a rescue, after a repeat, with a clock that was set back.

use rstest::rstest;
use wxgate::domain::message::Lease;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, OnUnknown, State};
use wxgate::store::{Rescued, StateCount, Stores};

use super::backend::{Backend, House};
use super::build::{
    HOLD, WINDOW, act, at, foreign_receipt, leased, look_up, message, path, receipt, settlement, shop, to_queued,
    to_sent,
};

/// A lease of 0 s that was taken back at 100 s.
async fn taken_back(house: &House, on_unknown: OnUnknown) -> Lease {
    let mut new = message("o1", at(0));
    new.on_unknown = on_unknown;
    let lease = leased(&house.stores, new).await;
    let rescued = house.stores.queue.rescue(at(100), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued.queued.len() + rescued.unknown.len(), 1);
    lease
}

/// The second lease of a message whose first attempt, at 0 s, got no answer.
async fn repeat(stores: &Stores) -> Lease {
    let lease = leased(stores, message("o1", at(0))).await;
    stores.queue.settle(lease, to_queued(at(1), Some(at(0))), at(1)).await.unwrap();
    stores.queue.lease(Lane::Normal, &shop(), 1, at(6), HOLD).await.unwrap().remove(0)
}

fn counted(stores: &Stores) -> Vec<(State, u64)> {
    stores.counts.states().iter().map(|StateCount { state, count, .. }| (*state, *count)).collect()
}

#[rstest]
#[case(OnUnknown::Retry, State::Queued)]
#[case(OnUnknown::Hold, State::Unknown)]
#[tokio::test]
async fn a_result_that_comes_after_the_rescue_counts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] on_unknown: OnUnknown,
    #[case] meanwhile: State,
) {
    let house = backend.open().await;
    let lease = taken_back(&house, on_unknown).await;
    let id = lease.message_id;
    assert_eq!(counted(&house.stores), [(meanwhile, 1)]);
    let settled = house.stores.queue.settle(lease.clone(), to_sent(Some("900")), at(101)).await.unwrap();
    assert_eq!((settled.applied, settled.state, settled.msgid.as_deref()), (true, State::Sent, Some("900")));
    assert_eq!((settled.reason, counted(&house.stores)), (None, vec![(State::Sent, 1)]));
    let read = look_up(&house.stores, id).await;
    assert_eq!(path(&read), [State::Queued, State::Sending, meanwhile, State::Sent]);
    let next = Next::Rejected { reason: "43004".to_owned() };
    let again = house.stores.queue.settle(lease, settlement(next), at(102)).await.unwrap();
    assert_eq!((again.applied, again.state, again.reason), (false, State::Sent, None));
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(103), HOLD).await.unwrap().is_empty());
}

#[rstest]
#[tokio::test]
async fn a_late_result_does_not_undo_what_was_decided_since(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let (queue, messages) = (&house.stores.queue, &house.stores.messages);
    let canceled = taken_back(&house, OnUnknown::Retry).await;
    messages.cancel(canceled.message_id, at(101)).await.unwrap();
    let resolved = taken_back(&house, OnUnknown::Hold).await;
    messages.resolve(resolved.message_id, State::Failed, at(101), act()).await.unwrap();
    let lent = taken_back(&house, OnUnknown::Retry).await;
    queue.lease(Lane::Normal, &shop(), 9, at(101), HOLD).await.unwrap();
    for (lease, state, reason) in [
        (canceled, State::Unknown, Some("canceled")),
        (resolved, State::Failed, Some("operator")),
        (lent, State::Sending, None),
    ] {
        let settled = queue.settle(lease, to_sent(Some("900")), at(102)).await.unwrap();
        assert_eq!((settled.applied, settled.state, settled.reason.as_deref()), (false, state, reason));
    }
    assert_eq!(house.stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn what_runs_here_is_left_alone_and_crowds_nobody_out(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(leased(&house.stores, message("o1", at(0))).await.message_id);
    }
    let orphan = leased(&house.stores, message("o2", at(1))).await.message_id;
    let rescued = queue.rescue(at(100), WINDOW, 1, &running).await.unwrap();
    assert_eq!(rescued, Rescued { queued: vec![orphan], ..Rescued::default() });
    assert_eq!(queue.rescue(at(100), WINDOW, 9, &running).await.unwrap(), Rescued::default());
    let mut rescued = queue.rescue(at(100), WINDOW, 9, &[]).await.unwrap().queued;
    rescued.sort();
    running.sort();
    assert_eq!(rescued, running);
}

#[rstest]
#[tokio::test]
async fn a_doubt_from_the_future_is_not_repeated(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let id = leased(&house.stores, message("o1", at(1000))).await.message_id;
    house.restart().await;
    let rescued = house.stores.queue.rescue(at(0), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued, Rescued { unknown: vec![id], ..Rescued::default() });
}

#[rstest]
#[case("900", "901", Some("900"))]
#[case("901", "901", Some("901"))]
#[tokio::test]
async fn the_answer_to_a_repeat_may_name_another_push_than_the_receipt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] receipt_of: &str,
    #[case] answered: &str,
    #[case] msgid: Option<&str>,
) {
    let house = backend.open().await;
    let lease = repeat(&house.stores).await;
    house.stores.inbox.record(receipt(receipt_of, "o1", "success")).await.unwrap();
    let settled = house.stores.queue.settle(lease, to_sent(Some(answered)), at(7)).await.unwrap();
    assert_eq!((settled.state, settled.msgid.as_deref()), (State::Delivered, msgid));
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 0);
}

#[rstest]
#[tokio::test]
async fn after_a_repeat_the_receipt_of_the_answer_goes_first(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let lease = repeat(&house.stores).await;
    house.stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    house.stores.inbox.record(receipt("901", "o1", "success")).await.unwrap();
    let settled = house.stores.queue.settle(lease, to_sent(Some("901")), at(7)).await.unwrap();
    assert_eq!((settled.state, settled.msgid.as_deref()), (State::Delivered, Some("901")));
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 1);
}

#[rstest]
#[tokio::test]
async fn without_a_doubt_no_other_receipt_is_taken(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    let settled = house.stores.queue.settle(lease, to_sent(Some("901")), at(7)).await.unwrap();
    assert_eq!((settled.state, settled.msgid.as_deref()), (State::Sent, Some("901")));
}

#[rstest]
#[tokio::test]
async fn an_early_receipt_of_another_user_or_kind_is_not_taken(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let first = repeat(stores).await;
    stores.inbox.record(receipt("901", "o2", "success")).await.unwrap();
    stores.inbox.record(foreign_receipt("900", "o1", "success")).await.unwrap();
    let settled = stores.queue.settle(first, to_sent(Some("901")), at(7)).await.unwrap();
    assert_eq!((settled.state, stores.counts.unmatched_receipts().await.unwrap()), (State::Sent, 2));
}
