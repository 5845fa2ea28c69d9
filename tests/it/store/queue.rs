//! `Queue`: leasing, settling, repairs.

use std::time::Duration;

use rstest::rstest;
use wxgate::domain::attempt::AttemptOutcome;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{Lane, OnUnknown, State};

use super::backend::Backend;
use super::build::{
    HOLD, WINDOW, at, attempt, leased, look_up, message, path, receipt, sent, settlement, shop, to_queued, to_sent,
};

#[rstest]
#[tokio::test]
async fn the_oldest_due_of_the_lane_is_lent_first(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let mut scheduled = message("o1", at(0));
    scheduled.send_at = Some(at(20));
    let mut urgent = message("o1", at(0));
    urgent.lane = Lane::Urgent;
    let mut expired = message("o1", at(0));
    expired.expires_at = at(25);
    let (late, early) = (message("o1", at(15)), message("o1", at(10)));
    let order = [early.id, late.id, scheduled.id];
    for new in [scheduled, urgent, expired, late, early] {
        house.stores.outbox.accept(new, None).await.unwrap();
    }
    assert_eq!(queue.next_due(&shop()).await.unwrap(), Some(at(0)));
    assert!(queue.lease(Lane::Bulk, &shop(), 9, at(30), HOLD).await.unwrap().is_empty());
    let first = queue.lease(Lane::Normal, &shop(), 2, at(30), HOLD).await.unwrap();
    let second = queue.lease(Lane::Normal, &shop(), 2, at(30), HOLD).await.unwrap();
    let lent: Vec<_> = first.iter().chain(&second).map(|lease| lease.message_id).collect();
    assert_eq!(lent, order);
    assert!(first.iter().all(|lease| lease.generation == 1 && lease.until == at(90)));
    assert_eq!(path(&look_up(&house.stores, order[2]).await), [State::Scheduled, State::Sending]);
}

#[rstest]
#[tokio::test]
async fn what_is_not_due_is_not_lent(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let mut new = message("o1", at(0));
    new.send_at = Some(at(20));
    house.stores.outbox.accept(new, None).await.unwrap();
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(19), HOLD).await.unwrap().is_empty());
    assert_eq!(house.stores.queue.next_due(&shop()).await.unwrap(), Some(at(20)));
    assert_eq!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(20), HOLD).await.unwrap().len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_settlement_writes_attempts_state_and_history(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    let busy = Settlement { attempts: vec![attempt(AttemptOutcome::Busy)], ..to_queued(at(7), None) };
    assert_eq!(queue.settle(lease, busy, at(2)).await.unwrap().state, State::Queued);
    let waiting = look_up(&house.stores, id).await;
    assert_eq!(waiting.next_attempt_at, Some(at(7)));
    assert_eq!(waiting.state_reason.as_deref(), Some("busy"));

    let lease = queue.lease(Lane::Normal, &shop(), 1, at(7), HOLD).await.unwrap().remove(0);
    assert_eq!((lease.generation, lease.tries, lease.doubtful_since), (2, 1, None));
    queue.settle(lease, to_sent(Some("900")), at(8)).await.unwrap();
    let done = look_up(&house.stores, id).await;
    assert_eq!((done.state, done.msgid.as_deref()), (State::Sent, Some("900")));
    assert_eq!((done.state_reason, done.updated_at), (None, at(8)));
    let outcomes: Vec<_> = done.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Busy, AttemptOutcome::Accepted]);
    assert_eq!(done.attempts[1], attempt(AttemptOutcome::Accepted));
    let path: Vec<_> = done.history.iter().map(|entry| (entry.state, entry.at, entry.reason.as_deref())).collect();
    assert_eq!(
        path,
        [
            (State::Queued, at(0), None),
            (State::Sending, at(0), None),
            (State::Queued, at(2), Some("busy")),
            (State::Sending, at(7), None),
            (State::Sent, at(8), None),
        ]
    );
}

#[rstest]
#[case(Next::Rejected { reason: "43004".to_owned() }, State::Rejected)]
#[case(Next::Failed { reason: "attempts".to_owned() }, State::Failed)]
#[case(Next::Expired { reason: "expired".to_owned() }, State::Expired)]
#[case(Next::Unknown { reason: "timeout".to_owned() }, State::Unknown)]
#[tokio::test]
async fn every_end_of_a_lease_is_kept(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] next: Next,
    #[case] state: State,
) {
    let house = backend.open().await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    let settled = house.stores.queue.settle(lease, settlement(next), at(2)).await.unwrap();
    assert_eq!((settled.applied, settled.state), (true, state));
    let read = look_up(&house.stores, id).await;
    assert_eq!(read.state, state);
    assert!(read.state_reason.is_some());
    assert_eq!((settled.reason, settled.msgid), (read.state_reason, None));
}

