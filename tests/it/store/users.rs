//! `Users`.

use rstest::rstest;

use super::backend::Backend;
use super::build::{act, at, openid};

#[rstest]
#[tokio::test]
async fn a_user_id_belongs_to_one_openid_of_an_account(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let users = &house.stores.users;
    let (first, second) = (openid("o1"), openid("o2"));
    let bound = users.bind("shop", &first, Some("u7"), at(1), act()).await.unwrap();
    assert_eq!((bound.user_id.as_deref(), bound.first_seen_at, bound.subscribed), (Some("u7"), at(1), None));
    users.bind("other", &first, Some("u7"), at(1), act()).await.unwrap();
    users.bind("shop", &second, Some("u7"), at(2), act()).await.unwrap();
    assert_eq!(users.by_user_id("shop", "u7").await.unwrap().unwrap().openid, second);
    assert_eq!(users.look_up("shop", &first).await.unwrap().unwrap().user_id, None);
    assert_eq!(users.by_user_id("other", "u7").await.unwrap().unwrap().openid, first);
}

#[rstest]
#[tokio::test]
async fn unbinding_keeps_the_user(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let users = &house.stores.users;
    let who = openid("o1");
    assert_eq!(users.look_up("shop", &who).await.unwrap(), None);
    users.bind("shop", &who, Some("u7"), at(1), act()).await.unwrap();
    users.bind("shop", &who, Some("u8"), at(2), act()).await.unwrap();
    assert_eq!(users.by_user_id("shop", "u7").await.unwrap(), None);
    let user = users.bind("shop", &who, None, at(3), act()).await.unwrap();
    assert_eq!((user.user_id, user.first_seen_at), (None, at(1)));
    assert_eq!(users.by_user_id("shop", "u8").await.unwrap(), None);
}
