//! `Messages`: pages, cancel, resolve.

use rstest::rstest;
use wxgate::domain::ids::{BatchId, MessageId};
use wxgate::domain::message::{MessageFilter, NewMessage};
use wxgate::domain::page::PageRequest;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, State};
use wxgate::store::messages::Changed;
use wxgate::store::{Error, Stores};

use super::backend::Backend;
use super::build::{HOLD, act, at, leased, look_up, message, sent, settlement, shop, to_queued, unknown};

async fn ids(stores: &Stores, filter: MessageFilter) -> Vec<MessageId> {
    let page = stores.messages.list(filter, PageRequest { limit: 200, after: None }).await.unwrap();
    page.items.iter().map(|message| message.id).collect()
}

#[rstest]
#[tokio::test]
async fn pages_follow_each_other_newest_first(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let mut expected = Vec::new();
    for n in 0..7 {
        let new = message("o1", at(n));
        expected.insert(0, new.id);
        house.stores.outbox.accept(new, None).await.unwrap();
    }
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let request = PageRequest { limit: 3, after };
        let page = house.stores.messages.list(MessageFilter::default(), request).await.unwrap();
        sizes.push(page.items.len());
        found.extend(page.items.iter().map(|message| message.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, sizes), (expected, vec![3, 3, 1]));
}