#[rstest]
#[tokio::test]
async fn a_stale_generation_settles_and_extends_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let stale = leased(&house.stores, message("o1", at(0))).await;
    let id = stale.message_id;
    assert!(queue.extend(id, 1, at(100)).await.unwrap());
    assert!(queue.rescue(at(61), WINDOW, 9, &[]).await.unwrap().queued.is_empty(), "it was extended");
    assert_eq!(queue.rescue(at(101), WINDOW, 9, &[]).await.unwrap().queued, [id]);
    let current = queue.lease(Lane::Normal, &shop(), 1, at(101), HOLD).await.unwrap().remove(0);
    assert_eq!((current.generation, current.doubtful_since), (2, Some(at(0))));

    let refused = queue.settle(stale.clone(), to_sent(Some("1")), at(102)).await.unwrap();
    assert_eq!((refused.applied, refused.state), (false, State::Sending));
    assert!(!queue.extend(id, 1, at(200)).await.unwrap());
    assert!(queue.settle(current, to_sent(Some("2")), at(103)).await.unwrap().applied);
    let refused = queue.settle(stale, to_sent(Some("1")), at(104)).await.unwrap();
    assert_eq!((refused.applied, refused.state, refused.msgid.as_deref()), (false, State::Sent, Some("2")));
    assert_eq!(look_up(&house.stores, id).await.msgid.as_deref(), Some("2"));
}

#[rstest]
#[tokio::test]
async fn what_a_dead_process_held_is_taken_back(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let retried = leased(&house.stores, message("o1", at(100))).await.message_id;
    let mut hold = message("o2", at(100));
    hold.on_unknown = OnUnknown::Hold;
    let held = leased(&house.stores, hold).await.message_id;
    let mut old = message("o3", at(0));
    old.expires_at = at(9000);
    let old = leased(&house.stores, old).await.message_id;
    house.restart().await;

    let rescued = house.stores.queue.rescue(at(541), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued.queued, [retried]);
    assert_eq!(rescued.unknown, [old, held]);
    let back = look_up(&house.stores, retried).await;
    assert_eq!((back.next_attempt_at, back.state_reason.as_deref()), (Some(at(541)), Some("crash")));
    let lease = house.stores.queue.lease(Lane::Normal, &shop(), 9, at(541), HOLD).await.unwrap().remove(0);
    assert_eq!((lease.message_id, lease.doubtful_since), (retried, Some(at(100))));
    let ours = house.stores.queue.rescue(at(542), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(ours, wxgate::store::Rescued::default(), "what we hold ourselves stays ours");
}

#[rstest]
#[tokio::test]
async fn rescue_keeps_to_its_limit(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    for _ in 0..5 {
        leased(&house.stores, message("o1", at(0))).await;
    }
    house.restart().await;
    let mut rescued = Vec::new();
    for _ in 0..4 {
        rescued.push(house.stores.queue.rescue(at(1), WINDOW, 2, &[]).await.unwrap().queued.len());
    }
    assert_eq!(rescued, [2, 2, 1, 0]);
}

#[rstest]
#[tokio::test]
async fn a_receipt_that_came_during_the_crash_settles_what_is_rescued(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let mut new = message("o1", at(0));
    new.on_unknown = OnUnknown::Hold;
    let id = leased(&house.stores, new).await.message_id;
    house.restart().await;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    let rescued = house.stores.queue.rescue(at(9), WINDOW, 9, &[]).await.unwrap();
    assert_eq!(rescued.settled, [(id, State::Delivered)]);
    assert!(rescued.unknown.is_empty());
    assert_eq!(look_up(&house.stores, id).await.msgid.as_deref(), Some("900"));
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 0);
}

#[rstest]
#[tokio::test]
async fn an_early_receipt_settles_the_message_with_its_answer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    house.stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 1);
    let settled = house.stores.queue.settle(lease, to_sent(Some("900")), at(6)).await.unwrap();
    assert_eq!((settled.applied, settled.state), (true, State::Undelivered));
    assert_eq!((settled.reason.as_deref(), settled.msgid.as_deref()), (Some("user_block"), Some("900")));
    let read = look_up(&house.stores, id).await;
    assert_eq!((read.state_reason.as_deref(), read.msgid.as_deref()), (Some("user_block"), Some("900")));
    assert_eq!(path(&read), [State::Queued, State::Sending, State::Sent, State::Undelivered]);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 0);
    // Used up: another message with that msgid has to wait for its own.
    let other = sent(&house.stores, "o1", "900").await;
    assert_eq!(look_up(&house.stores, other).await.state, State::Sent);
}

