//! `Users`.

use rstest::rstest;
use wxgate::domain::callback::NewCallback;
use wxgate::domain::clock::Timestamp;
use wxgate::domain::page::PageRequest;
use wxgate::domain::user::{Tags, User, UserChange, UserFilter, UserKey};
use wxgate::store::Stores;

use super::backend::{Backend, House};
use super::build::{act, at, callback, openid, seen};

async fn bind(stores: &Stores, account: &str, who: &str, user_id: Option<&str>, now: i64) -> User {
    let change = UserChange { user_id: Some(user_id.map(str::to_owned)), tags: None };
    stores.users.change(account, &openid(who), change, at(now), act()).await.unwrap()
}

async fn tag(stores: &Stores, who: &str, tags: &[&str]) -> User {
    let tags = Tags::new(tags.iter().map(|tag| (*tag).to_owned()).collect()).unwrap();
    let change = UserChange { user_id: None, tags: Some(tags) };
    stores.users.change("shop", &openid(who), change, at(0), act()).await.unwrap()
}

/// A sign of life.
async fn hear(stores: &Stores, who: &str, subscribed: Option<bool>, now: i64) {
    let key = format!("{who}/{now}");
    let callback = NewCallback { user: seen(who, subscribed), received_at: at(now), ..callback(&key) };
    stores.inbox.record(callback).await.unwrap();
}

/// Page by page, two at a time.
async fn all(stores: &Stores, filter: UserFilter) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: 2, after };
        let page = stores.users.list("shop", filter.clone(), page).await.unwrap();
        assert!(page.items.len() <= 2);
        found.extend(page.items.iter().map(|user| user.openid.as_str().to_owned()));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_user_id_belongs_to_one_openid_of_an_account(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let (stores, users) = (&house.stores, &house.stores.users);
    let (first, second) = (openid("o1"), openid("o2"));
    let bound = bind(stores, "shop", "o1", Some("u7"), 1).await;
    assert_eq!((bound.user_id.as_deref(), bound.first_seen_at, bound.subscribed), (Some("u7"), at(1), None));
    bind(stores, "other", "o1", Some("u7"), 1).await;
    bind(stores, "shop", "o2", Some("u7"), 2).await;
    assert_eq!(users.by_user_id("shop", "u7").await.unwrap().unwrap().openid, second);
    assert_eq!(users.look_up("shop", &first).await.unwrap().unwrap().user_id, None);
    assert_eq!(users.by_user_id("other", "u7").await.unwrap().unwrap().openid, first);
}

