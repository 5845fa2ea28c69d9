//! `Batches`.

use rstest::rstest;
use wxgate::domain::batch::{Batch, NewBatch, RejectedItem};
use wxgate::domain::ids::BatchId;
use wxgate::domain::message::NewMessage;
use wxgate::domain::state::State;
use wxgate::store::{KeptBatch, Stores};

use super::backend::Backend;
use super::build::{HOLD, at, key, leased, look_up, message, settlement, shop};

fn batch(idempotency: Option<wxgate::domain::message::IdempotencyKey>) -> NewBatch {
    let idempotency = idempotency.map(|key| wxgate::domain::message::IdempotencyKey { endpoint: "batch", ..key });
    NewBatch {
        id: BatchId::generate(at(0)),
        client: "crm".to_owned(),
        created_at: at(0),
        idempotency,
        rejected: Vec::new(),
    }
}

fn of(batch: &NewBatch, openids: &[&str]) -> Vec<(u32, NewMessage)> {
    let message = |openid: &&str| NewMessage { batch_id: Some(batch.id), ..message(openid, at(0)) };
    (0..).zip(openids.iter().map(message)).collect()
}

async fn kept(stores: &Stores, batch: NewBatch, messages: Vec<(u32, NewMessage)>) -> Batch {
    match stores.batches.keep(batch, messages, false).await.unwrap() {
        KeptBatch::New(batch) => batch,
        other => panic!("{other:?}"),
    }
}

async fn counts(stores: &Stores, id: BatchId) -> Vec<(String, State, u64)> {
    let (_, mut counts) = stores.batches.look_up(id).await.unwrap().expect("the batch is there");
    counts.sort_by_key(|count| (count.account.clone(), count.state.as_str()));
    counts.into_iter().map(|count| (count.account, count.state, count.count)).collect()
}

#[rstest]
#[tokio::test]
async fn a_batch_and_its_messages_are_there_after_a_restart(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let mut house = backend.open().await;
    let mut new = batch(key("b", "hash"));
    new.rejected =
        vec![RejectedItem { code: "invalid_message".to_owned(), ..RejectedItem::mismatch(2, message("o", at(0)).id) }];
    let messages = of(&new, &["o1", "o2", "o3"]);
    let ids: Vec<_> = messages.iter().map(|(_, message)| message.id).collect();
    let (id, rejected) = (new.id, new.rejected.clone());
    let first = kept(&house.stores, new, messages).await;
    assert_eq!((&first.message_ids, &first.rejected), (&ids, &rejected));
    house.restart().await;
    let (read, _) = house.stores.batches.look_up(id).await.unwrap().unwrap();
    assert_eq!(read, first);
    assert_eq!(counts(&house.stores, id).await, [("shop".to_owned(), State::Queued, 3)]);
    assert_eq!((house.stores.counts.accepted(), house.stores.counts.unaccounted()), (3, 0));
    let lent = house.stores.queue.lease(wxgate::domain::state::Lane::Normal, &shop(), 9, at(1), HOLD).await.unwrap();
    assert_eq!(lent.len(), 3);
    assert!(house.stores.batches.look_up(BatchId::generate(at(0))).await.unwrap().is_none());
}

