//! `Suppressions`: what is learnt with a verb of another door, and what several nodes know.

use rstest::rstest;
use wxgate::domain::attempt::AttemptOutcome;
use wxgate::domain::callback::NewCallback;
use wxgate::domain::page::PageRequest;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::State;
use wxgate::domain::suppression::{Suppression, SuppressionFilter, SuppressionReason};
use wxgate::store::Stores;

use super::backend::{Backend, Database};
use super::build::{act, at, attempt, callback, leased, message, openid, receipt, seen, sent, to_sent};

pub(super) async fn refused(stores: &Stores, touser: &str, errcode: i64, now: i64) {
    let lease = leased(stores, message(touser, at(0))).await;
    let mut attempt = attempt(AttemptOutcome::Refused);
    (attempt.errcode, attempt.errmsg) = (Some(errcode), Some("no".to_owned()));
    let next = Next::Rejected { reason: "recipient_refused".to_owned() };
    let settled = stores.queue.settle(lease, Settlement { attempts: vec![attempt], next }, at(now)).await.unwrap();
    assert_eq!(settled.state, State::Rejected);
}

async fn of(stores: &Stores, touser: &str) -> Option<SuppressionReason> {
    let found = stores.suppressions.look_up("shop", &openid(touser)).await.unwrap();
    found.map(|suppression| suppression.reason)
}

#[rstest]
#[tokio::test]
async fn an_errcode_is_remembered_and_errcode_0_lifts_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let stores = &house.stores;
    for (touser, errcode, reason) in [
        ("o1", 43004, Some(SuppressionReason::NotSubscribed)),
        ("o2", 43019, Some(SuppressionReason::Blacklisted)),
        ("o3", 40003, Some(SuppressionReason::InvalidOpenid)),
        ("o4", 47003, None),
    ] {
        assert!(!stores.suppressions.may_hold("shop", &openid(touser)));
        refused(stores, touser, errcode, 1).await;
        assert_eq!(of(stores, touser).await, reason, "{errcode}");
        assert_eq!(stores.suppressions.may_hold("shop", &openid(touser)), reason.is_some());
        assert!(!stores.suppressions.may_hold("other", &openid(touser)));
    }
    // Said again: the latest counts.
    refused(stores, "o1", 43019, 9).await;
    house.restart().await;
    let stores = &house.stores;
    assert!(stores.suppressions.may_hold("shop", &openid("o1")), "known after a restart");
    let kept = stores.suppressions.look_up("shop", &openid("o1")).await.unwrap();
    let (account, errmsg) = ("shop".to_owned(), "no".to_owned());
    let reason = SuppressionReason::Blacklisted;
    assert_eq!(kept, Some(Suppression { account, openid: openid("o1"), reason, errmsg, since: at(9) }));
    sent(stores, "o1", "900").await;
    assert_eq!(of(stores, "o1").await, None);
    assert!(!stores.suppressions.may_hold("shop", &openid("o1")), "forgotten by memory too");
    assert_eq!(of(stores, "o2").await, Some(SuppressionReason::Blacklisted), "somebody else");
}

#[rstest]
#[tokio::test]
async fn a_block_is_told_by_a_receipt_and_lifted_by_one(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    sent(stores, "o1", "900").await;
    sent(stores, "o1", "901").await;
    // One that settles nothing of ours tells nothing.
    stores.inbox.record(receipt("777", "o1", "failed:user block")).await.unwrap();
    stores.inbox.record(receipt("778", "o1", "failed: system failed")).await.unwrap();
    assert_eq!(of(stores, "o1").await, None);
    stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    assert_eq!(of(stores, "o1").await, Some(SuppressionReason::UserBlock));
    sent(stores, "o1", "902").await;
    assert_eq!(of(stores, "o1").await, Some(SuppressionReason::UserBlock), "errcode 0 is no sign that it is let in");
    stores.inbox.record(receipt("901", "o1", "success")).await.unwrap();
    assert_eq!(of(stores, "o1").await, None);
}

#[rstest]
#[tokio::test]
async fn a_receipt_that_came_first_counts_when_its_message_is_settled(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let lease = leased(stores, message("o1", at(0))).await;
    stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    let settled = stores.queue.settle(lease, to_sent(Some("900")), at(6)).await.unwrap();
    assert_eq!(settled.state, State::Undelivered);
    assert_eq!(of(stores, "o1").await, Some(SuppressionReason::UserBlock));
}

#[rstest]
#[tokio::test]
async fn subscribing_lifts_it_and_other_signs_of_life_do_not(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    refused(stores, "o1", 43004, 1).await;
    for (key, subscribed, expected) in [
        ("left", Some(false), Some(SuppressionReason::NotSubscribed)),
        ("talks", None, Some(SuppressionReason::NotSubscribed)),
        ("came", Some(true), None),
    ] {
        stores.inbox.record(NewCallback { user: seen("o1", subscribed), ..callback(key) }).await.unwrap();
        assert_eq!(of(stores, "o1").await, expected, "{key}");
    }
}

#[rstest]
#[tokio::test]
async fn a_hand_lifts_it_and_lists_end(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    for name in ["o1", "o2", "o3"] {
        refused(stores, name, 43004, 1).await;
    }
    let page = |after: Option<&str>| PageRequest { limit: 2, after: after.map(str::to_owned) };
    let first = stores.suppressions.list("shop", SuppressionFilter::default(), page(None)).await.unwrap();
    assert_eq!((first.items.len(), first.next.as_deref()), (2, Some("o2")));
    let last = stores.suppressions.list("shop", SuppressionFilter::default(), page(Some("o2"))).await.unwrap();
    assert_eq!((last.items[0].openid.as_str(), last.items.len(), last.next), ("o3", 1, None));
    assert!(stores.suppressions.lift("shop", &openid("o2"), act()).await.unwrap());
    assert!(!stores.suppressions.lift("shop", &openid("o2"), act()).await.unwrap());
    assert!(!stores.suppressions.lift("other", &openid("o1"), act()).await.unwrap());
    assert_eq!((of(stores, "o1").await.is_some(), of(stores, "o2").await), (true, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_learns_another_knows_when_it_has_caught_up() {
    let database = Database::create().await;
    let (a, b) = (super::postgres::open_as(&database, "a").await, super::postgres::open_as(&database, "b").await);
    refused(&a, "o1", 43004, 1).await;
    assert!(!b.suppressions.may_hold("shop", &openid("o1")), "not yet");
    b.suppressions.catch_up().await.unwrap();
    assert!(b.suppressions.may_hold("shop", &openid("o1")));
    // Lifted there: here it costs one query, once.
    sent(&a, "o1", "900").await;
    b.suppressions.catch_up().await.unwrap();
    assert_eq!(of(&b, "o1").await, None);
    assert!(!b.suppressions.may_hold("shop", &openid("o1")));
    // And again.
    refused(&a, "o1", 43004, 2).await;
    b.suppressions.catch_up().await.unwrap();
    assert_eq!(of(&b, "o1").await, Some(SuppressionReason::NotSubscribed));
    a.close().await;
    b.close().await;
}