#[rstest]
#[tokio::test]
async fn one_persons_messages_of_many_weeks_come_in_order(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let weeks = |n: i64| at(n * 7 * 86_400);
    let mut expected = Vec::new();
    for n in 0..9 {
        for (openid, second) in [("o1", 0), ("o2", 1), ("o1", 2)] {
            let new = message(openid, weeks(n).plus(std::time::Duration::from_secs(second)));
            if openid == "o1" {
                expected.insert(0, new.id);
            }
            house.stores.outbox.accept(new, None).await.unwrap();
        }
    }
    let of_person = || MessageFilter { touser: Some("o1".to_owned()), ..MessageFilter::default() };
    for limit in [1, 4, 5, 17, 18, 200] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = house.stores.messages.list(of_person(), PageRequest { limit, after }).await.unwrap();
            found.extend(page.items.iter().map(|message| message.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
    let between = MessageFilter { created_after: Some(weeks(2)), created_before: Some(weeks(4)), ..of_person() };
    assert_eq!(ids(&house.stores, between).await, expected[10..14]);
    let before = MessageFilter { created_before: Some(weeks(0)), ..of_person() };
    assert_eq!(ids(&house.stores, before).await, []);
}

#[rstest]
#[tokio::test]
async fn a_last_page_that_is_full_has_no_next(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    for n in 0..3 {
        house.stores.outbox.accept(message("o1", at(n)), None).await.unwrap();
    }
    let request = PageRequest { limit: 3, after: None };
    let page = house.stores.messages.list(MessageFilter::default(), request).await.unwrap();
    assert_eq!((page.items.len(), page.next), (3, None));
}

#[rstest]
#[tokio::test]
async fn every_filter_filters(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let batch = BatchId::generate(at(0));
    let keep = |mut new: NewMessage, change: &dyn Fn(&mut NewMessage)| {
        change(&mut new);
        let id = new.id;
        let outbox = house.stores.outbox.clone();
        async move {
            outbox.accept(new, None).await.unwrap();
            id
        }
    };
    let plain = keep(message("o1", at(0)), &|_| ()).await;
    let other = keep(message("o2", at(300)), &|new| {
        new.account = "other".into();
        new.client = "front".into();
        new.template_id = "TPL2".to_owned();
        new.batch_id = Some(batch);
        new.send_at = Some(at(900));
    })
    .await;
    let all = MessageFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        (all(), vec![other, plain]),
        (MessageFilter { account: text("shop"), ..all() }, vec![plain]),
        (MessageFilter { touser: text("o2"), ..all() }, vec![other]),
        (MessageFilter { template_id: text("TPL2"), ..all() }, vec![other]),
        (MessageFilter { client: text("crm"), ..all() }, vec![plain]),
        (MessageFilter { batch_id: Some(batch), ..all() }, vec![other]),
        (MessageFilter { state: Some(State::Scheduled), ..all() }, vec![other]),
        (MessageFilter { state: Some(State::Queued), touser: text("o1"), ..all() }, vec![plain]),
        (MessageFilter { created_after: Some(at(300)), ..all() }, vec![other]),
        (MessageFilter { created_before: Some(at(300)), ..all() }, vec![plain]),
        (MessageFilter { visible_accounts: Some(vec!["shop".to_owned(), "x".to_owned()]), ..all() }, vec![plain]),
        (MessageFilter { visible_accounts: Some(Vec::new()), ..all() }, vec![]),
        (MessageFilter { account: text("other"), visible_accounts: Some(vec!["shop".to_owned()]), ..all() }, vec![]),
    ] {
        assert_eq!(ids(&house.stores, filter.clone()).await, expected, "{filter:?}");
    }
}

#[rstest]
#[tokio::test]
async fn every_state_can_be_listed(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let id = unknown(&house.stores, "o1").await;
    let sending = leased(&house.stores, message("o2", at(0))).await.message_id;
    for state in State::ALL {
        let expected = match state {
            State::Unknown => vec![id],
            State::Sending => vec![sending],
            _ => vec![],
        };
        let filter = MessageFilter { state: Some(state), ..MessageFilter::default() };
        assert_eq!(ids(&house.stores, filter).await, expected, "{state:?}");
    }
}

#[rstest]
#[tokio::test]
async fn only_what_waits_is_canceled(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let messages = &house.stores.messages;
    let waiting = message("o1", at(0));
    let id = waiting.id;
    house.stores.outbox.accept(waiting, None).await.unwrap();
    assert_eq!(messages.cancel(id, at(1)).await.unwrap(), Some(Changed { applied: true, state: State::Canceled }));
    assert_eq!(messages.cancel(id, at(2)).await.unwrap(), Some(Changed { applied: false, state: State::Canceled }));
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(2), HOLD).await.unwrap().is_empty());

    let sending = leased(&house.stores, message("o1", at(0))).await;
    let id = sending.message_id;
    assert_eq!(messages.cancel(id, at(1)).await.unwrap(), Some(Changed { applied: false, state: State::Sending }));
    house.stores.queue.settle(sending, to_queued(at(5), Some(at(0))), at(1)).await.unwrap();
    assert_eq!(messages.cancel(id, at(2)).await.unwrap(), Some(Changed { applied: true, state: State::Unknown }));
    assert_eq!(look_up(&house.stores, id).await.state_reason.as_deref(), Some("canceled"));
    assert_eq!(messages.cancel(MessageId::generate(at(0)), at(1)).await.unwrap(), None);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn cancel_and_lease_never_both_win(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    for n in 0..20 {
        let new = message("o1", at(n));
        let id = new.id;
        house.stores.outbox.accept(new, None).await.unwrap();
        let (messages, queue) = (house.stores.messages.clone(), house.stores.queue.clone());
        let cancel = tokio::spawn(async move { messages.cancel(id, at(50)).await.unwrap().unwrap().applied });
        let lease =
            tokio::spawn(async move { queue.lease(Lane::Normal, &shop(), 9, at(50), HOLD).await.unwrap().len() });
        let (canceled, lent) = (cancel.await.unwrap(), lease.await.unwrap());
        assert_eq!(usize::from(canceled) + lent, 1);
        let expected = if canceled { State::Canceled } else { State::Sending };
        assert_eq!(look_up(&house.stores, id).await.state, expected);
    }
}

#[rstest]
#[tokio::test]
async fn only_what_is_unknown_is_resolved(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let messages = &house.stores.messages;
    for state in [State::Sent, State::Failed] {
        let id = unknown(&house.stores, "o1").await;
        let odd = messages.resolve(id, State::Delivered, at(2), act()).await.unwrap();
        assert_eq!(odd, Some(Changed { applied: false, state: State::Unknown }));
        let changed = messages.resolve(id, state, at(2), act()).await.unwrap();
        assert_eq!(changed, Some(Changed { applied: true, state }));
        assert_eq!(look_up(&house.stores, id).await.state_reason.as_deref(), Some("operator"));
        let again = messages.resolve(id, State::Failed, at(3), act()).await.unwrap();
        assert_eq!(again, Some(Changed { applied: false, state }));
    }
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    let next = Next::Rejected { reason: "43004".to_owned() };
    house.stores.queue.settle(lease, settlement(next), at(1)).await.unwrap();
    let refused = messages.resolve(id, State::Sent, at(2), act()).await.unwrap();
    assert_eq!(refused, Some(Changed { applied: false, state: State::Rejected }));
}

