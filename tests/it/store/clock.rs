//! `Queue::realign`, and the leases of a clock that ran ahead.

use std::time::Duration;

use rstest::rstest;
use wxgate::domain::message::NewMessage;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, State};
use wxgate::store::{Realigned, Rescued, Stores};

use super::backend::Backend;
use super::build::{HOLD, WINDOW, at, leased, look_up, message, path, settlement, shop, to_queued};

const BACK: i64 = -7200;

/// A message that lives long, queued since `changed` and due at `due`.
async fn queued(
    stores: &Stores,
    touser: &str,
    changed: i64,
    due: i64,
    doubt: Option<i64>,
    busy: Option<i64>,
) -> NewMessage {
    let mut new = message(touser, at(changed));
    new.expires_at = at(100_000);
    let lease = leased(stores, new.clone()).await;
    let next = Next::Queued {
        due_at: at(due),
        reason: "busy".to_owned(),
        tries: 1,
        doubtful_since: doubt.map(at),
        busy_since: busy.map(at),
    };
    stores.queue.settle(lease, settlement(next), at(changed)).await.unwrap();
    new
}

#[rstest]
#[tokio::test]
async fn what_waits_for_a_clock_that_ran_ahead_waits_as_long_as_it_was_meant_to(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let pause = queued(stores, "o1", 0, 60, None, None).await.id;
    let due = queued(stores, "o2", 0, 0, None, None).await.id;
    let of_now = queued(stores, "o3", BACK, 30, None, None).await.id;
    let mut scheduled = message("o4", at(0));
    (scheduled.send_at, scheduled.expires_at) = (Some(at(500)), at(100_000));
    let scheduled_id = scheduled.id;
    stores.outbox.accept(scheduled, None).await.unwrap();

    let done = stores.queue.realign(at(BACK), false, 9).await.unwrap();
    assert_eq!(done, Realigned { unknown: Vec::new(), moved: 2 });
    for (id, due_at) in [(pause, at(BACK + 60)), (due, at(BACK)), (of_now, at(30)), (scheduled_id, at(500))] {
        assert_eq!(look_up(stores, id).await.next_attempt_at, Some(due_at));
    }
    assert_eq!(stores.queue.realign(at(BACK), true, 9).await.unwrap(), Realigned::default(), "once is enough");
    let lent = stores.queue.lease(Lane::Normal, &shop(), 9, at(BACK), HOLD).await.unwrap();
    assert_eq!(lent.iter().map(|lease| lease.message_id).collect::<Vec<_>>(), [due]);
    assert_eq!(stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn what_may_be_at_wechat_is_not_repeated_by_a_clock_that_was_set_back(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let ahead = queued(stores, "o1", 0, 0, Some(0), None).await.id;
    let busy = queued(stores, "o2", 0, 0, None, Some(0)).await.id;
    // Young by the clock as it is now, and changed before: only one that was seen to jump makes it suspect.
    let young = queued(stores, "o3", BACK - 60, BACK, Some(BACK - 60), None).await.id;
    let sound = queued(stores, "o4", BACK - 60, BACK, None, None).await.id;
    let moment = Duration::from_secs(4);
    assert_eq!(stores.queue.realign(at(0).minus(moment), false, 9).await.unwrap(), Realigned::default(), "no jump");

    let mut unknown = stores.queue.realign(at(BACK), false, 1).await.unwrap().unknown;
    assert_eq!(unknown.len(), 1, "at most so many");
    unknown.extend(stores.queue.realign(at(BACK), false, 9).await.unwrap().unknown);
    unknown.sort();
    let mut expected = vec![ahead, busy];
    expected.sort();
    assert_eq!(unknown, expected);
    assert_eq!(stores.queue.realign(at(BACK), true, 9).await.unwrap().unknown, [young]);
    for id in [ahead, busy, young] {
        let message = look_up(stores, id).await;
        assert_eq!((message.state, message.state_reason.as_deref()), (State::Unknown, Some("repeat_window_over")));
        assert_eq!(path(&message), [State::Queued, State::Sending, State::Queued, State::Unknown]);
    }
    assert_eq!(look_up(stores, sound).await.state, State::Queued);
    assert_eq!(stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn a_lease_from_a_time_ahead_is_taken_back_unless_it_runs(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let (running, dead) =
        (leased(&house.stores, message("o1", at(0))).await, leased(&house.stores, message("o2", at(0))).await);
    let crossing = queue.rescue(at(0).minus(Duration::from_secs(4)), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(crossing, Rescued::default(), "readings that cross are no jump");
    let rescued = queue.rescue(at(BACK), WINDOW, 9, &[running.message_id]).await.unwrap();
    // How long ago it began nobody knows: it is not repeated.
    assert_eq!((rescued.unknown, rescued.queued), (vec![dead.message_id], Vec::new()));
    assert!(queue.settle(running, to_queued(at(BACK), None), at(BACK)).await.unwrap().applied);
}
