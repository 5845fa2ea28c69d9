//! `Keys`, also beside a running gateway.

use rstest::rstest;
use wxgate::domain::caller::{Key, Scope};
use wxgate::store::{Error, open};

use super::backend::{Backend, sealer};
use super::build::{HOLD, at, message};

fn key(id: &str, created: i64) -> Key {
    Key {
        id: id.to_owned(),
        client: "crm".to_owned(),
        secret_sha256: "ab".repeat(32),
        scopes: vec![Scope::Send, Scope::Read],
        accounts: Some(vec!["shop".to_owned()]),
        templates: None,
        created_at: at(created),
        expires_at: Some(at(900)),
        revoked_at: None,
    }
}

#[rstest]
#[tokio::test]
async fn a_key_is_kept_listed_and_revoked_once(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let keys = &house.stores.keys;
    let (new, old) = (key("key_b", 2), key("key_c", 1));
    keys.add(new.clone()).await.unwrap();
    keys.add(old.clone()).await.unwrap();
    assert_eq!(keys.list().await.unwrap(), [old, new.clone()]);
    assert!(matches!(keys.add(new.clone()).await, Err(Error::Unavailable { .. })));
    assert!(keys.revoke("key_b", at(5)).await.unwrap());
    assert!(!keys.revoke("key_b", at(6)).await.unwrap());
    assert!(!keys.revoke("key_x", at(6)).await.unwrap());
    let revoked = Key { revoked_at: Some(at(5)), ..new };
    assert_eq!(keys.look_up("key_b").await.unwrap(), Some(revoked));
    assert_eq!(keys.look_up("key_x").await.unwrap(), None);
}

#[rstest]
#[tokio::test]
async fn the_version_grows_with_keys_and_only_with_them(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let keys = &house.stores.keys;
    let empty = keys.version().await.unwrap();
    house.stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    assert_eq!(keys.version().await.unwrap(), empty);
    keys.add(key("key_b", 1)).await.unwrap();
    let added = keys.version().await.unwrap();
    assert!(added > empty);
    keys.revoke("key_b", at(2)).await.unwrap();
    assert!(keys.version().await.unwrap() > added);
}

#[rstest]
#[tokio::test]
async fn a_tool_changes_keys_while_the_gateway_runs_but_no_messages(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let before = house.stores.keys.version().await.unwrap();
    let tool = open::open_for_tools(&house.config, sealer()).await.unwrap();
    tool.keys.add(key("key_b", 1)).await.unwrap();
    assert!(house.stores.keys.version().await.unwrap() > before);
    assert_eq!(house.stores.keys.list().await.unwrap().len(), 1);

    let refused = tool.outbox.accept(message("o1", at(0)), Some(HOLD)).await;
    assert!(matches!(refused, Err(Error::Unavailable { reason }) if reason.contains("only the process that serves")));
    assert_eq!(house.stores.counts.accepted(), 0);
    tool.close().await;
}
