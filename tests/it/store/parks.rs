//! `Parks`.

use rstest::rstest;

use super::backend::Backend;
use super::build::at;

#[rstest]
#[tokio::test]
async fn an_account_is_parked_until_the_last_time_that_was_said(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let parks = &house.stores.parks;
    assert_eq!(parks.list().await.unwrap(), []);
    parks.unpark("shop").await.unwrap();
    parks.park("shop", at(9)).await.unwrap();
    parks.park("other", at(5)).await.unwrap();
    parks.park("shop", at(7)).await.unwrap();
    let mut parked = parks.list().await.unwrap();
    parked.sort();
    assert_eq!(parked, [("other".to_owned(), at(5)), ("shop".to_owned(), at(7))]);
    parks.unpark("shop").await.unwrap();
    assert_eq!(parks.list().await.unwrap(), [("other".to_owned(), at(5))]);
}
