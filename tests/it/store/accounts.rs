//! `Accounts`, also beside a running gateway.

use rstest::rstest;
use wxgate::domain::account::{AccountSettings, SecretField, StoredAccount};
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Secret;
use wxgate::store::accounts::{Added, Removed};
use wxgate::store::open;

use super::backend::{Backend, sealer};
use super::build::{HOLD, act, at, message};

fn account(name: &str, app_id: &str) -> StoredAccount {
    let mut settings = AccountSettings { app_id: app_id.to_owned(), ..AccountSettings::default() };
    for field in SecretField::ALL {
        settings.secrets.set(field, Some(Secret::new(field.as_str())));
    }
    settings.options.templates.insert("a".to_owned(), "TPL".to_owned());
    StoredAccount {
        name: name.to_owned(),
        settings,
        lost: Vec::new(),
        revision: 1,
        created_at: at(1),
        updated_at: at(1),
    }
}

#[rstest]
#[tokio::test]
async fn an_account_is_kept_listed_and_changed_from_its_present_revision(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let accounts = &house.stores.accounts;
    let (shop, bar) = (account("shop", "wx1"), account("bar", "wx2"));
    let empty = accounts.version().await.unwrap();
    assert_eq!(accounts.add(shop.clone(), act()).await.unwrap(), Added::Kept);
    assert_eq!(accounts.add(bar.clone(), act()).await.unwrap(), Added::Kept);
    assert_eq!(accounts.add(account("shop", "wx3"), act()).await.unwrap(), Added::NameTaken);
    assert_eq!(accounts.add(account("baz", "wx1"), act()).await.unwrap(), Added::AppTaken);
    assert_eq!(accounts.version().await.unwrap(), empty + 2);
    assert_eq!(accounts.list().await.unwrap(), [bar, shop.clone()]);
    let mut changed = StoredAccount { revision: 2, updated_at: at(2), ..shop.clone() };
    changed.settings.secrets.set(SecretField::PreviousToken, None);
    assert!(accounts.change(changed.clone(), act()).await.unwrap());
    assert!(!accounts.change(changed.clone(), act()).await.unwrap(), "it is of revision 2 now");
    assert_eq!(accounts.look_up("shop").await.unwrap(), Some(changed));
    assert_eq!(accounts.look_up("baz").await.unwrap(), None);
    assert_eq!(accounts.version().await.unwrap(), empty + 3);
}

#[rstest]
#[tokio::test]
async fn an_account_with_messages_under_way_goes_by_force_only(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    let accounts = &house.stores.accounts;
    accounts.add(account("shop", "wx1"), act()).await.unwrap();
    assert_eq!(accounts.remove("bar", true, act()).await.unwrap(), Removed::NotThere);
    house.stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    house.stores.outbox.accept(message("o2", at(0)), Some(HOLD)).await.unwrap();
    assert_eq!(accounts.remove("shop", false, act()).await.unwrap(), Removed::Busy { waiting: 2 });
    assert!(accounts.look_up("shop").await.unwrap().is_some());
    let version = accounts.version().await.unwrap();
    assert_eq!(accounts.remove("shop", true, act()).await.unwrap(), Removed::Done { waiting: 2 });
    assert_eq!(accounts.look_up("shop").await.unwrap(), None);
    assert_eq!(accounts.version().await.unwrap(), version + 1);
    assert_eq!(accounts.add(account("shop", "wx1"), act()).await.unwrap(), Added::Kept);
}

#[rstest]
#[tokio::test]
async fn a_sealed_secret_cannot_be_moved_and_needs_its_key(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let house = backend.open().await;
    house.stores.accounts.add(account("shop", "wx1"), act()).await.unwrap();
    house.stores.accounts.add(account("bar", "wx2"), act()).await.unwrap();
    house.execute("UPDATE accounts SET token = encoding_aes_key WHERE name = 'shop'").await;
    house
        .execute(
            "UPDATE accounts SET token = (SELECT previous_token FROM accounts WHERE name = 'shop') WHERE name = 'bar'",
        )
        .await;
    for name in ["shop", "bar"] {
        let read = house.stores.accounts.look_up(name).await.unwrap().unwrap();
        assert_eq!(read.lost, [SecretField::Token], "{name}");
        assert_eq!(read.settings.secrets.get(SecretField::AppSecret), Some(&Secret::new("app_secret")));
    }
    let peeked = open::peek_accounts(&house.config, sealer()).await.unwrap().unwrap();
    assert_eq!(peeked, house.stores.accounts.list().await.unwrap());
    let others = open::peek_accounts(&house.config, Sealer::new([9; 32])).await.unwrap().unwrap();
    assert_eq!(others[0].lost, SecretField::ALL);
}
