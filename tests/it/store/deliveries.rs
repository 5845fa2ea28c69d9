//! `Deliveries`: claimed, tried, settled; told once more; forgotten.

use std::time::Duration;

use rstest::rstest;
use wxgate::domain::event::{Event, EventFilter, KindPattern, NewEvent, Position};
use wxgate::domain::ids::{DeliveryId, EventId};
use wxgate::domain::page::PageRequest;
use wxgate::domain::webhook::{
    Delivery, DeliveryFilter, DeliveryStatus, DisabledReason, Interest, Outcome, Replayed, Tried,
};
use wxgate::store::{Claim, Claimed, Claims, Cursor, Replay, ReplayOf, Settling, Stores};

use super::backend::{Backend, House};
use super::build::{act, at};

pub(super) async fn raise(stores: &Stores, kind: &'static str, message: Option<&str>, second: i64) {
    let event = NewEvent {
        kind: kind.into(),
        account: Some("shop".to_owned()),
        message_id: message.map(str::to_owned),
        batch_id: None,
        client: None,
        at: at(second),
        data: format!("{{\"n\":{second}}}"),
    };
    stores.events.raise(event).await.unwrap();
}

/// Until all that is kept can be read: a transaction of anybody who uses the same server may be waited for.
pub(super) async fn settled(stores: &Stores) {
    for _ in 0..1000 {
        if !stores.events.read(EventFilter::default(), Position::default(), 1000).await.unwrap().is_waiting {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("somebody holds a transaction open");
}

async fn events(stores: &Stores) -> Vec<Event> {
    settled(stores).await;
    stores.events.read(EventFilter::default(), Position::default(), 1000).await.unwrap().events
}

/// An open house with the lane of `crm` in our hands.
async fn house(backend: Backend) -> House {
    let house = backend.open().await;
    house.stores.webhooks.enroll(vec!["crm".to_owned()], at(0)).await.unwrap();
    assert_eq!(house.stores.webhooks.take(vec!["crm".to_owned()]).await.unwrap(), ["crm"]);
    house
}

fn only(patterns: &[&str]) -> Interest {
    let kinds = patterns.iter().map(|text| KindPattern::parse(text).unwrap());
    Interest { kinds: kinds.collect(), accounts: None }
}

fn claim(from: Cursor, limit: usize, second: i64) -> Claim {
    let interest = Interest::default();
    Claim { webhook: "crm".to_owned(), interest, from, limit, keep: false, now: at(second) }
}

async fn claimed(stores: &Stores, claim: Claim) -> Claims {
    settled(stores).await;
    match stores.deliveries.claim(claim).await.unwrap() {
        Claimed::Kept(claims) => claims,
        Claimed::Lost => panic!("lost"),
    }
}

fn kinds(claims: &Claims) -> Vec<&str> {
    claims.due.iter().map(|due| due.event.kind.as_str()).collect()
}

fn tried(id: DeliveryId, attempt: u32, outcome: Outcome) -> Tried {
    let status_code = Some(if outcome == Outcome::Delivered { 204 } else { 500 });
    let error = (outcome != Outcome::Delivered).then(|| "answered 500".to_owned());
    Tried { id, attempt, outcome, status_code, error, at: at(50), duration: Duration::from_millis(12) }
}

async fn settle(stores: &Stores, tried: Vec<Tried>, second: i64) {
    let settling = Settling { webhook: "crm".to_owned(), tried, gone: None, now: at(second) };
    stores.deliveries.settle(settling).await.unwrap();
}

async fn due(stores: &Stores, second: i64) -> Vec<String> {
    let due = stores.deliveries.due("crm", 100, Vec::new(), at(second)).await.unwrap();
    due.into_iter().map(|due| due.event.kind).collect()
}

async fn all(stores: &Stores, filter: DeliveryFilter) -> Vec<Delivery> {
    stores.deliveries.list(filter, PageRequest { limit: 200, after: None }).await.unwrap().items
}

fn with_status(status: DeliveryStatus) -> DeliveryFilter {
    DeliveryFilter { status: Some(status), ..DeliveryFilter::default() }
}

#[rstest]
#[tokio::test]
async fn a_claim_keeps_what_fits_and_goes_on_behind_it(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = house(backend).await;
    let stores = &house.stores;
    for (second, kind) in (1..).zip(["message.sent", "quota.low", "message.failed", "quota.low", "message.sent"]) {
        raise(stores, kind, None, second).await;
    }
    let begin = Cursor::default();
    let first = claimed(stores, Claim { interest: only(&["message.*"]), ..claim(begin, 2, 10) }).await;
    assert_eq!(kinds(&first), ["message.sent", "message.failed"]);
    assert_eq!((first.made, first.has_more, first.cursor.kept), (2, true, first.cursor.seen));
    // The lane of a process that is gone by now.
    house.restart().await;
    let stores = &house.stores;
    assert_eq!(stores.webhooks.take(vec!["crm".to_owned()]).await.unwrap(), ["crm"]);
    let kept = stores.webhooks.standings().await.unwrap()[0].cursor;
    assert_eq!(kept, first.cursor.kept);
    assert_eq!(due(stores, 10).await, ["message.sent", "message.failed"], "they are still to be tried");
    let nowhere = Claim { interest: only(&["batch.*"]), ..claim(first.cursor, 9, 11) };
    let passed = claimed(stores, nowhere.clone()).await;
    assert_eq!((passed.made, passed.cursor.kept, passed.has_more), (0, kept, false));
    assert!(passed.cursor.seen > kept, "what does not fit is passed by");
    assert_eq!(stores.webhooks.standings().await.unwrap()[0].cursor, kept, "and nothing is written for it");
    claimed(stores, Claim { keep: true, ..nowhere }).await;
    assert_eq!(stores.webhooks.standings().await.unwrap()[0].cursor, passed.cursor.seen, "now and then it is");
    assert_eq!(claimed(stores, claim(Cursor { kept: passed.cursor.seen, ..passed.cursor }, 9, 12)).await.made, 0);
}

#[rstest]
#[tokio::test]
async fn a_claim_looks_without_taking(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    raise(stores, "quota.low", None, 1).await;
    raise(stores, "message.sent", None, 2).await;
    let looked = claimed(stores, Claim { interest: only(&["message.*"]), ..claim(Cursor::default(), 0, 3) }).await;
    assert_eq!((looked.made, looked.has_more), (0, true));
    let claims = claimed(stores, claim(looked.cursor, 9, 4)).await;
    assert_eq!(kinds(&claims), ["message.sent"], "it stands right before it");
}

#[rstest]
#[tokio::test]
async fn only_who_runs_the_lane_claims(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    raise(stores, "message.sent", None, 1).await;
    settled(stores).await;
    let is_lost = async |claim| matches!(stores.deliveries.claim(claim).await.unwrap(), Claimed::Lost);
    let elsewhere = Position { horizon: 0, seq: 7 };
    assert!(is_lost(claim(Cursor { kept: elsewhere, seen: Position::default() }, 9, 2)).await, "somebody has moved it");
    stores.webhooks.disable("crm", DisabledReason::Operator, at(2), act()).await.unwrap();
    assert!(is_lost(claim(Cursor::default(), 9, 2)).await, "it is off");
    stores.webhooks.enable("crm", false, at(2), act()).await.unwrap();
    assert!(all(stores, DeliveryFilter::default()).await.is_empty());
    if let Backend::Postgres = backend {
        house.execute("UPDATE webhook_lanes SET boot = 'boot_ELSE'").await;
        assert!(is_lost(claim(Cursor::default(), 9, 2)).await, "another node runs it");
        stores.webhooks.take(vec!["crm".to_owned()]).await.unwrap();
    }
    assert_eq!(claimed(stores, claim(Cursor::default(), 9, 3)).await.made, 1);
}

#[rstest]
#[tokio::test]
async fn events_of_one_message_wait_for_each_other(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    for (second, (kind, message)) in (1..).zip([
        ("message.sent", Some("msg_1")),
        ("message.sent", Some("msg_2")),
        ("message.delivered", Some("msg_1")),
        ("quota.low", None),
        ("quota.exhausted", None),
    ]) {
        raise(stores, kind, message, second).await;
    }
    let first = claimed(stores, claim(Cursor::default(), 9, 10)).await;
    assert_eq!((first.made, kinds(&first).len()), (5, 4));
    assert!(!kinds(&first).contains(&"message.delivered"), "it waits for message.sent");
    raise(stores, "message.later", Some("msg_1"), 11).await;
    let second = claimed(stores, claim(first.cursor, 9, 12)).await;
    assert_eq!((second.made, second.due.len()), (1, 0), "also one that is claimed later");
    let [one, two, low, exhausted] = [0, 1, 2, 3].map(|place: usize| first.due[place].id);
    let later = Outcome::Retry { at: at(100) };
    settle(stores, vec![tried(one, 1, later), tried(two, 1, Outcome::Delivered)], 20).await;
    settle(stores, vec![tried(low, 1, Outcome::Dead), tried(exhausted, 1, Outcome::Delivered)], 20).await;
    assert_eq!(due(stores, 99).await, [] as [&str; 0], "retried: still the first");
    assert_eq!(stores.deliveries.next_due("crm", Vec::new()).await.unwrap(), Some(at(100)));
    assert_eq!(stores.deliveries.next_due("crm", vec![one]).await.unwrap(), None);
    assert_eq!(due(stores, 100).await, ["message.sent"]);
    assert_eq!(stores.deliveries.due("crm", 9, vec![one], at(100)).await.unwrap().len(), 0);
    settle(stores, vec![tried(one, 2, Outcome::Dead)], 101).await;
    let next = stores.deliveries.due("crm", 9, Vec::new(), at(101)).await.unwrap();
    assert_eq!(
        (next.len(), next[0].event.kind.as_str()),
        (1, "message.delivered"),
        "also behind one that was given up"
    );
    settle(stores, vec![tried(next[0].id, 1, Outcome::Delivered)], 102).await;
    assert_eq!(due(stores, 102).await, ["message.later"]);
}

#[rstest]
#[tokio::test]
async fn a_result_counts_once(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    raise(stores, "message.sent", Some("msg_1"), 1).await;
    let id = claimed(stores, claim(Cursor::default(), 9, 10)).await.due[0].id;
    settle(stores, vec![tried(id, 1, Outcome::Retry { at: at(30) })], 20).await;
    settle(stores, vec![tried(id, 1, Outcome::Dead)], 21).await;
    let waiting = stores.deliveries.look_up(id).await.unwrap().unwrap();
    let expected = Delivery {
        id,
        webhook: "crm".to_owned(),
        event_id: events(stores).await[0].id,
        event_type: "message.sent".to_owned(),
        message_id: Some("msg_1".to_owned()),
        status: DeliveryStatus::Pending,
        attempts: 1,
        next_at: Some(at(30)),
        status_code: Some(500),
        error: Some("answered 500".to_owned()),
        duration: Some(Duration::from_millis(12)),
        created_at: at(10),
        updated_at: at(20),
        first_tried_at: Some(at(50)),
    };
    assert_eq!(waiting, expected);
    settle(stores, vec![tried(id, 2, Outcome::Delivered)], 40).await;
    settle(stores, vec![tried(id, 3, Outcome::Retry { at: at(90) })], 41).await;
    let over = stores.deliveries.look_up(id).await.unwrap().unwrap();
    let (status, next_at, status_code) = (DeliveryStatus::Delivered, None, Some(204));
    let expected = Delivery { status, attempts: 2, next_at, status_code, error: None, updated_at: at(40), ..expected };
    assert_eq!(over, expected, "nothing leaves an end");
}

#[rstest]
#[tokio::test]
async fn an_endpoint_that_is_gone_disables_its_webhook_once_and_tells_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = house(backend).await;
    let stores = &house.stores;
    for second in 1..=2 {
        raise(stores, "message.sent", None, second).await;
    }
    let due = claimed(stores, claim(Cursor::default(), 9, 10)).await.due;
    let gone = |second| NewEvent::of_account("webhook.disabled", "shop", at(second), "{}".to_owned());
    for (second, due) in (20..).zip(&due) {
        let tried = vec![tried(due.id, 1, Outcome::Dead)];
        let settling = Settling { webhook: "crm".to_owned(), tried, gone: Some(gone(second)), now: at(second) };
        stores.deliveries.settle(settling).await.unwrap();
    }
    let disabled = stores.webhooks.standings().await.unwrap()[0].disabled.unwrap();
    assert_eq!((disabled.reason, disabled.since), (DisabledReason::Gone, at(20)));
    assert_eq!(all(stores, with_status(DeliveryStatus::Dead)).await.len(), 2);
    let told = events(stores).await;
    assert_eq!(told.iter().filter(|event| event.kind == "webhook.disabled").count(), 1);
}

#[rstest]
#[tokio::test]
async fn lists_are_narrowed_and_paged(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    let message = wxgate::domain::ids::MessageId::generate(at(0));
    for second in 1..=5 {
        let of = (second == 3).then(|| message.to_string());
        raise(stores, "message.sent", of.as_deref(), second).await;
    }
    let due = claimed(stores, claim(Cursor::default(), 9, 10)).await.due;
    settle(stores, vec![tried(due[0].id, 1, Outcome::Dead), tried(due[1].id, 1, Outcome::Delivered)], 20).await;
    let ids = |deliveries: &[Delivery]| deliveries.iter().map(|one| one.id).collect::<Vec<_>>();
    let newest_first: Vec<_> = due.iter().rev().map(|due| due.id).collect();
    assert_eq!(ids(&all(stores, DeliveryFilter::default()).await), newest_first);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: 2, after: after.clone() };
        let page = stores.deliveries.list(DeliveryFilter::default(), page).await.unwrap();
        paged.extend(ids(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, newest_first);
    for (filter, expected) in [
        (with_status(DeliveryStatus::Dead), vec![due[0].id]),
        (with_status(DeliveryStatus::Delivered), vec![due[1].id]),
        (DeliveryFilter { message_id: Some(message), ..DeliveryFilter::default() }, vec![due[2].id]),
        (DeliveryFilter { event_id: Some(due[3].event.id), ..DeliveryFilter::default() }, vec![due[3].id]),
        (DeliveryFilter { webhook: Some("erp".to_owned()), ..DeliveryFilter::default() }, vec![]),
    ] {
        assert_eq!(ids(&all(stores, filter.clone()).await), expected, "{filter:?}");
    }
    let backlog = stores.deliveries.backlog("crm", Interest::default(), None).await.unwrap();
    assert_eq!((backlog.pending, backlog.dead, backlog.oldest_at), (3, 1, Some(at(3))));
    let rest = due[2..].iter().map(|due| tried(due.id, 1, Outcome::Delivered)).collect();
    settle(stores, rest, 30).await;
    let backlog = stores.deliveries.backlog("crm", Interest::default(), None).await.unwrap();
    assert_eq!((backlog.pending, backlog.oldest_at), (0, None));
    raise(stores, "quota.low", None, 40).await;
    raise(stores, "message.sent", None, 41).await;
    let behind = stores.deliveries.backlog("crm", only(&["message.*"]), None).await.unwrap();
    assert_eq!(behind.oldest_at, Some(at(41)), "what is not claimed counts too");
}

fn replay(what: ReplayOf, is_dry_run: bool, after: Position) -> Replay {
    let interest = only(&["message.*"]);
    Replay { webhook: "crm".to_owned(), interest, what, is_dry_run, after, now: at(100), act: act() }
}

fn counts(replayed: &Replayed) -> (usize, usize, usize) {
    (replayed.matched, replayed.added, replayed.pending)
}

#[rstest]
#[tokio::test]
async fn what_is_asked_for_is_told_once_more(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    for (second, kind) in (1..).zip(["message.sent", "message.sent", "message.failed", "quota.low"]) {
        raise(stores, kind, Some("msg_1"), second).await;
    }
    let ids: Vec<_> = events(stores).await.iter().map(|event| event.id).collect();
    let nobody = EventId::generate(at(9));
    let named = || ReplayOf::Events(vec![ids[2], ids[0], nobody, ids[0]]);
    let replayed = async |what, is_dry_run| {
        stores.deliveries.replay(replay(what, is_dry_run, Position::default()), 9).await.unwrap()
    };
    let dry = replayed(named(), true).await;
    assert_eq!((counts(&dry), dry.unknown), ((2, 2, 0), vec![nobody]));
    assert!(all(stores, DeliveryFilter::default()).await.is_empty(), "only counted");
    assert_eq!(counts(&replayed(named(), false).await), (2, 2, 0));
    let made = all(stores, DeliveryFilter::default()).await;
    assert_eq!(made.iter().map(|one| one.event_id).collect::<Vec<_>>(), [ids[2], ids[0]], "in the order of the events");
    assert_eq!(made.iter().map(|one| one.next_at).collect::<Vec<_>>(), [None, Some(at(100))], "of one message");
    assert_eq!(counts(&replayed(named(), false).await), (2, 0, 2), "no second one of what is pending");
    let filter = |kinds: &[&str]| EventFilter { kinds: only(kinds).kinds, ..EventFilter::default() };
    let by = |kinds: &[&str], last| ReplayOf::Filter { filter: filter(kinds), last };
    assert_eq!(counts(&replayed(by(&["*"], None), true).await), (3, 1, 2), "what it is interested in");
    assert_eq!(counts(&replayed(by(&["message.failed"], None), true).await), (1, 0, 1));
    assert_eq!(counts(&replayed(by(&["quota.*"], None), true).await), (0, 0, 0));
    let time = EventFilter { created_after: Some(at(2)), created_before: Some(at(3)), ..EventFilter::default() };
    assert_eq!(counts(&replayed(ReplayOf::Filter { filter: time, last: None }, true).await), (1, 1, 0));
    // Those that were given up.
    settle(stores, vec![tried(made[1].id, 1, Outcome::Dead)], 110).await;
    settle(stores, vec![tried(made[0].id, 1, Outcome::Delivered)], 111).await;
    let dead = || by(&[], Some(DeliveryStatus::Dead));
    assert_eq!(counts(&replayed(dead(), true).await), (1, 1, 0));
    assert_eq!(counts(&replayed(dead(), false).await), (1, 1, 0));
    assert_eq!(counts(&replayed(dead(), false).await), (0, 0, 0), "its last delivery is pending");
    let again = all(stores, with_status(DeliveryStatus::Pending)).await;
    assert_eq!((again.len(), again[0].event_id, again[0].attempts), (1, ids[0], 0));
    assert!(again[0].id != made[1].id);
    settle(stores, vec![tried(again[0].id, 1, Outcome::Delivered)], 120).await;
    assert_eq!(counts(&replayed(dead(), false).await), (0, 0, 0), "and then delivered");
}

#[rstest]
#[tokio::test]
async fn a_replay_goes_on_in_parts(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    for second in 1..=5 {
        raise(stores, "message.sent", None, second).await;
    }
    settled(stores).await;
    for last in [None, Some(DeliveryStatus::Dead)] {
        let what = || ReplayOf::Filter { filter: EventFilter::default(), last };
        let (mut sum, mut parts) = (Replayed::default(), 0);
        loop {
            let after = sum.next.unwrap_or_default();
            let mut one = replay(what(), false, after);
            one.act.id = wxgate::domain::ids::AuditId::generate(at(parts));
            sum.add(stores.deliveries.replay(one, 2).await.unwrap());
            parts += 1;
            if sum.next.is_none() {
                break;
            }
        }
        assert_eq!((counts(&sum), parts), ((5, 5, 0), 3));
        let due = stores.deliveries.due("crm", 9, Vec::new(), at(200)).await.unwrap();
        assert_eq!(due.len(), 5);
        settle(stores, due.iter().map(|due| tried(due.id, 1, Outcome::Dead)).collect(), 200).await;
    }
    let others = Interest { accounts: Some(vec!["club".to_owned()]), ..Interest::default() };
    let id = events(stores).await[0].id;
    for what in [ReplayOf::Events(vec![id]), ReplayOf::Filter { filter: EventFilter::default(), last: None }] {
        let not_theirs = Replay { interest: others.clone(), ..replay(what, true, Position::default()) };
        let replayed = stores.deliveries.replay(not_theirs, 9).await.unwrap();
        assert_eq!(replayed.matched, 0, "of another account");
    }
}

#[rstest]
#[tokio::test]
async fn an_event_is_kept_as_long_as_a_delivery_needs_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = house(backend).await;
    let stores = &house.stores;
    for second in 1..=6 {
        raise(stores, "message.sent", (second <= 2).then_some("msg_1"), second).await;
    }
    let due = claimed(stores, claim(Cursor::default(), 9, 10)).await.due;
    assert_eq!(due.len(), 5);
    settle(stores, due[2..].iter().map(|due| tried(due.id, 1, Outcome::Delivered)).collect(), 20).await;
    raise(stores, "quota.low", None, 1000).await;
    settled(stores).await;
    let known = || vec!["crm".to_owned()];
    let forget = async |known: Vec<String>| {
        let mut gone = 0;
        loop {
            let deliveries = stores.deliveries.forget(at(500), known.clone(), 2, at(1000)).await.unwrap();
            assert!(deliveries <= 2);
            gone += deliveries;
            if deliveries < 2 {
                break;
            }
        }
        while stores.events.forget(at(500), 2).await.unwrap() == 2 {}
        gone
    };
    assert_eq!(forget(known()).await, 3);
    let kept: Vec<_> = events(stores).await.iter().map(|event| event.at).collect();
    assert_eq!(kept, [at(1), at(2), at(3), at(1000)], "the first three are still to be told");
    // Off for longer than events are kept: nothing holds them any more.
    stores.webhooks.disable("crm", DisabledReason::Operator, at(1000), act()).await.unwrap();
    assert_eq!(forget(known()).await, 3);
    assert_eq!(events(stores).await.len(), 1);
    // The same of one that nobody configures any more.
    stores.webhooks.enable("crm", false, at(1000), act()).await.unwrap();
    raise(stores, "message.sent", None, 30).await;
    let cursor = stores.webhooks.standings().await.unwrap()[0].cursor;
    let claims = claimed(stores, claim(Cursor { kept: cursor, seen: cursor }, 9, 31)).await;
    assert_eq!(claims.made, 2);
    assert_eq!(forget(known()).await, 0);
    assert_eq!(forget(Vec::new()).await, 2);
}

