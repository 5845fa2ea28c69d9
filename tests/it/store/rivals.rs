//! Whose receipt is it? One whose `msgid` nobody knows settles a message in doubt only when no other can be meant, also none
//! that has ended: WeChat is known to show now and then what it answered with "busy", and an operator may be wrong.

use rstest::rstest;
use wxgate::domain::attempt::AttemptOutcome;
use wxgate::domain::callback::{ReceiptEffect, Recorded};
use wxgate::domain::ids::MessageId;
use wxgate::domain::message::NewMessage;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{OnUnknown, State};
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{
    WINDOW, act, at, attempt, leased, look_up, message, receipt, sent, settlement, to_queued, to_sent, unknown,
};

/// What else the person was sent.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// "Busy", and it waits for its next try.
    Busy,
    BusyToTheEnd,
    /// "Busy", and taken at the next try, which names another push.
    BusyThenSent,
    FailedByHand,
}

fn after_busy(next: Next) -> Settlement {
    Settlement { attempts: vec![attempt(AttemptOutcome::Busy)], next }
}

async fn send(stores: &Stores, other: Other) -> MessageId {
    let lease = leased(stores, message("o1", at(0))).await;
    let id = lease.message_id;
    let Next::Queued { due_at, reason, tries, doubtful_since, .. } = to_queued(at(3), None).next else {
        unreachable!()
    };
    let again = Next::Queued { due_at, reason, tries, doubtful_since, busy_since: Some(at(0)) };
    let first = match other {
        Other::Busy | Other::BusyThenSent => after_busy(again),
        Other::BusyToTheEnd => after_busy(Next::Failed { reason: "busy_-1".to_owned() }),
        Other::FailedByHand => settlement(Next::Unknown { reason: "timeout".to_owned() }),
    };
    stores.queue.settle(lease, first, at(2)).await.unwrap();
    match other {
        Other::BusyThenSent => {
            let lane = wxgate::domain::state::Lane::Normal;
            let again = stores.queue.lease(lane, &super::build::shop(), 1, at(3), super::build::HOLD).await.unwrap();
            stores.queue.settle(again[0].clone(), to_sent(Some("901")), at(4)).await.unwrap();
        }
        Other::FailedByHand => drop(stores.messages.resolve(id, State::Failed, at(3), act()).await.unwrap()),
        Other::Busy | Other::BusyToTheEnd => {}
    }
    id
}

#[rstest]
#[tokio::test]
async fn a_receipt_that_may_be_anothers_settles_no_doubt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(Other::Busy, Other::BusyToTheEnd, Other::BusyThenSent, Other::FailedByHand)] other: Other,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    send(stores, other).await;
    let doubtful = unknown(stores, "o1").await;
    let recorded = stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    assert_eq!(recorded, Recorded::First { receipts: vec![ReceiptEffect::Unmatched] });
    assert_eq!(look_up(stores, doubtful).await.state, State::Unknown);
    // Another person's is nobody else's.
    let theirs = unknown(stores, "o2").await;
    stores.inbox.record(receipt("902", "o2", "success")).await.unwrap();
    assert_eq!(look_up(stores, theirs).await.state, State::Delivered);
}

#[rstest]
#[tokio::test]
async fn an_early_receipt_that_may_be_anothers_settles_no_doubt_either(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
    #[values(Other::Busy, Other::BusyToTheEnd, Other::BusyThenSent, Other::FailedByHand)] other: Other,
    #[values(true, false)] is_rescued: bool,
) {
    let mut house = backend.open().await;
    send(&house.stores, other).await;
    let held = NewMessage { on_unknown: OnUnknown::Hold, ..message("o1", at(0)) };
    let lease = leased(&house.stores, held).await;
    let doubtful = lease.message_id;
    house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    if is_rescued {
        house.restart().await;
        house.stores.queue.rescue(at(6), WINDOW, 9, &[]).await.unwrap();
    } else {
        let next = Next::Unknown { reason: "timeout".to_owned() };
        house.stores.queue.settle(lease, settlement(next), at(6)).await.unwrap();
    }
    assert_eq!(look_up(&house.stores, doubtful).await.state, State::Unknown);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 1);
}

#[rstest]
#[tokio::test]
async fn one_that_has_its_receipt_or_is_old_is_no_rival(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let id = send(stores, Other::BusyThenSent).await;
    sent(stores, "o1", "903").await;
    stores.inbox.record(receipt("901", "o1", "success")).await.unwrap();
    assert_eq!(look_up(stores, id).await.state, State::Delivered);
    let doubtful = unknown(stores, "o1").await;
    stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    assert_eq!(look_up(stores, doubtful).await.state, State::Delivered);

    send(stores, Other::BusyToTheEnd).await;
    let day = 24 * 3600;
    let lease = leased(stores, message("o1", at(day))).await;
    let doubtful = lease.message_id;
    stores.queue.settle(lease, settlement(Next::Unknown { reason: "timeout".to_owned() }), at(day + 1)).await.unwrap();
    let mut late = receipt("904", "o1", "success");
    late.received_at = at(day + 9);
    stores.inbox.record(late).await.unwrap();
    assert_eq!(look_up(stores, doubtful).await.state, State::Delivered);
}
