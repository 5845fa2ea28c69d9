//! `Keys`, also beside a running gateway.

use rstest::rstest;
use wxgate::config::store::StoreConfig;
use wxgate::domain::caller::{Key, Scope, Signing};
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::store::{Error, open};

use super::backend::{Backend, sealer};
use super::build::{HOLD, act, at, message};

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
        signing: Signing::Not,
        last_used_at: None,
    }
}

#[rstest]
#[tokio::test]
async fn a_key_is_kept_listed_and_revoked_once(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let keys = &house.stores.keys;
    let (new, old) = (key("key_b", 2), key("key_c", 1));
    keys.add(new.clone(), act()).await.unwrap();
    keys.add(old.clone(), act()).await.unwrap();
    assert_eq!(keys.list().await.unwrap(), [old, new.clone()]);
    assert!(matches!(keys.add(new.clone(), act()).await, Err(Error::Unavailable { .. })));
    assert!(keys.revoke("key_b", at(5), act()).await.unwrap());
    assert!(!keys.revoke("key_b", at(6), act()).await.unwrap());
    assert!(!keys.revoke("key_x", at(6), act()).await.unwrap());
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
    keys.add(key("key_b", 1), act()).await.unwrap();
    let added = keys.version().await.unwrap();
    assert!(added > empty);
    keys.revoke("key_b", at(2), act()).await.unwrap();
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
    tool.keys.add(key("key_b", 1), act()).await.unwrap();
    assert!(house.stores.keys.version().await.unwrap() > before);
    assert_eq!(house.stores.keys.list().await.unwrap().len(), 1);

    let refused = tool.outbox.accept(message("o1", at(0)), Some(HOLD)).await;
    assert!(matches!(refused, Err(Error::Unavailable { reason }) if reason.contains("only the process that serves")));
    assert_eq!(house.stores.counts.accepted(), 0);
    tool.close().await;
}

const SECRET: &str = "5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4";

fn signer(id: &str) -> Key {
    Key { signing: Signing::With(Secret::new(SECRET)), ..key(id, 1) }
}

#[rstest]
#[tokio::test]
async fn the_secret_of_a_key_that_signs_is_sealed_for_its_row(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let keys = &house.stores.keys;
    keys.add(signer("key_b"), act()).await.unwrap();
    keys.add(key("key_c", 2), act()).await.unwrap();
    assert_eq!(keys.list().await.unwrap(), [signer("key_b"), key("key_c", 2)]);
    assert_eq!(keys.look_up("key_b").await.unwrap().unwrap().signing, Signing::With(Secret::new(SECRET)));

    // Moved to another row it opens nothing there, and under another secrets.key nothing at all.
    house
        .execute(
            "UPDATE keys SET sealed_secret = (SELECT sealed_secret FROM keys WHERE id = 'key_b') WHERE id = 'key_c'",
        )
        .await;
    assert_eq!(keys.look_up("key_c").await.unwrap().unwrap().signing, Signing::Lost);
    let stranger = open::open_for_tools(&house.config, Sealer::new([8; 32])).await.unwrap();
    let seen = stranger.keys.look_up("key_b").await.unwrap().unwrap();
    assert_eq!((seen.signing, seen.secret_sha256), (Signing::Lost, "ab".repeat(32)));
    stranger.close().await;
}

#[tokio::test]
async fn no_file_of_the_store_holds_a_secret_in_clear() {
    let house = Backend::Sqlite.open().await;
    house.stores.keys.add(signer("key_b"), act()).await.unwrap();
    let StoreConfig::Sqlite(config) = &house.config else { unreachable!() };
    let folder = config.path.parent().unwrap();
    let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        files += usize::from(holds(&bytes, b"key_b"));
        assert!(!holds(&bytes, SECRET.as_bytes()) && !holds(&bytes, &hex::decode(SECRET).unwrap()));
    }
    assert!(files > 0, "the key itself is there");
}

#[rstest]
#[tokio::test]
async fn a_revoked_key_leaves_no_secret_behind(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    house.stores.keys.add(signer("key_b"), act()).await.unwrap();
    assert!(house.stores.keys.revoke("key_b", at(5), act()).await.unwrap());
    let revoked = Key { revoked_at: Some(at(5)), ..key("key_b", 1) };
    assert_eq!(house.stores.keys.look_up("key_b").await.unwrap(), Some(revoked));
}

#[rstest]
#[tokio::test]
async fn the_last_use_only_grows_and_is_no_change_of_a_key(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let keys = &house.stores.keys;
    keys.add(key("key_b", 1), act()).await.unwrap();
    keys.add(key("key_c", 1), act()).await.unwrap();
    let version = keys.version().await.unwrap();
    let used = |id: &str, seconds| (id.to_owned(), at(seconds));
    keys.touch(vec![used("key_b", 20), used("key_x", 20)]).await.unwrap();
    keys.touch(vec![used("key_b", 10)]).await.unwrap();
    keys.touch(Vec::new()).await.unwrap();
    let uses: Vec<_> = keys.list().await.unwrap().into_iter().map(|key| (key.id, key.last_used_at)).collect();
    assert_eq!(uses, [("key_b".to_owned(), Some(at(20))), ("key_c".to_owned(), None)]);
    assert_eq!(keys.version().await.unwrap(), version);
}