#[rstest]
#[case(to_queued(at(9), Some(at(0))), true)]
#[case(to_queued(at(9), None), false)]
#[case(settlement(Next::Unknown { reason: "timeout".to_owned() }), true)]
#[case(to_sent(None), true)]
#[case(settlement(Next::Rejected { reason: "43004".to_owned() }), false)]
#[tokio::test]
async fn a_doubt_is_settled_by_the_one_receipt_that_came_since(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[case] settlement: Settlement,
    #[case] adopted: bool,
) {
    let house = backend.open().await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    let state = house.stores.queue.settle(lease, settlement, at(6)).await.unwrap().state;
    assert_eq!(state == State::Delivered, adopted, "{state:?}");
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), u64::from(!adopted));
    assert_eq!(look_up(&house.stores, id).await.state, state);
}

#[rstest]
#[tokio::test]
async fn a_doubt_takes_no_receipt_that_may_be_anothers(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let first = leased(&house.stores, message("o1", at(0))).await;
    let second = leased(&house.stores, message("o1", at(0))).await;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    let state = house.stores.queue.settle(first, to_queued(at(9), Some(at(0))), at(6)).await.unwrap().state;
    assert_eq!(state, State::Queued, "the other is still sending");
    let state = house.stores.queue.settle(second, to_sent(Some("900")), at(7)).await.unwrap().state;
    assert_eq!(state, State::Delivered);
}

#[rstest]
#[tokio::test]
async fn a_doubt_takes_no_receipt_from_before_it(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    let lease = leased(&house.stores, message("o1", at(6))).await;
    let state = house.stores.queue.settle(lease, to_queued(at(9), Some(at(6))), at(7)).await.unwrap().state;
    assert_eq!(state, State::Queued);
}

#[rstest]
#[tokio::test]
async fn what_is_too_late_expires_and_what_is_doubtful_becomes_unknown(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    let hour = at(3600);
    let plain = message("o1", at(0));
    let fresh = message("o1", at(1));
    let (plain_id, fresh_id) = (plain.id, fresh.id);
    let doubtful = leased(&house.stores, message("o2", at(0))).await;
    let doubtful_id = doubtful.message_id;
    queue.settle(doubtful, to_queued(at(9), Some(at(0))), at(1)).await.unwrap();
    for new in [plain, fresh] {
        house.stores.outbox.accept(new, None).await.unwrap();
    }
    assert!(queue.expire(hour.minus(Duration::from_millis(1)), 9).await.unwrap().is_empty());
    let mut expired = queue.expire(hour, 1).await.unwrap();
    expired.extend(queue.expire(hour, 9).await.unwrap());
    expired.sort();
    let mut expected = vec![(plain_id, State::Expired), (doubtful_id, State::Unknown)];
    expected.sort();
    assert_eq!(expired, expected);
    let lent = queue.lease(Lane::Normal, &shop(), 9, hour, HOLD).await.unwrap();
    assert_eq!(lent.iter().map(|lease| lease.message_id).collect::<Vec<_>>(), [fresh_id]);
}

#[rstest]
#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let (broken, sound) = (message("o1", at(0)), message("o2", at(1)));
    let (broken_id, sound_id) = (broken.id, sound.id);
    for new in [broken, sound] {
        house.stores.outbox.accept(new, None).await.unwrap();
    }
    house.execute("UPDATE messages SET on_unknown = 'perhaps' WHERE touser = 'o1'").await;
    let lent = house.stores.queue.lease(Lane::Normal, &shop(), 9, at(2), HOLD).await.unwrap();
    assert_eq!(lent.iter().map(|lease| lease.message_id).collect::<Vec<_>>(), [sound_id]);
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(2), HOLD).await.unwrap().is_empty());
    let error = house.stores.messages.look_up(broken_id).await.unwrap_err();
    assert_eq!(error.to_string(), format!("messages.on_unknown of row {broken_id} cannot be read"));
    house.execute("UPDATE messages SET on_unknown = 'hold' WHERE touser = 'o1'").await;
    let mended = look_up(&house.stores, broken_id).await;
    assert_eq!((mended.state, mended.state_reason.as_deref()), (State::Unknown, Some("corrupt")));
    assert_eq!(house.stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn broken_rows_do_not_stop_the_repairs(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    leased(&house.stores, message("o1", at(0))).await;
    house.stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    house.execute("UPDATE messages SET on_unknown = 'perhaps'").await;
    let sound = leased(&house.stores, message("o2", at(0))).await.message_id;
    house.restart().await;
    assert_eq!(house.stores.queue.rescue(at(1), WINDOW, 9, &[]).await.unwrap().queued, [sound]);
    let expired = house.stores.queue.expire(at(3600), 9).await.unwrap();
    assert_eq!(expired, [(sound, State::Unknown)]);
    assert_eq!(house.stores.queue.next_due(&shop()).await.unwrap(), None);
    assert_eq!(house.stores.counts.unaccounted(), 0);
}