#[rstest]
#[tokio::test]
async fn the_same_key_is_the_same_batch(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let new = batch(key("b", "hash"));
    let id = new.id;
    let messages = of(&new, &["o1", "o2"]);
    let first = kept(stores, new, messages).await;
    let again = batch(key("b", "hash"));
    let messages = of(&again, &["o1", "o2"]);
    assert_eq!(stores.batches.keep(again.clone(), messages, false).await.unwrap(), KeptBatch::Replay(first.clone()));
    assert_eq!(
        stores.batches.known(again.idempotency.as_ref().unwrap()).await.unwrap(),
        Some(KeptBatch::Replay(first))
    );
    let other = batch(key("b", "other"));
    let messages = of(&other, &["o1"]);
    let mismatch = KeptBatch::Mismatch { batch_id: id };
    assert_eq!(stores.batches.keep(other, messages, false).await.unwrap(), mismatch);
    assert_eq!(stores.counts.accepted(), 2);
    assert_eq!(stores.batches.known(&key("none", "hash").unwrap()).await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn an_item_with_a_known_key_is_not_kept_again(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let mut known = message("o1", at(0));
    known.idempotency = key("k", "hash");
    let known_id = known.id;
    stores.outbox.accept(known, None).await.unwrap();

    let new = batch(None);
    let mut messages = of(&new, &["o1", "o2", "o1"]);
    messages[0].1.idempotency = key("k", "hash");
    messages[2].1.idempotency = key("k", "other");
    let fresh = messages[1].1.id;
    let atomic = stores.batches.keep(new.clone(), messages.clone(), true).await.unwrap();
    assert_eq!(atomic, KeptBatch::Refused(vec![RejectedItem::mismatch(2, known_id)]));
    assert_eq!(stores.counts.accepted(), 1, "nothing was written");
    assert!(stores.batches.look_up(new.id).await.unwrap().is_none());

    let done = kept(stores, new, messages).await;
    assert_eq!(done.message_ids, [known_id, fresh]);
    assert_eq!(done.rejected, [RejectedItem::mismatch(2, known_id)]);
    assert_eq!(stores.counts.accepted(), 2);
}

#[rstest]
#[tokio::test]
async fn two_items_of_one_request_with_one_key_are_seen(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let new = batch(None);
    let mut messages = of(&new, &["o1", "o2"]);
    messages[0].1.idempotency = key("k", "one");
    messages[1].1.idempotency = key("k", "two");
    let first = messages[0].1.id;
    let refused = stores.batches.keep(new, messages, true).await.unwrap();
    assert_eq!(refused, KeptBatch::Refused(vec![RejectedItem::mismatch(1, first)]));
    assert_eq!(stores.counts.accepted(), 0);
}

#[rstest]
#[tokio::test]
async fn canceling_ends_what_has_not_begun(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let new = batch(None);
    let id = new.id;
    let mut messages = of(&new, &["o1", "o2", "o3", "o4"]);
    messages[1].1.send_at = Some(at(600));
    messages[3].1.account = "other".into();
    let ids: Vec<_> = messages.iter().map(|(_, message)| message.id).collect();
    kept(stores, new, messages).await;
    // One is under way, one is in doubt.
    let lent = stores.queue.lease(wxgate::domain::state::Lane::Normal, &shop(), 2, at(1), HOLD).await.unwrap();
    let doubt = super::build::to_queued(at(900), Some(at(1)));
    let doubtful = lent.iter().find(|lease| lease.message_id == ids[2]).unwrap().clone();
    stores.queue.settle(doubtful, doubt, at(2)).await.unwrap();

    let shop_only = Some(vec!["shop".to_owned()]);
    assert_eq!(stores.batches.cancel(id, shop_only, at(3)).await.unwrap(), 2);
    let mut states = Vec::new();
    for id in &ids {
        states.push(look_up(stores, *id).await.state);
    }
    assert_eq!(states, [State::Sending, State::Canceled, State::Unknown, State::Queued]);
    assert_eq!(stores.batches.cancel(id, None, at(4)).await.unwrap(), 1);
    assert_eq!(stores.batches.cancel(id, None, at(5)).await.unwrap(), 0);
    assert_eq!(stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn a_batch_outlives_its_messages_and_then_goes(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let new = batch(None);
    let id = new.id;
    let messages = of(&new, &["o1"]);
    kept(stores, new, messages).await;
    assert_eq!(stores.batches.forget(at(7_200), 9).await.unwrap(), 0, "it has a message");
    stores.queue.expire(at(3_600), 9).await.unwrap();
    assert_eq!(stores.messages.forget(at(7_200), 9).await.unwrap(), 1);
    assert!(counts(stores, id).await.is_empty());
    assert_eq!(stores.batches.forget(at(0), 9).await.unwrap(), 0, "it is not old");
    assert_eq!(stores.batches.forget(at(7_200), 9).await.unwrap(), 1);
    assert!(stores.batches.look_up(id).await.unwrap().is_none());
    // Messages without a batch are none of its business.
    let lease = leased(stores, message("o9", at(0))).await;
    let next = wxgate::domain::settlement::Next::Failed { reason: "retries".to_owned() };
    stores.queue.settle(lease, settlement(next), at(1)).await.unwrap();
}
