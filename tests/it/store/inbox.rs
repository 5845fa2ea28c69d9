//! `Inbox`: once only, and what receipts do.

use rstest::rstest;
use wxgate::domain::callback::{NewCallback, ReceiptEffect, Recorded, RelayStanding, RelayStep};
use wxgate::domain::event::{EventFilter, KindPattern, NewEvent, RELAY_LATE_REPLY};
use wxgate::domain::ids::{CallbackId, MessageId};
use wxgate::domain::relay::RelayState;
use wxgate::domain::state::{Lane, State};
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{
    HOLD, at, callback, foreign_receipt, leased, look_up, message, openid, path, receipt, seen, sent, shop, to_queued,
    to_sent, unknown,
};

async fn effect(stores: &Stores, callback: NewCallback) -> ReceiptEffect {
    match stores.inbox.record(callback).await.unwrap() {
        Recorded::First { mut receipts } => receipts.remove(0),
        seen @ Recorded::Seen { .. } => panic!("{seen:?}"),
    }
}

fn delivered(message_id: MessageId) -> ReceiptEffect {
    delivered_as(message_id, "900")
}

fn delivered_as(message_id: MessageId, msgid: &str) -> ReceiptEffect {
    ReceiptEffect::Settled { message_id, state: State::Delivered, reason: None, msgid: msgid.to_owned() }
}

/// A message whose first attempt got no answer and whose repeat was answered with this msgid.
async fn repeated(stores: &Stores, touser: &str, msgid: &str) -> MessageId {
    let lease = leased(stores, message(touser, at(0))).await;
    stores.queue.settle(lease, to_queued(at(1), Some(at(0))), at(1)).await.unwrap();
    let lease = stores.queue.lease(Lane::Normal, &shop(), 1, at(2), HOLD).await.unwrap().remove(0);
    let id = lease.message_id;
    let settled = stores.queue.settle(lease, to_sent(Some(msgid)), at(3)).await.unwrap();
    assert_eq!((settled.state, settled.msgid.as_deref()), (State::Sent, Some(msgid)));
    id
}

#[rstest]
#[tokio::test]
async fn a_repeat_gets_the_first_reply_and_does_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let first = NewCallback { reply: Some("<xml>hello</xml>".to_owned()), ..callback("k") };
    let recorded = house.stores.inbox.record(first).await.unwrap();
    assert_eq!(recorded, Recorded::First { receipts: Vec::new() });
    house.restart().await;
    let again = NewCallback { reply: Some("other".to_owned()), user: seen("o9", None), ..callback("k") };
    let recorded = house.stores.inbox.record(again).await.unwrap();
    assert_eq!(recorded, Recorded::Seen { reply: Some("<xml>hello</xml>".to_owned()), relay: None });
    assert_eq!(house.stores.users.look_up("shop", &openid("o9")).await.unwrap(), None);
    let foreign = NewCallback { account: "other".to_owned(), ..callback("k") };
    assert!(matches!(house.stores.inbox.record(foreign).await.unwrap(), Recorded::First { .. }));
}

#[rstest]
#[tokio::test]
async fn a_receipt_settles_what_was_sent(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let id = sent(&house.stores, "o1", "900").await;
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, delivered(id));
    let read = look_up(&house.stores, id).await;
    assert_eq!(path(&read), [State::Queued, State::Sending, State::Sent, State::Delivered]);
    assert_eq!(read.updated_at, at(5));

    let id = sent(&house.stores, "o1", "901").await;
    let effect = effect(&house.stores, receipt("901", "o1", "failed: something new")).await;
    let (reason, msgid) = (Some("something new".to_owned()), "901".to_owned());
    assert_eq!(effect, ReceiptEffect::Settled { message_id: id, state: State::Undelivered, reason, msgid });
    let read = look_up(&house.stores, id).await;
    assert_eq!((read.state, read.state_reason.as_deref()), (State::Undelivered, Some("something new")));
}

#[rstest]
#[tokio::test]
async fn the_first_final_receipt_wins(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let id = sent(&house.stores, "o1", "900").await;
    assert_eq!(effect(&house.stores, receipt("900", "o1", "pending")).await, ReceiptEffect::NotFinal);
    effect(&house.stores, receipt("900", "o1", "success")).await;
    let contradiction = effect(&house.stores, receipt("900", "o1", "failed:user block")).await;
    assert_eq!(contradiction, ReceiptEffect::AlreadyFinal { message_id: id });
    let again = house.stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    assert_eq!(again, Recorded::Seen { reply: None, relay: None });
    assert_eq!(look_up(&house.stores, id).await.state, State::Delivered);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 0);
}

#[rstest]
#[tokio::test]
async fn a_receipt_of_another_account_settles_nothing(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let id = sent(&house.stores, "o1", "900").await;
    let foreign = NewCallback { account: "other".to_owned(), ..receipt("900", "o1", "success") };
    assert_eq!(effect(&house.stores, foreign).await, ReceiptEffect::Unmatched);
    assert_eq!(look_up(&house.stores, id).await.state, State::Sent);
}

