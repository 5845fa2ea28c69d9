//! `Audit`: an act is kept with the change that it tells of, or not at all.

use rstest::rstest;
use wxgate::domain::audit::{Act, ActFilter, Action, Actor};
use wxgate::domain::caller::{Key, Scope, Signing};
use wxgate::domain::page::PageRequest;
use wxgate::domain::state::State;
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{at, message};

fn key(id: &str) -> Key {
    Key {
        id: id.to_owned(),
        client: "crm".to_owned(),
        secret_sha256: "ab".repeat(32),
        scopes: vec![Scope::Send],
        accounts: None,
        templates: None,
        created_at: at(1),
        expires_at: None,
        revoked_at: None,
        signing: Signing::Not,
        last_used_at: None,
    }
}

fn act(seconds: i64, object: &str) -> Act {
    Act::new(at(seconds), Actor::command("tests"), Action::KeyCreated, object).with("n", seconds)
}

async fn list(stores: &Stores, filter: ActFilter) -> Vec<Act> {
    stores.audit.list(filter, PageRequest { limit: 50, after: None }).await.unwrap().items
}

#[rstest]
#[tokio::test]
async fn what_was_not_changed_is_not_written_down(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    let first = act(1, "key_a");
    stores.keys.add(key("key_a"), first.clone()).await.unwrap();
    assert!(stores.keys.add(key("key_a"), act(2, "key_a")).await.is_err());
    assert!(!stores.keys.revoke("key_b", at(2), act(3, "key_b")).await.unwrap());
    let waiting = message("o1", at(0));
    stores.outbox.accept(waiting.clone(), None).await.unwrap();
    let changed = stores.messages.resolve(waiting.id, State::Failed, at(4), act(4, "m")).await.unwrap();
    assert!(!changed.unwrap().applied);
    assert_eq!(list(stores, ActFilter::default()).await, std::slice::from_ref(&first));
    let revoked = act(5, "key_a");
    assert!(stores.keys.revoke("key_a", at(5), revoked.clone()).await.unwrap());
    assert_eq!(list(stores, ActFilter::default()).await, [revoked, first]);
}

#[rstest]
#[tokio::test]
async fn acts_are_listed_newest_first_narrowed_and_forgotten(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let stores = &house.stores;
    let mut acts = Vec::new();
    for n in 1..=6 {
        let mut act = act(n * 100, &format!("key_{n}"));
        act.account = (n % 3 > 0).then(|| format!("a{}", n % 3));
        act.actor.name = format!("c{}", n % 2);
        stores.keys.add(key(&act.object), act.clone()).await.unwrap();
        acts.insert(0, act);
    }
    let numbers = |acts: Vec<Act>| acts.iter().map(|act| act.details["n"].as_i64().unwrap() / 100).collect::<Vec<_>>();
    let all = ActFilter::default;
    let first = stores.audit.list(all(), PageRequest { limit: 4, after: None }).await.unwrap();
    assert_eq!(first.items, acts[..4]);
    let rest = stores.audit.list(all(), PageRequest { limit: 4, after: first.next }).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&acts[4..], None));
    let narrowed = [
        (ActFilter { account: Some("a1".to_owned()), ..all() }, vec![4, 1]),
        (ActFilter { actor: Some("c0".to_owned()), ..all() }, vec![6, 4, 2]),
        (ActFilter { action: Some(Action::KeyRevoked), ..all() }, vec![]),
        (ActFilter { after: Some(at(200)), before: Some(at(500)), ..all() }, vec![4, 3, 2]),
        (ActFilter { visible_accounts: Some(vec!["a2".to_owned(), "a9".to_owned()]), ..all() }, vec![5, 2]),
        (ActFilter { visible_accounts: Some(Vec::new()), ..all() }, vec![]),
        (ActFilter { visible_accounts: Some(vec!["a2".to_owned()]), account: Some("a1".to_owned()), ..all() }, vec![]),
    ];
    for (filter, expected) in narrowed {
        assert_eq!(numbers(list(stores, filter.clone()).await), expected, "{filter:?}");
    }
    assert_eq!(stores.audit.forget(at(300), 1).await.unwrap(), 1);
    assert_eq!(stores.audit.forget(at(300), 9).await.unwrap(), 1);
    assert_eq!(numbers(list(stores, all()).await), [6, 5, 4, 3]);
}
