//! `Events`: one for each change that has a type, in the transaction of the change.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use wxgate::domain::batch::NewBatch;
use wxgate::domain::callback::NewCallback;
use wxgate::domain::event::{Event, EventFilter, KindPattern, NewEvent, Position, of_state};
use wxgate::domain::ids::{BatchId, CallbackId, EventId, MessageId};
use wxgate::domain::message::NewMessage;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::State;
use wxgate::store::{Ring, Stores};

use super::backend::{Backend, House};
use super::build::{
    HOLD, WINDOW, act, at, callback, leased, look_up, message, receipt, seen, sent, settlement, shop, to_queued,
    to_sent, unknown,
};

/// All that is kept: a transaction of anybody who uses the same server may be waited for.
async fn read(stores: &Stores, filter: EventFilter) -> Vec<Event> {
    for _ in 0..1000 {
        let all = stores.events.read(EventFilter::default(), Position::default(), 1000).await.unwrap();
        if !all.is_waiting {
            return stores.events.read(filter, Position::default(), 1000).await.unwrap().events;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("somebody holds a transaction open");
}

pub(super) async fn kinds(stores: &Stores, filter: EventFilter) -> Vec<String> {
    read(stores, filter).await.into_iter().map(|event| event.kind).collect()
}

fn only(pattern: &str) -> EventFilter {
    EventFilter { kinds: vec![KindPattern::parse(pattern).unwrap()], ..EventFilter::default() }
}

async fn data(stores: &Stores, filter: EventFilter) -> Value {
    let event = read(stores, filter).await.pop().expect("an event");
    serde_json::from_str(event.data.get()).unwrap()
}

/// Its events are its history's lines of states that are told, in their order.
async fn tells_its_history(stores: &Stores, id: MessageId, expected: &[&str]) {
    let told = kinds(stores, EventFilter { message_id: Some(id), ..EventFilter::default() }).await;
    let history: Vec<_> = look_up(stores, id).await.history.iter().filter_map(|line| of_state(line.state)).collect();
    assert_eq!(told, history);
    assert_eq!(told, expected);
}

#[rstest]
#[tokio::test]
async fn each_change_of_a_message_is_told_once(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let stores = &house.stores;
    // Sent, delivered; a repeat, a contradiction and a late settlement tell nothing.
    let delivered = sent(stores, "o1", "900").await;
    stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    stores.inbox.record(receipt("900", "o1", "success")).await.unwrap();
    stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    // The receipt came before the answer.
    stores.inbox.record(receipt("901", "o2", "failed:user block")).await.unwrap();
    let undelivered = sent(stores, "o2", "901").await;
    // Refused, given up, out of time.
    let lease = leased(stores, message("o3", at(0))).await;
    let rejected = lease.message_id;
    let refusal = Next::Rejected { reason: "43004".to_owned() };
    stores.queue.settle(lease.clone(), settlement(refusal.clone()), at(1)).await.unwrap();
    assert!(!stores.queue.settle(lease, settlement(refusal), at(2)).await.unwrap().applied);
    let lease = leased(stores, message("o4", at(0))).await;
    let failed = lease.message_id;
    stores.queue.settle(lease, settlement(Next::Failed { reason: "busy".to_owned() }), at(1)).await.unwrap();
    let waiting = message("o5", at(0));
    let expired = waiting.id;
    stores.outbox.accept(waiting, None).await.unwrap();
    stores.queue.expire(at(3600), 9).await.unwrap();
    // By hand.
    let waiting = message("o6", at(0));
    let canceled = waiting.id;
    stores.outbox.accept(waiting, None).await.unwrap();
    for _ in 0..2 {
        stores.messages.cancel(canceled, at(2)).await.unwrap();
    }
    let resolved = unknown(stores, "o7").await;
    for _ in 0..2 {
        stores.messages.resolve(resolved, State::Sent, at(2), act()).await.unwrap();
    }
    // Under way to no end yet.
    let lease = leased(stores, message("o8", at(0))).await;
    let queued = lease.message_id;
    stores.queue.settle(lease, to_queued(at(9000), None), at(1)).await.unwrap();
    // A crash, and what a restored backup doubts.
    let crashed = leased(stores, message("o9", at(0))).await.message_id;
    let restored = message("o10", at(0));
    let doubted = restored.id;
    stores.outbox.accept(restored, None).await.unwrap();
    house.restart().await;
    let stores = &house.stores;
    stores.queue.rescue(at(3000), WINDOW, 9, &[]).await.unwrap();
    stores.restore.doubt(at(8000), 9, None).await.unwrap();
    for (id, expected) in [
        (delivered, vec!["message.sent", "message.delivered"]),
        (undelivered, vec!["message.sent", "message.undelivered"]),
        (rejected, vec!["message.rejected"]),
        (failed, vec!["message.failed"]),
        (expired, vec!["message.expired"]),
        (canceled, vec!["message.canceled"]),
        (resolved, vec!["message.unknown", "message.sent"]),
        (queued, vec![]),
        (crashed, vec!["message.unknown"]),
        (doubted, vec!["message.unknown"]),
    ] {
        tells_its_history(stores, id, &expected).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_message_tells_who_what_and_why(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let earlier = MessageId::generate(at(0));
    let new =
        NewMessage { metadata: Some(r#"{"order":"7"}"#.to_owned()), retry_of: Some(earlier), ..message("o1", at(0)) };
    let id = new.id;
    let lease = leased(&house.stores, new).await;
    house.stores.inbox.record(receipt("900", "o1", "failed:user block")).await.unwrap();
    house.stores.queue.settle(lease, to_sent(Some("900")), at(1)).await.unwrap();
    let filter = EventFilter { message_id: Some(id), ..only("message.undelivered") };
    let event = read(&house.stores, filter.clone()).await.remove(0);
    assert_eq!((event.account.as_deref(), event.client.as_deref(), event.at), (Some("shop"), Some("crm"), at(1)));
    assert_eq!(
        data(&house.stores, filter).await,
        json!({"message_id": id, "client": "crm", "touser": "o1", "template_id": "TPL", "state": "undelivered",
            "state_reason": "user_block", "msgid": "900", "errcode": 0, "errmsg": "ok", "attempts": 1,
            "metadata": {"order": "7"}, "retry_of": earlier, "created_at": at(0)})
    );
    let envelope = serde_json::to_value(&event).unwrap();
    let names: Vec<_> = envelope.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["account", "data", "id", "timestamp", "type"]);
    assert_eq!(envelope["type"], json!("message.undelivered"));
}

#[rstest]
#[tokio::test]
async fn a_row_that_cannot_be_read_is_told_of_too(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let broken = message("o1", at(0));
    let id = broken.id;
    house.stores.outbox.accept(broken, None).await.unwrap();
    house.execute("UPDATE messages SET on_unknown = 'perhaps', attempts = 'no json', metadata = '{'").await;
    let lane = wxgate::domain::state::Lane::Normal;
    assert!(house.stores.queue.lease(lane, &shop(), 9, at(1), HOLD).await.unwrap().is_empty());
    let filter = || EventFilter { message_id: Some(id), ..EventFilter::default() };
    let told = data(&house.stores, filter()).await;
    assert_eq!((&told["state"], &told["state_reason"]), (&json!("unknown"), &json!("corrupt")));
    house.stores.messages.resolve(id, State::Failed, at(2), act()).await.unwrap();
    assert_eq!(kinds(&house.stores, filter()).await, ["message.unknown", "message.failed"]);
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_told_does_not_happen(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    let id = lease.message_id;
    let (refuse, allow) = match backend {
        Backend::Sqlite => (
            "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "DROP TRIGGER refuse",
        ),
        Backend::Postgres => (
            "ALTER TABLE events ADD CONSTRAINT refuse CHECK (false) NOT VALID",
            "ALTER TABLE events DROP CONSTRAINT refuse",
        ),
    };
    house.execute(refuse).await;
    assert!(house.stores.queue.settle(lease.clone(), to_sent(Some("900")), at(1)).await.is_err());
    assert_eq!(look_up(&house.stores, id).await.state, State::Sending);
    house.execute(allow).await;
    assert!(house.stores.queue.settle(lease, to_sent(Some("900")), at(2)).await.unwrap().applied);
    tells_its_history(&house.stores, id, &["message.sent"]).await;
    assert_eq!(house.stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn a_callback_is_told_once_and_what_it_says_of_a_user(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let says = |key: &str, kind: &str, subscribed| NewCallback {
        id: CallbackId::generate(at(5)),
        kind: kind.to_owned(),
        user: seen("o1", subscribed),
        ..callback(key)
    };
    for (key, kind, subscribed) in [
        ("1", "event.subscribe", Some(true)),
        ("1", "event.subscribe", Some(true)),
        ("2", "text", None),
        // Followed already: nothing changes.
        ("3", "event.subscribe", Some(true)),
        ("4", "event.unsubscribe", Some(false)),
    ] {
        house.stores.inbox.record(says(key, kind, subscribed)).await.unwrap();
    }
    assert_eq!(
        kinds(&house.stores, EventFilter::default()).await,
        [
            "callback.event.subscribe",
            "user.subscribed",
            "callback.text",
            "callback.event.subscribe",
            "callback.event.unsubscribe",
            "user.unsubscribed"
        ]
    );
    assert_eq!(data(&house.stores, only("user.*")).await, json!({"openid": "o1"}));
    assert_eq!(data(&house.stores, only("callback.text")).await, json!({"content": {}}));
}

fn batch_of(openids: &[&str]) -> (NewBatch, Vec<(u32, NewMessage)>) {
    let id = BatchId::generate(at(0));
    let message = |openid: &&str| NewMessage { batch_id: Some(id), ..message(openid, at(0)) };
    let messages = (0..).zip(openids.iter().map(message)).collect();
    let client = "crm".to_owned();
    (NewBatch { id, client, created_at: at(0), idempotency: None, rejected: Vec::new() }, messages)
}

#[rstest]
#[tokio::test]
async fn a_batch_is_finished_once_when_nothing_of_it_is_under_way(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let (batch, messages) = batch_of(&["o1", "o2", "o3"]);
    let id = batch.id;
    stores.batches.keep(batch, messages, false).await.unwrap();
    let lane = wxgate::domain::state::Lane::Normal;
    let mut leases = stores.queue.lease(lane, &shop(), 2, at(1), HOLD).await.unwrap();
    let doubtful = settlement(Next::Unknown { reason: "timeout".to_owned() });
    let (second, first) = (leases.pop().unwrap(), leases.pop().unwrap());
    let touser = first.touser.as_str().to_owned();
    stores.queue.settle(first, to_sent(Some("900")), at(2)).await.unwrap();
    stores.queue.settle(second, doubtful, at(3)).await.unwrap();
    assert!(kinds(stores, only("batch.*")).await.is_empty(), "one is queued still");
    assert_eq!(stores.batches.cancel(id, None, at(4)).await.unwrap(), 1);
    stores.inbox.record(receipt("900", &touser, "success")).await.unwrap();
    let finished = read(stores, only("batch.*")).await;
    assert_eq!(finished.len(), 1);
    assert_eq!((finished[0].account.as_deref(), finished[0].at), (Some("shop"), at(4)));
    assert_eq!(
        data(stores, only("batch.*")).await,
        json!({"batch_id": id, "client": "crm", "messages": 3, "rejected": 0, "created_at": at(0),
            "counts": {"sent": 1, "unknown": 1, "canceled": 1}})
    );
    // All of its items were no messages: it is finished as it is kept.
    let (empty, none) = batch_of(&[]);
    stores.batches.keep(empty, none, false).await.unwrap();
    assert_eq!(kinds(stores, only("batch.finished")).await.len(), 2);
}

async fn raise(stores: &Stores, kind: &'static str, account: Option<&str>, second: i64) {
    let (account, at) = (account.map(str::to_owned), at(second));
    let event = NewEvent {
        kind: kind.into(),
        account,
        message_id: None,
        batch_id: None,
        client: None,
        at,
        data: "{}".to_owned(),
    };
    stores.events.raise(event).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn readers_go_on_where_they_were(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    for second in 0..7 {
        raise(stores, "token.conflict", Some("shop"), second).await;
    }
    assert_eq!(read(stores, EventFilter::default()).await.len(), 7);
    let (mut after, mut seen) = (Position::default(), Vec::new());
    loop {
        let stretch = stores.events.read(EventFilter::default(), after, 3).await.unwrap();
        seen.extend(stretch.events.iter().map(|event| event.at));
        assert_eq!(stretch.is_full, seen.len() < 7, "{}", seen.len());
        if !stretch.is_full {
            break;
        }
        after = stretch.next.unwrap();
    }
    assert_eq!(seen, (0..7).map(at).collect::<Vec<_>>());
    let all = read(stores, EventFilter::default()).await;
    assert_eq!(stores.events.newest().await.unwrap(), all[6].position);
    assert_eq!(stores.events.position_of(all[2].id).await.unwrap(), all[2].position);
    // Forgotten, or never there: by its time.
    let strange = EventId::generate(at(3).plus(Duration::from_millis(500)));
    assert_eq!(stores.events.position_of(strange).await.unwrap(), all[3].position);
    assert_eq!(stores.events.position_of(EventId::generate(at(-9))).await.unwrap(), Position::default());
    // The newest stays, so that positions only grow.
    assert_eq!(stores.events.forget(at(99), 2).await.unwrap(), 2);
    while stores.events.forget(at(99), 2).await.unwrap() > 0 {}
    let left = read(stores, EventFilter::default()).await;
    assert_eq!(left.iter().map(|event| event.id).collect::<Vec<_>>(), [all[6].id]);
    raise(stores, "token.conflict", None, 9).await;
    read(stores, EventFilter::default()).await;
    assert!(stores.events.newest().await.unwrap() > all[6].position);
}

#[rstest]
#[tokio::test]
async fn filters_leave_what_is_asked_for(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let id = sent(stores, "o1", "900").await;
    raise(stores, "token.conflict", Some("shop"), 1).await;
    raise(stores, "quota.low", Some("club"), 200).await;
    raise(stores, "quota.exhausted", None, 400).await;
    let all = EventFilter::default;
    for (filter, expected) in [
        (EventFilter { account: Some("club".to_owned()), ..all() }, vec!["quota.low"]),
        (EventFilter { visible_accounts: Some(vec!["club".to_owned(), "x".to_owned()]), ..all() }, vec!["quota.low"]),
        (EventFilter { visible_accounts: Some(Vec::new()), ..all() }, vec![]),
        (only("quota.*"), vec!["quota.low", "quota.exhausted"]),
        (
            EventFilter { kinds: ["quota.low", "message.*"].map(|k| KindPattern::parse(k).unwrap()).to_vec(), ..all() },
            vec!["message.sent", "quota.low"],
        ),
        (EventFilter { message_id: Some(id), ..all() }, vec!["message.sent"]),
        (EventFilter { created_after: Some(at(200)), ..all() }, vec!["quota.low", "quota.exhausted"]),
        (EventFilter { created_before: Some(at(200)), ..all() }, vec!["message.sent", "token.conflict"]),
        (EventFilter { batch_id: Some(BatchId::generate(at(0))), ..all() }, vec![]),
    ] {
        let found = read(stores, filter.clone()).await;
        assert_eq!(found.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
        let fits = read(stores, all()).await.iter().filter(|event| filter.fits(event)).count();
        assert_eq!(fits, expected.len(), "{filter:?}");
    }
}

#[rstest]
#[tokio::test]
async fn the_bell_rings_after_a_commit_that_tells(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let (mut one, mut other) = (house.stores.events.ring(), house.stores.events.ring());
    let rung = async |ring: &mut Ring, wait| tokio::time::timeout(Duration::from_millis(wait), ring.rung()).await;
    let lease = leased(&house.stores, message("o1", at(0))).await;
    assert!(rung(&mut one, 20).await.is_err(), "nothing is told of what is accepted");
    house.stores.queue.settle(lease, to_sent(Some("900")), at(1)).await.unwrap();
    assert!(rung(&mut one, 5000).await.is_ok());
    assert!(rung(&mut one, 20).await.is_err(), "once");
    assert!(rung(&mut other, 5000).await.is_ok(), "each has a ring of its own");
}

async fn open_twice() -> (House, Stores) {
    let house = Backend::Postgres.open().await;
    let boot = wxgate::domain::ids::BootId::generate(at(1));
    let other = wxgate::store::open::open(&house.config, boot, super::backend::sealer()).await.unwrap();
    (house, other)
}

#[tokio::test]
async fn what_commits_late_is_not_passed_by() {
    let house = Backend::Postgres.open().await;
    let wxgate::config::store::StoreConfig::Postgres(config) = &house.config else { panic!("PostgreSQL") };
    let (slow, connection) = tokio_postgres::connect(config.url.expose(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // A transaction of another node that has its number, and has written, and does not commit.
    let late = EventId::generate(at(0));
    slow.batch_execute("BEGIN").await.unwrap();
    let insert = "INSERT INTO events (horizon, id, type, at, data)
        SELECT pg_current_xact_id()::text::bigint, $1, 'late', 0, '{}'";
    slow.execute(insert, &[&late.to_string()]).await.unwrap();
    raise(&house.stores, "token.conflict", None, 1).await;
    let stretch = house.stores.events.read(EventFilter::default(), Position::default(), 9).await.unwrap();
    assert!(stretch.events.is_empty() && stretch.is_waiting, "{stretch:?}");
    assert_eq!(house.stores.events.newest().await.unwrap(), Position::default());
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(kinds(&house.stores, EventFilter::default()).await, ["late", "token.conflict"]);
}

#[tokio::test]
async fn a_transaction_that_began_earlier_and_changes_later_is_told_later() {
    let house = Backend::Postgres.open().await;
    let wxgate::config::store::StoreConfig::Postgres(config) = &house.config else { panic!("PostgreSQL") };
    let (slow, connection) = tokio_postgres::connect(config.url.expose(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // It has its number before the other has, and tells after the other's commit: with a store of ours that is how two
    // nodes change one message.
    slow.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    raise(&house.stores, "token.conflict", None, 1).await;
    let insert = "INSERT INTO events (horizon, id, type, at, data)
        SELECT greatest(pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1),
            $1, 'later', 0, '{}'";
    slow.execute(insert, &[&EventId::generate(at(0)).to_string()]).await.unwrap();
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(kinds(&house.stores, EventFilter::default()).await, ["token.conflict", "later"]);
}

#[tokio::test]
async fn a_dump_of_another_server_goes_before_all_that_is_new() {
    let mut house = Backend::Postgres.open().await;
    raise(&house.stores, "token.conflict", None, 1).await;
    raise(&house.stores, "quota.low", None, 2).await;
    house.execute("UPDATE events SET horizon = horizon + 1000000000").await;
    let ahead = house.stores.events.read(EventFilter::default(), Position::default(), 9).await.unwrap();
    assert!(ahead.events.is_empty() && ahead.is_waiting);
    house.restart().await;
    raise(&house.stores, "quota.exhausted", None, 3).await;
    assert_eq!(kinds(&house.stores, EventFilter::default()).await, ["token.conflict", "quota.low", "quota.exhausted"]);
}

#[tokio::test]
async fn two_nodes_that_end_one_batch_together_finish_it_once() {
    let (house, other) = open_twice().await;
    let lane = wxgate::domain::state::Lane::Normal;
    for round in 0..10 {
        let names: Vec<_> = (0..2).map(|n| format!("o{round}-{n}")).collect();
        let (batch, messages) = batch_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
        house.stores.batches.keep(batch, messages, false).await.unwrap();
        let one = house.stores.queue.lease(lane, &shop(), 1, at(1), HOLD).await.unwrap().remove(0);
        let two = other.queue.lease(lane, &shop(), 1, at(1), HOLD).await.unwrap().remove(0);
        let (first, second) = tokio::join!(
            house.stores.queue.settle(one, to_sent(None), at(2)),
            other.queue.settle(two, to_sent(None), at(2)),
        );
        assert!(first.unwrap().applied && second.unwrap().applied);
    }
    assert_eq!(kinds(&other, only("batch.finished")).await.len(), 10);
    other.close().await;
}