#[rstest]
#[tokio::test]
async fn one_msgid_for_two_users_goes_to_each_his_own(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let first = sent(&house.stores, "o1", "900").await;
    let second = sent(&house.stores, "o2", "900").await;
    assert_eq!(effect(&house.stores, receipt("900", "o2", "success")).await, delivered(second));
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, delivered(first));
}

#[rstest]
#[tokio::test]
async fn the_one_message_in_doubt_takes_a_receipt_that_nobody_knows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let id = unknown(&house.stores, "o1").await;
    unknown(&house.stores, "o2").await;
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, delivered(id));
    let read = look_up(&house.stores, id).await;
    assert_eq!(read.msgid.as_deref(), Some("900"));
    let late = effect(&house.stores, receipt("900", "o1", "failed:user block")).await;
    assert_eq!(late, ReceiptEffect::AlreadyFinal { message_id: id });
}

#[rstest]
#[tokio::test]
async fn queued_in_doubt_and_sent_without_msgid_take_it_too(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    for (touser, msgid, settlement) in [("o1", "901", to_queued(at(9), Some(at(0)))), ("o2", "902", to_sent(None))] {
        let lease = leased(&house.stores, message(touser, at(0))).await;
        let id = lease.message_id;
        house.stores.queue.settle(lease, settlement, at(1)).await.unwrap();
        assert_eq!(effect(&house.stores, receipt(msgid, touser, "success")).await, delivered_as(id, msgid));
    }
}

#[rstest]
#[tokio::test]
async fn a_msgid_of_another_user_is_another_message(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let id = sent(&house.stores, "o1", "900").await;
    assert_eq!(effect(&house.stores, receipt("900", "o2", "success")).await, ReceiptEffect::Unmatched);
    assert_eq!(look_up(&house.stores, id).await.state, State::Sent);
    // It may still be that user's own message in doubt.
    let doubtful = unknown(&house.stores, "o3").await;
    assert_eq!(effect(&house.stores, receipt("900", "o3", "success")).await, delivered(doubtful));
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, delivered(id));
}

#[rstest]
#[tokio::test]
async fn a_receipt_of_another_kind_settles_by_msgid_but_never_by_doubt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let doubtful = unknown(&house.stores, "o1").await;
    assert_eq!(effect(&house.stores, foreign_receipt("900", "o1", "success")).await, ReceiptEffect::Unmatched);
    assert_eq!(look_up(&house.stores, doubtful).await.state, State::Unknown);
    let known = sent(&house.stores, "o2", "901").await;
    let effect = effect(&house.stores, foreign_receipt("901", "o2", "success")).await;
    assert_eq!(effect, delivered_as(known, "901"));
}

#[rstest]
#[tokio::test]
async fn after_a_repeat_the_receipt_may_name_the_first_attempt(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let repeated = repeated(stores, "o1", "901").await;
    assert_eq!(effect(stores, receipt("900", "o1", "success")).await, delivered(repeated));
    assert_eq!(look_up(stores, repeated).await.msgid.as_deref(), Some("900"));
}

#[rstest]
#[tokio::test]
async fn the_msgid_that_a_repeat_was_answered_with_goes_first(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let first = repeated(stores, "o1", "901").await;
    let second = repeated(stores, "o1", "902").await;
    assert_eq!(effect(stores, receipt("900", "o1", "success")).await, ReceiptEffect::Unmatched, "either may be meant");
    assert_eq!(effect(stores, receipt("902", "o1", "success")).await, delivered_as(second, "902"));
    assert_eq!(effect(stores, receipt("901", "o1", "success")).await, delivered_as(first, "901"));
    // What was answered well at the first go is in no doubt.
    let plain = sent(stores, "o2", "903").await;
    assert_eq!(effect(stores, receipt("904", "o2", "success")).await, ReceiptEffect::Unmatched);
    assert_eq!(look_up(stores, plain).await.state, State::Sent);
}

#[rstest]
#[tokio::test]
async fn of_two_in_doubt_none_takes_it(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    unknown(&house.stores, "o1").await;
    unknown(&house.stores, "o1").await;
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, ReceiptEffect::Unmatched);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 1);
}

#[rstest]
#[tokio::test]
async fn nor_when_another_is_on_its_way_or_the_doubt_is_old(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    unknown(&house.stores, "o1").await;
    leased(&house.stores, message("o1", at(2))).await;
    assert_eq!(effect(&house.stores, receipt("900", "o1", "success")).await, ReceiptEffect::Unmatched);
    unknown(&house.stores, "o2").await;
    let late = NewCallback { received_at: at(2 * 86_400), ..receipt("901", "o2", "success") };
    assert_eq!(effect(&house.stores, late).await, ReceiptEffect::Unmatched);
}

