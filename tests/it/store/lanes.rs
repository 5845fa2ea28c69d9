//! `Queue::lease`: whose messages are lent, and how many.

use rstest::rstest;
use wxgate::domain::ids::MessageId;
use wxgate::domain::message::Lease;
use wxgate::domain::state::Lane;
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{HOLD, at, message, open_account};

async fn queued(stores: &Stores, account: &str, touser: &str, due: i64) -> MessageId {
    let mut new = message(touser, at(due));
    new.account = account.into();
    let id = new.id;
    stores.outbox.accept(new, None).await.unwrap();
    id
}

fn ids(leases: &[Lease]) -> Vec<MessageId> {
    leases.iter().map(|lease| lease.message_id).collect()
}

#[rstest]
#[tokio::test]
async fn each_account_lends_what_it_has_room_for_in_the_order_asked(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let (stores, queue) = (&house.stores, &house.stores.queue);
    let mut of = [Vec::new(), Vec::new()];
    for n in 0..4 {
        of[0].push(queued(stores, "a", "o1", n).await);
        of[1].push(queued(stores, "b", "o1", n).await);
    }
    let open = [open_account("b", 2), open_account("a", 1)];
    let lent = queue.lease(Lane::Normal, &open, 9, at(9), HOLD).await.unwrap();
    assert_eq!(ids(&lent), [of[1][0], of[1][1], of[0][0]]);
    assert_eq!(lent.iter().map(|lease| &*lease.account).collect::<Vec<_>>(), ["b", "b", "a"]);
    let open = [open_account("b", 9), open_account("a", 9)];
    let lent = queue.lease(Lane::Normal, &open, 3, at(9), HOLD).await.unwrap();
    assert_eq!(ids(&lent), [of[1][2], of[1][3], of[0][1]]);
    assert!(queue.lease(Lane::Normal, &open, 0, at(9), HOLD).await.unwrap().is_empty());
    assert!(queue.lease(Lane::Normal, &[open_account("a", 0)], 9, at(9), HOLD).await.unwrap().is_empty());
}

#[rstest]
#[tokio::test]
async fn who_is_not_open_lends_nothing_and_is_not_waited_for(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let queue = &house.stores.queue;
    queued(&house.stores, "closed", "o1", 0).await;
    let waiting = queued(&house.stores, "open", "o1", 5).await;
    let (open, both) = ([open_account("open", 9)], [open_account("open", 9), open_account("closed", 1)]);
    assert_eq!(queue.next_due(&open).await.unwrap(), Some(at(5)));
    assert_eq!(queue.next_due(&both).await.unwrap(), Some(at(0)));
    assert_eq!(queue.next_due(&[]).await.unwrap(), None);
    assert!(queue.lease(Lane::Normal, &[], 9, at(9), HOLD).await.unwrap().is_empty());
    assert_eq!(ids(&queue.lease(Lane::Normal, &open, 9, at(9), HOLD).await.unwrap()), [waiting]);
    assert_eq!(house.stores.counts.oldest_ready(at(9)).await.unwrap(), Some(at(0)), "of all accounts");
}

#[rstest]
#[tokio::test]
async fn a_row_that_cannot_be_read_takes_nobodys_room(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    for n in 0..3 {
        queued(&house.stores, "shop", "oBROKEN", n).await;
    }
    let sound = queued(&house.stores, "shop", "o1", 5).await;
    house.execute("UPDATE messages SET on_unknown = 'perhaps' WHERE touser = 'oBROKEN'").await;
    let lent = house.stores.queue.lease(Lane::Normal, &[open_account("shop", 1)], 9, at(9), HOLD).await.unwrap();
    assert_eq!(ids(&lent), [sound]);
    assert_eq!(house.stores.counts.unaccounted(), 0);
}

async fn queued_by(stores: &Stores, client: &str, due: i64) -> MessageId {
    let mut new = message("o1", at(due));
    new.client = client.into();
    let id = new.id;
    stores.outbox.accept(new, None).await.unwrap();
    id
}

#[rstest]
#[tokio::test]
async fn the_flood_of_one_client_is_not_the_waiting_of_another(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let (stores, queue) = (&house.stores, &house.stores.queue);
    for _ in 0..10 {
        futures_util::future::join_all((0..500).map(|n| queued_by(stores, "flood", n % 100))).await;
    }
    let (late, waiting) = (queued_by(stores, "quiet", 500).await, queued_by(stores, "soon", 900).await);
    assert_eq!(queue.next_due(&[open_account("shop", 9)]).await.unwrap(), Some(at(0)));
    // One at a time, as slots come free: it is the second at the latest.
    let mut lent = Vec::new();
    for _ in 0..4 {
        lent.extend(ids(&queue.lease(Lane::Normal, &[open_account("shop", 1)], 1, at(600), HOLD).await.unwrap()));
    }
    assert_eq!(lent.iter().position(|id| *id == late), Some(1));
    assert_eq!((lent.len(), lent.contains(&waiting)), (4, false), "what is not due yet has no turn");
    // Many at once.
    let again = [queued_by(stores, "quiet", 501).await, queued_by(stores, "quiet", 502).await];
    let lent = ids(&queue.lease(Lane::Normal, &[open_account("shop", 64)], 64, at(600), HOLD).await.unwrap());
    assert_eq!(lent.len(), 64, "no turn is left unused");
    assert!(again.iter().all(|id| lent.contains(id)));
    assert_eq!(stores.counts.unaccounted(), 0);
}

#[rstest]
#[tokio::test]
async fn of_one_client_the_oldest_due_goes_first_and_the_others_still_have_a_date(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let (stores, queue) = (&house.stores, &house.stores.queue);
    let open = [open_account("shop", 9)];
    let b = [queued_by(stores, "b", 7).await, queued_by(stores, "b", 3).await];
    let a = [queued_by(stores, "a", 50).await, queued_by(stores, "a", 6).await];
    assert_eq!(queue.next_due(&open).await.unwrap(), Some(at(3)));
    assert_eq!(stores.counts.oldest_ready(at(9)).await.unwrap(), Some(at(3)));
    let mut lent = Vec::new();
    for _ in 0..5 {
        lent.extend(ids(&queue.lease(Lane::Normal, &open, 1, at(9), HOLD).await.unwrap()));
    }
    assert_eq!(lent, [a[1], b[1], b[0]]);
    assert_eq!(queue.next_due(&open).await.unwrap(), Some(at(50)));
}
