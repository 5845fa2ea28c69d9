//! `Webhooks`: those made at run time, and how every one stands.

use rstest::rstest;
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::WebhookId;
use wxgate::domain::seal::Sealer;
use wxgate::domain::webhook::signing::WebhookSecret;
use wxgate::domain::webhook::url::WebhookUrl;
use wxgate::domain::webhook::{Disabled, DisabledReason, Standing, StoredWebhook, WebhookOptions, WebhookSecrets};
use wxgate::store::Stores;

use super::backend::Backend;
use super::build::{act, at};
use super::deliveries::{raise, settled};

pub(super) fn stored(second: i64) -> StoredWebhook {
    StoredWebhook {
        id: WebhookId::generate(at(second)),
        url: WebhookUrl::parse("https://crm.example.com/in?key=k").unwrap(),
        secrets: Some(WebhookSecrets { current: WebhookSecret::generate(), previous: None }),
        options: WebhookOptions {
            description: Some("the CRM".to_owned()),
            events: vec!["message.*".to_owned()],
            accounts: Some(vec!["shop".to_owned()]),
        },
        revision: 1,
        created_at: at(second),
        updated_at: at(second),
    }
}

async fn standing(stores: &Stores, webhook: &str) -> Standing {
    let all = stores.webhooks.standings().await.unwrap();
    all.into_iter().find(|standing| standing.webhook == webhook).expect("a standing")
}

#[rstest]
#[tokio::test]
async fn one_is_kept_changed_and_removed(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let mut house = backend.open().await;
    let (first, second) = (stored(1), stored(2));
    let before = house.stores.webhooks.version().await.unwrap();
    house.stores.webhooks.add(first.clone(), act()).await.unwrap();
    house.stores.webhooks.add(second.clone(), act()).await.unwrap();
    assert!(house.stores.webhooks.version().await.unwrap() > before);
    house.restart().await;
    let webhooks = &house.stores.webhooks;
    assert_eq!(webhooks.list().await.unwrap(), [first.clone(), second.clone()]);
    let rotated = WebhookSecrets {
        current: WebhookSecret::generate(),
        previous: first.secrets.as_ref().map(|secrets| secrets.current.clone()),
    };
    let changed = StoredWebhook {
        url: WebhookUrl::parse("http://new.example.com/").unwrap(),
        secrets: Some(rotated.clone()),
        revision: 2,
        updated_at: at(9),
        ..first.clone()
    };
    assert!(webhooks.change(changed.clone(), act()).await.unwrap());
    assert!(!webhooks.change(changed.clone(), act()).await.unwrap(), "somebody else was faster");
    assert_eq!(webhooks.list().await.unwrap(), [changed.clone(), second.clone()]);
    let without = StoredWebhook { secrets: None, revision: 3, ..changed.clone() };
    assert!(webhooks.change(without, act()).await.unwrap());
    assert_eq!(webhooks.list().await.unwrap()[0].secrets, Some(rotated), "they stay as they are");
    assert_eq!(webhooks.remove(&first.id.to_string(), at(10), act()).await.unwrap(), Some(0));
    assert_eq!(webhooks.remove(&first.id.to_string(), at(10), act()).await.unwrap(), None);
    assert_eq!(webhooks.list().await.unwrap(), std::slice::from_ref(&second));
    let standings = webhooks.standings().await.unwrap();
    assert_eq!(standings.iter().map(|one| one.webhook.clone()).collect::<Vec<_>>(), [second.id.to_string()]);
}

#[rstest]
#[tokio::test]
async fn secrets_are_sealed_and_sealed_anew(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let mut webhook = stored(1);
    let previous = Some(WebhookSecret::generate());
    webhook.secrets = webhook.secrets.map(|secrets| WebhookSecrets { previous, ..secrets });
    house.stores.webhooks.add(webhook.clone(), act()).await.unwrap();
    let new = Sealer::new([9; 32]);
    let resealed = house.stores.reseal.reseal(new.clone(), false, std::sync::Arc::new(|_| ()), act()).await.unwrap();
    assert_eq!((resealed.applied, resealed.counts.clone()), (true, vec![("webhooks", 2)]), "{resealed:?}");
    let old = house.stores.webhooks.list().await.unwrap();
    assert_eq!(old[0].secrets, None, "the old key opens nothing any more");
    assert!(old[0].webhook().is_none());
    house.stores.close().await;
    let boot = wxgate::domain::ids::BootId::generate(at(3));
    let stores = wxgate::store::open::open(&house.config, boot, new).await.unwrap();
    assert_eq!(stores.webhooks.list().await.unwrap(), [webhook]);
}