#[rstest]
#[tokio::test]
async fn a_delivery_whose_event_is_gone_is_given_up(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = house(backend).await;
    let stores = &house.stores;
    for second in 1..=2 {
        raise(stores, "message.sent", Some("msg_1"), second).await;
    }
    let due = claimed(stores, claim(Cursor::default(), 9, 10)).await.due;
    house.execute(&format!("DELETE FROM events WHERE id = '{}'", due[0].event.id)).await;
    assert!(stores.deliveries.due("crm", 9, Vec::new(), at(11)).await.unwrap().is_empty());
    let dead = stores.deliveries.look_up(due[0].id).await.unwrap().unwrap();
    assert_eq!((dead.status, dead.error.as_deref()), (DeliveryStatus::Dead, Some("the event is no longer kept")));
    assert_eq!(stores.deliveries.due("crm", 9, Vec::new(), at(11)).await.unwrap().len(), 1, "the next one goes on");
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_is_removed_is_told_nothing_more(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let webhook = super::webhooks::stored(1);
    stores.webhooks.add(webhook.clone(), act()).await.unwrap();
    let key = webhook.id.to_string();
    assert_eq!(stores.webhooks.take(vec![key.clone()]).await.unwrap(), std::slice::from_ref(&key));
    raise(stores, "message.sent", None, 2).await;
    let claim = Claim { webhook: key.clone(), ..claim(Cursor::default(), 9, 3) };
    let due = claimed(stores, claim.clone()).await;
    assert_eq!(due.made, 1);
    assert_eq!(stores.webhooks.remove(&key, at(4), act()).await.unwrap(), Some(1));
    assert_eq!(all(stores, with_status(DeliveryStatus::Canceled)).await.len(), 1);
    raise(stores, "message.sent", None, 5).await;
    settled(stores).await;
    assert!(matches!(stores.deliveries.claim(Claim { from: due.cursor, ..claim }).await.unwrap(), Claimed::Lost));
}