#[rstest]
#[tokio::test]
async fn unbinding_keeps_the_user(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let (stores, users) = (&house.stores, &house.stores.users);
    assert_eq!(users.look_up("shop", &openid("o1")).await.unwrap(), None);
    bind(stores, "shop", "o1", Some("u7"), 1).await;
    bind(stores, "shop", "o1", Some("u8"), 2).await;
    assert_eq!(users.by_user_id("shop", "u7").await.unwrap(), None);
    let user = bind(stores, "shop", "o1", None, 3).await;
    assert_eq!((user.user_id, user.first_seen_at), (None, at(1)));
    assert_eq!(users.by_user_id("shop", "u8").await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn tags_are_replaced_and_the_rest_stays(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    bind(stores, "shop", "o1", Some("u7"), 1).await;
    hear(stores, "o1", Some(true), 4).await;
    let user = tag(stores, "o1", &["vip", "上海"]).await;
    let expected = (Some("u7"), Some(true), at(1), at(4));
    assert_eq!((user.user_id.as_deref(), user.subscribed, user.first_seen_at, user.last_seen_at), expected);
    assert_eq!(user.tags.as_slice(), ["vip", "上海"]);
    let by = |tag: &str| UserFilter { tag: Some(tag.to_owned()), ..UserFilter::default() };
    assert_eq!(all(stores, by("上海")).await, ["o1"]);
    tag(stores, "o1", &["vip"]).await;
    assert_eq!((all(stores, by("上海")).await.len(), all(stores, by("vip")).await), (0, vec!["o1".to_owned()]));
    let bound = bind(stores, "shop", "o1", Some("u8"), 9).await;
    assert_eq!(bound.tags.as_slice(), ["vip"], "binding leaves the tags");
    tag(stores, "o1", &[]).await;
    assert_eq!(all(stores, by("vip")).await.len(), 0);
}

/// o0 … o8: every third has left, every second is tagged, and who comes later was seen earlier.
async fn crowd(backend: Backend) -> House {
    let house = backend.open().await;
    for n in 0..9 {
        hear(&house.stores, &format!("o{n}"), Some(n % 3 != 0), 100 - n / 2).await;
        if n % 2 == 0 {
            tag(&house.stores, &format!("o{n}"), &["even"]).await;
        }
    }
    bind(&house.stores, "shop", "o4", Some("u4"), 0).await;
    bind(&house.stores, "other", "o4", Some("u4"), 0).await;
    house
}

#[rstest]
#[tokio::test]
async fn users_are_gone_through_by_every_filter(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = crowd(backend).await;
    let stores = &house.stores;
    let any = UserFilter::default;
    let tag = || Some("even".to_owned());
    let names = |numbers: &[i32]| numbers.iter().map(|n| format!("o{n}")).collect::<Vec<_>>();
    let since = |seconds: i64| -> Option<Timestamp> { Some(at(seconds)) };
    for (filter, expected) in [
        (any(), &[0, 1, 2, 3, 4, 5, 6, 7, 8][..]),
        (UserFilter { subscribed: Some(false), ..any() }, &[0, 3, 6]),
        (UserFilter { subscribed: Some(true), ..any() }, &[1, 2, 4, 5, 7, 8]),
        (UserFilter { tag: tag(), ..any() }, &[0, 2, 4, 6, 8]),
        (UserFilter { tag: tag(), subscribed: Some(true), ..any() }, &[2, 4, 8]),
        (UserFilter { user_id: Some("u4".to_owned()), ..any() }, &[4]),
        (UserFilter { user_id: Some("u4".to_owned()), subscribed: Some(false), ..any() }, &[]),
        (UserFilter { seen_after: since(98), ..any() }, &[4, 5, 2, 3, 0, 1]),
        (UserFilter { seen_after: since(98), tag: tag(), ..any() }, &[4, 2, 0]),
        (UserFilter { seen_after: since(0), subscribed: Some(false), ..any() }, &[6, 3, 0]),
        (UserFilter { seen_after: since(101), ..any() }, &[]),
        (UserFilter { tag: Some("odd".to_owned()), ..any() }, &[]),
    ] {
        assert_eq!(all(stores, filter.clone()).await, names(expected), "{filter:?}");
    }
    let page = PageRequest { limit: 3, after: None };
    let first = stores.users.list("shop", UserFilter { seen_after: since(0), ..any() }, page).await.unwrap();
    let key = UserKey { seen_at: Some(at(97)), openid: openid("o7") };
    assert_eq!(first.next, Some(key.render()), "by time, then by openid");
}

#[rstest]
#[tokio::test]
async fn who_is_forgotten_leaves_nothing_but_the_act(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = crowd(backend).await;
    let (stores, users) = (&house.stores, &house.stores.users);
    let who = openid("o4");
    let acts = async || {
        let page = PageRequest { limit: 200, after: None };
        stores.audit.list(wxgate::domain::audit::ActFilter::default(), page).await.unwrap().items.len()
    };
    let before = acts().await;
    assert!(users.forget("shop", &who, act()).await.unwrap());
    assert_eq!(acts().await, before + 1);
    assert_eq!(users.look_up("shop", &who).await.unwrap(), None);
    assert_eq!(users.by_user_id("shop", "u4").await.unwrap(), None);
    assert!(users.by_user_id("other", "u4").await.unwrap().is_some(), "of another account");
    let by_tag = UserFilter { tag: Some("even".to_owned()), ..UserFilter::default() };
    assert_eq!(all(stores, by_tag.clone()).await, ["o0", "o2", "o6", "o8"]);
    assert!(!users.forget("shop", &who, act()).await.unwrap(), "twice");
    assert_eq!(acts().await, before + 1, "nothing was done");
    // A repeat of what came before says nothing new; whoever writes again is new.
    hear(stores, "o4", Some(true), 98).await;
    assert_eq!(users.look_up("shop", &who).await.unwrap(), None);
    hear(stores, "o4", None, 200).await;
    let user = users.look_up("shop", &who).await.unwrap().unwrap();
    assert_eq!((user.subscribed, user.first_seen_at, user.tags.as_slice().len()), (None, at(200), 0));
    assert_eq!(all(stores, by_tag).await, ["o0", "o2", "o6", "o8"]);
}

#[rstest]
#[tokio::test]
async fn who_is_forgotten_is_not_suppressed_either(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    super::suppressions::refused(stores, "o1", 43004, 1).await;
    hear(stores, "o1", None, 2).await;
    assert!(stores.users.forget("shop", &openid("o1"), act()).await.unwrap());
    assert_eq!(stores.suppressions.look_up("shop", &openid("o1")).await.unwrap(), None);
}