#[rstest]
#[tokio::test]
async fn a_standing_begins_at_the_newest_event(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let stores = &house.stores;
    raise(stores, "quota.low", None, 1).await;
    settled(stores).await;
    stores.webhooks.enroll(vec!["crm".to_owned()], at(2)).await.unwrap();
    let newest = stores.events.newest().await.unwrap();
    let expected = Standing { webhook: "crm".to_owned(), disabled: None, cursor: newest, created_at: at(2) };
    assert_eq!(standing(stores, "crm").await, expected);
    raise(stores, "quota.low", None, 3).await;
    settled(stores).await;
    stores.webhooks.enroll(vec!["crm".to_owned(), "erp".to_owned()], at(4)).await.unwrap();
    assert_eq!(standing(stores, "crm").await, expected, "it has one");
    assert!(standing(stores, "erp").await.cursor > newest);
}

#[rstest]
#[tokio::test]
async fn one_is_switched_off_and_on_again(#[values(Backend::Sqlite, Backend::Postgres)] backend: Backend) {
    let house = backend.open().await;
    let (stores, webhooks) = (&house.stores, &house.stores.webhooks);
    let off = async |reason, now: Timestamp| webhooks.disable("crm", reason, now, act()).await.unwrap();
    assert!(!off(DisabledReason::Operator, at(1)).await, "nobody knows it");
    webhooks.enroll(vec!["crm".to_owned()], at(1)).await.unwrap();
    let before = webhooks.version().await.unwrap();
    assert!(off(DisabledReason::Operator, at(2)).await);
    assert!(!off(DisabledReason::Gone, at(3)).await);
    let expected = Some(Disabled { reason: DisabledReason::Operator, since: at(2) });
    assert_eq!(standing(stores, "crm").await.disabled, expected);
    assert!(webhooks.version().await.unwrap() > before, "other nodes learn of it");
    let cursor = standing(stores, "crm").await.cursor;
    raise(stores, "quota.low", None, 3).await;
    settled(stores).await;
    assert!(webhooks.enable("crm", false, at(4), act()).await.unwrap());
    assert!(!webhooks.enable("crm", false, at(4), act()).await.unwrap());
    assert_eq!((standing(stores, "crm").await.disabled, standing(stores, "crm").await.cursor), (None, cursor));
    assert!(off(DisabledReason::Operator, at(5)).await);
    assert!(webhooks.enable("crm", true, at(6), act()).await.unwrap());
    assert_eq!(standing(stores, "crm").await.cursor, stores.events.newest().await.unwrap(), "skipped");
}

#[tokio::test]
async fn one_node_runs_a_lane_until_it_gives_it_back_or_ends() {
    let house = Backend::Postgres.open().await;
    let boot = wxgate::domain::ids::BootId::generate(at(1));
    let other = wxgate::store::open::open(&house.config, boot, super::backend::sealer()).await.unwrap();
    let keys = || vec!["crm".to_owned(), "erp".to_owned()];
    house.stores.webhooks.enroll(keys(), at(1)).await.unwrap();
    assert_eq!(house.stores.webhooks.take(vec!["crm".to_owned()]).await.unwrap(), ["crm"]);
    assert_eq!(other.webhooks.take(keys()).await.unwrap(), ["erp"]);
    assert_eq!(house.stores.webhooks.take(keys()).await.unwrap(), ["crm"], "still ours, and no more");
    other.webhooks.give_back(keys()).await.unwrap();
    let mut ours = house.stores.webhooks.take(keys()).await.unwrap();
    ours.sort();
    assert_eq!(ours, keys());
    assert_eq!(other.webhooks.take(keys()).await.unwrap(), [] as [String; 0]);
    house.stores.close().await;
    let mut theirs = other.webhooks.take(keys()).await.unwrap();
    theirs.sort();
    assert_eq!(theirs, keys(), "it has signed off");
}
