//! The connection is lost while COMMIT is on its way: the database knows what became of it, and nobody is told otherwise.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rstest::rstest;
use wxgate::domain::ids::MessageId;
use wxgate::domain::state::{Lane, State};
use wxgate::store::{Accepted, Error};

use super::super::backend::Database;
use super::super::build::{HOLD, at, key, leased, look_up, message, path, shop, to_sent};
use super::server::Way;
use super::{open_through, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_without_an_answer_is_answered_all_the_same() {
    let database = Database::create().await;
    let way = Way::to(&database).await;
    let stores = open_through(&database, way.url(&database)).await;
    for round in 0..3 {
        way.lose_commits(1);
        let news: Vec<_> = (0..20).map(|n| message("o1", at(n))).collect();
        let ids: Vec<_> = news.iter().map(|new| new.id).collect();
        let accepts = join_all(news.into_iter().map(|new| stores.outbox.accept(new, None))).await;
        assert!(accepts.iter().all(|answer| matches!(answer, Ok(Accepted::New))), "{accepts:?}");
        assert_eq!(way.lost(), round + 1);
        for id in ids {
            assert_eq!(look_up(&stores, id).await.state, State::Queued);
        }
    }
    assert_eq!((stores.counts.accepted(), stores.counts.unaccounted()), (60, 0));
    // A settlement, too, is applied once and says so.
    let lease = leased(&stores, message("o2", at(0))).await;
    way.lose_commits(1);
    let settled = stores.queue.settle(lease, to_sent(Some("900")), at(1)).await.unwrap();
    assert!(settled.applied && settled.state == State::Sent);
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_committed_is_refused() {
    let database = Database::create().await;
    let way = Way::to(&database).await;
    let stores = open_through(&database, way.url(&database)).await;
    // COMMIT takes long, and is cut short.
    database
        .execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION slowly()",
        )
        .await;
    let new = message("o1", at(0));
    let id = new.id;
    let accepting = tokio::spawn({
        let outbox = stores.outbox.clone();
        async move { outbox.accept(new, None).await }
    });
    let writers = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%COMMIT%'
        AND state = 'active' AND application_name LIKE 'wxgate writer%'";
    until("the commit is under way", async || {
        database.column::<i32>(&format!("SELECT pid {writers}")).await.len() == 1
    })
    .await;
    database.execute(&format!("SELECT pg_terminate_backend(pid) {writers}; DROP TRIGGER slowly ON messages")).await;
    let refused = accepting.await.unwrap();
    assert!(
        matches!(&refused, Err(Error::Unavailable { reason }) if reason.contains("nothing was written")),
        "{refused:?}"
    );
    assert!(stores.messages.look_up(id).await.unwrap().is_none());
    assert_eq!(stores.outbox.accept(message("o1", at(1)), None).await.unwrap(), Accepted::New);
    stores.close().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_and_could_not_be_confirmed_is_taken_back(
    #[values(None, Some(HOLD))] first_lease: Option<Duration>,
) {
    let database = Database::create().await;
    let way = Way::to(&database).await;
    let stores = open_through(&database, way.url(&database)).await;
    let before = message("o0", at(0));
    let untouched = before.id;
    stores.outbox.accept(before, None).await.unwrap();

    let mut new = message("o1", at(1));
    new.idempotency = key("k", "hash");
    let id = new.id;
    way.lose_commit_and_close();
    let begun = Instant::now();
    let answer = stores.outbox.accept(new.clone(), first_lease).await;
    assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(12), "it waited {:?}", begun.elapsed());
    // Meanwhile others are refused at once.
    let begun = Instant::now();
    assert!(matches!(stores.outbox.accept(message("o1", at(2)), None).await, Err(Error::Unavailable { .. })));
    assert!(begun.elapsed() < Duration::from_secs(1));

    way.open();
    until("it works again", async || stores.counts.probe().await.is_ok()).await;
    let taken_back = look_up(&stores, id).await;
    assert_eq!((taken_back.state, taken_back.state_reason.as_deref()), (State::Canceled, Some("unconfirmed")));
    assert_eq!(look_up(&stores, untouched).await.state, State::Queued);
    // Its caller comes again with the same key, and is heard.
    new.id = MessageId::generate(at(3));
    assert_eq!(stores.outbox.accept(new, None).await.unwrap(), Accepted::New);
    until("the figures agree", async || (stores.counts.accepted(), stores.counts.unaccounted()) == (3, 0)).await;
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lent_and_could_not_be_confirmed_goes_back() {
    let database = Database::create().await;
    let way = Way::to(&database).await;
    let stores = open_through(&database, way.url(&database)).await;
    let new = message("o1", at(1));
    let id = new.id;
    stores.outbox.accept(new, None).await.unwrap();
    way.lose_commit_and_close();
    assert!(stores.queue.lease(Lane::Normal, &shop(), 9, at(2), HOLD).await.is_err());
    way.open();
    until("it works again", async || stores.counts.probe().await.is_ok()).await;
    let back = look_up(&stores, id).await;
    assert_eq!(path(&back), [State::Queued, State::Sending, State::Queued]);
    let lent = stores.queue.lease(Lane::Normal, &shop(), 9, at(3), HOLD).await.unwrap();
    assert_eq!((lent.len(), lent[0].doubtful_since), (1, None), "nothing was sent, so nothing is in doubt");
    stores.close().await;
}