#[rstest]
#[tokio::test]
async fn a_row_that_cannot_be_read_leaves_no_gap_in_the_pages(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let mut expected = Vec::new();
    for n in 0..9 {
        let is_broken = (3..7).contains(&n);
        let new = message(if is_broken { "oBROKEN" } else { "o1" }, at(n));
        if !is_broken {
            expected.insert(0, new.id);
        }
        house.stores.outbox.accept(new, None).await.unwrap();
    }
    house.execute("UPDATE messages SET history = 'nonsense' WHERE touser = 'oBROKEN'").await;
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let request = PageRequest { limit: 3, after };
        let page = house.stores.messages.list(MessageFilter::default(), request).await.unwrap();
        sizes.push(page.items.len());
        found.extend(page.items.iter().map(|message| message.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, sizes), (expected, vec![3, 2]));
    let broken = MessageFilter { touser: Some("oBROKEN".to_owned()), ..MessageFilter::default() };
    assert!(ids(&house.stores, broken).await.is_empty());
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_read_can_be_ended_as_failed(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let messages = &house.stores.messages;
    let new = message("o1", at(0));
    let id = new.id;
    house.stores.outbox.accept(new, None).await.unwrap();
    house.execute("UPDATE messages SET on_unknown = 'perhaps'").await;
    let waits = messages.resolve(id, State::Failed, at(1), act()).await.unwrap();
    assert_eq!(waits, Some(Changed { applied: false, state: State::Queued }));
    assert!(house.stores.queue.lease(Lane::Normal, &shop(), 9, at(2), HOLD).await.unwrap().is_empty());

    assert!(matches!(messages.resolve(id, State::Sent, at(3), act()).await, Err(Error::Corrupt { .. })));
    let ended = messages.resolve(id, State::Failed, at(3), act()).await.unwrap();
    assert_eq!(ended, Some(Changed { applied: true, state: State::Failed }));
    let again = messages.resolve(id, State::Failed, at(4), act()).await.unwrap();
    assert_eq!(again, Some(Changed { applied: false, state: State::Failed }));
    assert_eq!(messages.resolve(MessageId::generate(at(0)), State::Failed, at(4), act()).await.unwrap(), None);
    let failed = house.stores.counts.states();
    assert_eq!(failed.iter().map(|line| (line.state, line.count)).collect::<Vec<_>>(), [(State::Failed, 1)]);
    house.execute("UPDATE messages SET on_unknown = 'hold'").await;
    let mended = look_up(&house.stores, id).await;
    assert_eq!((mended.state_reason.as_deref(), mended.updated_at), (Some("operator"), at(3)));
}

#[rstest]
#[tokio::test]
async fn what_is_over_and_old_is_forgotten_oldest_first_and_still_counted(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let (stores, day) = (&house.stores, 86_400);
    let canceled = |created| {
        let new = message("o1", at(created));
        let id = new.id;
        async move {
            stores.outbox.accept(new, None).await.unwrap();
            stores.messages.cancel(id, at(created)).await.unwrap();
            id
        }
    };
    let doubtful = unknown(stores, "o1").await;
    let under_way = leased(stores, message("o1", at(0))).await.message_id;
    let delivered = sent(stores, "o1", "900").await;
    let (first, second, young) = (canceled(10).await, canceled(20).await, canceled(day).await);
    // Made long ago, over only now.
    let late = message("o1", at(0));
    let late_id = late.id;
    stores.outbox.accept(late, None).await.unwrap();
    stores.messages.cancel(late_id, at(day)).await.unwrap();
    let states = stores.counts.states();

    assert_eq!(stores.messages.forget(at(1), 9).await.unwrap(), 0);
    assert_eq!(stores.messages.forget(at(day), 2).await.unwrap(), 2);
    assert_eq!(stores.messages.look_up(delivered).await.unwrap(), None);
    assert_eq!(stores.messages.look_up(first).await.unwrap(), None);
    assert!(stores.messages.look_up(second).await.unwrap().is_some());
    assert_eq!(stores.messages.forget(at(day), 2).await.unwrap(), 1);
    assert_eq!(stores.messages.forget(at(day), 2).await.unwrap(), 0);
    let mut left = ids(stores, MessageFilter::default()).await;
    let mut expected = vec![doubtful, under_way, young, late_id];
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!((stores.counts.states(), stores.counts.unaccounted()), (states, 0));
}