#[rstest]
#[tokio::test]
async fn the_sender_is_remembered_with_the_callback(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let users = &house.stores.users;
    let says = |key: &str, seconds: i64, subscribed| NewCallback {
        received_at: at(seconds),
        user: seen("o1", subscribed),
        ..callback(key)
    };
    house.stores.inbox.record(says("a", 10, Some(true))).await.unwrap();
    house.stores.inbox.record(says("b", 20, None)).await.unwrap();
    house.stores.inbox.record(says("c", 15, None)).await.unwrap();
    let user = users.look_up("shop", &openid("o1")).await.unwrap().unwrap();
    assert_eq!((user.first_seen_at, user.last_seen_at, user.subscribed), (at(10), at(20), Some(true)));
    house.stores.inbox.record(says("d", 30, Some(false))).await.unwrap();
    assert_eq!(users.look_up("shop", &openid("o1")).await.unwrap().unwrap().subscribed, Some(false));
}

#[rstest]
#[tokio::test]
async fn the_inbox_is_forgotten_oldest_first_in_bounded_steps(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let inbox = &house.stores.inbox;
    let says = |key: &str, seconds| NewCallback {
        id: CallbackId::generate(at(seconds)),
        received_at: at(seconds),
        reply: Some(key.to_owned()),
        ..callback(key)
    };
    for n in 0..4 {
        inbox.record(says(&format!("k{n}"), n * 100)).await.unwrap();
    }
    for (n, msgid) in [(0, "900"), (300, "901")] {
        let receipt = receipt(msgid, "o1", "success");
        inbox.record(NewCallback { receipts: receipt.receipts, ..says(msgid, n) }).await.unwrap();
    }
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 2);
    // Three callbacks and one receipt are older.
    assert_eq!(inbox.forget(at(200), 2).await.unwrap(), 2);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 2);
    assert_eq!(inbox.forget(at(200), 2).await.unwrap(), 2);
    assert_eq!(inbox.forget(at(200), 2).await.unwrap(), 0);
    assert_eq!(house.stores.counts.unmatched_receipts().await.unwrap(), 1);
    for (key, known) in [("k0", false), ("k1", false), ("k2", true), ("k3", true), ("900", false), ("901", true)] {
        let recorded = inbox.record(says(key, 900)).await.unwrap();
        assert_eq!(matches!(recorded, Recorded::Seen { .. }), known, "{key}");
    }
}

#[rstest]
#[tokio::test]
async fn a_relayed_callback_takes_its_steps_once_and_repeats_are_told(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    use RelayState::{Answered, Late, LateSending, LateSent, Pending};
    let mut house = backend.open().await;
    let step = |from, to, reply: Option<&str>| RelayStep {
        account: "shop".to_owned(),
        dedupe_key: "k".to_owned(),
        from,
        to,
        reply: reply.map(str::to_owned),
        event: None,
    };
    let standing = |moved, state, reply: Option<&str>| {
        Some(RelayStanding { moved, state: Some(state), reply: reply.map(str::to_owned) })
    };
    assert_eq!(house.stores.inbox.step_relay(step(Pending, Answered, None)).await.unwrap(), None, "there is none");
    let first = NewCallback { is_relayed: true, reply: Some("fallback".to_owned()), ..callback("k") };
    house.stores.inbox.record(first.clone()).await.unwrap();
    let seen = |relay, reply: &str| Recorded::Seen { reply: Some(reply.to_owned()), relay: Some(relay) };
    assert_eq!(house.stores.inbox.record(first.clone()).await.unwrap(), seen(Pending, "fallback"));
    let inbox = house.stores.inbox.clone();
    // Two nodes at once: one of them answers, and both are told which answer stands.
    let (one, two) = tokio::join!(
        inbox.step_relay(step(Pending, Answered, Some("one"))),
        inbox.step_relay(step(Pending, Answered, Some("two"))),
    );
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert!(one.moved != two.moved && one.reply == two.reply, "{one:?} {two:?}");
    let kept = one.reply.unwrap();
    drop(inbox);
    house.restart().await;
    let inbox = house.stores.inbox.clone();
    assert_eq!(inbox.record(first).await.unwrap(), seen(Answered, &kept));
    assert_eq!(inbox.step_relay(step(Pending, Late, None)).await.unwrap(), standing(false, Answered, Some(&kept)));
    assert_eq!(inbox.step_relay(step(Answered, LateSending, None)).await.unwrap(), standing(true, LateSending, None));
    let data = r#"{"state":"late_sent"}"#.to_owned();
    let told = NewEvent::of_account(RELAY_LATE_REPLY, "shop", at(9), data);
    let last = RelayStep { event: Some(told), ..step(LateSending, LateSent, None) };
    assert_eq!(inbox.step_relay(last.clone()).await.unwrap(), standing(true, LateSent, None));
    assert_eq!(inbox.step_relay(last).await.unwrap(), standing(false, LateSent, None), "told once");
    let all = EventFilter { kinds: vec![KindPattern::Is(RELAY_LATE_REPLY.to_owned())], ..EventFilter::default() };
    assert_eq!(super::events::kinds(&house.stores, all).await, [RELAY_LATE_REPLY]);
}
