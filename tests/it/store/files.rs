//! What only a file can go through: two processes, versions, damage, many rows.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use wxgate::config::store::{SqliteConfig, StoreConfig};
use wxgate::domain::audit::ActFilter;
use wxgate::domain::ids::BootId;
use wxgate::domain::message::MessageFilter;
use wxgate::domain::page::PageRequest;
use wxgate::domain::state::{Lane, State};
use wxgate::domain::webhook::DeliveryFilter;
use wxgate::store::{Accepted, Error, open};

use super::backend::{Backend, House, sealer};
use super::build::{HOLD, at, look_up, message, migrations, shop};

fn file_of(house: &House) -> PathBuf {
    let StoreConfig::Sqlite(config) = &house.config else { panic!("{:?}", house.config) };
    config.path.clone()
}

async fn open_again(config: &StoreConfig) -> Result<(), Error> {
    let stores = open::open(config, BootId::generate(at(0)), sealer()).await?;
    stores.close().await;
    Ok(())
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused() {
    let house = Backend::Sqlite.open().await;
    let refusal = open_again(&house.config).await.unwrap_err().to_string();
    assert!(refusal.contains("wxgate.db.lock") && refusal.contains("stop that process"), "{refusal}");
    house.stores.close().await;
    open_again(&house.config).await.unwrap();
}

#[tokio::test]
async fn dropping_every_door_ends_the_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Sqlite(SqliteConfig::at(folder.path().join("wxgate.db")));
    let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
    let new = message("o1", at(0));
    stores.outbox.accept(new, None).await.unwrap();
    drop(stores);
    // Nobody can wait for it: it takes as long as the last checkpoint.
    let begun = Instant::now();
    while let Err(error) = open_again(&config).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
    }
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let house = Backend::Sqlite.open().await;
    house.stores.counts.probe().await.unwrap();
    let file = file_of(&house);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let path = format!("{}{suffix}", file.display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{path}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let house = Backend::Sqlite.open().await;
    house.stores.close().await;
    house.execute("PRAGMA user_version = 99").await;
    for refusal in [
        open_again(&house.config).await.unwrap_err(),
        open::open_for_tools(&house.config, sealer()).await.map(|_| ()).unwrap_err(),
        open::migrate(&house.config).await.unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(text.contains("schema version 99") && text.contains("newer wxgate"), "{text}");
    }
}

#[tokio::test]
async fn migrate_tells_the_versions_and_does_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig::Sqlite(SqliteConfig::at(folder.path().join("wxgate.db")));
    let latest = migrations("sqlite").len();
    assert_eq!(open::migrate(&config).await.unwrap(), (0, latest));
    assert_eq!(open::migrate(&config).await.unwrap(), (latest, latest));
    open_again(&config).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_is_behind_is_not_changed_under_a_running_gateway() {
    let house = Backend::Sqlite.open().await;
    house.execute("PRAGMA user_version = 0").await;
    let refusal = open::migrate(&house.config).await.unwrap_err().to_string();
    assert!(refusal.contains("served by another wxgate"), "{refusal}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wxgate.db");
    std::fs::write(&path, "this is no database, and long enough to look like one to nobody".repeat(20)).unwrap();
    let refusal = open_again(&StoreConfig::Sqlite(SqliteConfig::at(path))).await.unwrap_err().to_string();
    assert!(refusal.contains("damaged"), "{refusal}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("blocker");
    std::fs::write(&blocker, "").unwrap();
    let path = blocker.join("wxgate.db");
    let refusal = open_again(&StoreConfig::Sqlite(SqliteConfig::at(path))).await.unwrap_err().to_string();
    assert!(refusal.contains("blocker/wxgate.db") && refusal.contains("storage.url"), "{refusal}");
}

#[tokio::test]
async fn what_waits_for_another_program_is_written_when_that_lets_go() {
    let house = Backend::Sqlite.open().await;
    let other = Connection::open(file_of(&house)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let accepts = (0..40).map(|n| house.stores.outbox.accept(message("o1", at(n)), Some(HOLD)));
    let release = async { other.execute_batch("COMMIT").unwrap() };
    let (accepted, ()) = tokio::join!(futures_util::future::join_all(accepts), release);
    assert!(accepted.into_iter().all(|answer| answer.unwrap() == Accepted::New));
    assert_eq!(house.stores.counts.accepted(), 40);
}

#[tokio::test]
async fn a_poisonous_command_in_a_full_batch_hurts_only_its_caller() {
    let house = Backend::Sqlite.open().await;
    let poison = message("o1", at(0));
    house.stores.outbox.accept(poison.clone(), None).await.unwrap();
    // The first of them holds the writer up, so that the others wait together.
    let other = Connection::open(file_of(&house)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let news: Vec<_> = (0..60).map(|n| if n % 20 == 10 { poison.clone() } else { message("o1", at(n)) }).collect();
    let ids: Vec<_> = news.iter().map(|new| new.id).collect();
    let accepts = news.into_iter().map(|new| house.stores.outbox.accept(new, None));
    let release = async { other.execute_batch("COMMIT").unwrap() };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(accepts), release);
    let refused: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(n, _)| n).collect();
    assert_eq!(refused, [10, 30, 50]);
    for id in ids {
        look_up(&house.stores, id).await;
    }
    assert_eq!((house.stores.counts.accepted(), house.stores.counts.unaccounted()), (58, 0));
}

/// Each shipped schema with rows as its program wrote them: `samples/<number>.sql`, those that came with it.
#[tokio::test]
async fn rows_of_every_shipped_version_are_read_after_the_migrations() {
    let steps = migrations("sqlite");
    for number in 1..=steps.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxgate.db");
        let old = Connection::open(&path).unwrap();
        for (step, version) in steps[..number].iter().zip(1..) {
            let sample = format!("tests/it/store/samples/{version:04}.sql");
            let rows = std::fs::read_to_string(&sample).unwrap_or_else(|error| panic!("{sample}: {error}"));
            old.execute_batch(step).unwrap();
            old.execute_batch(&rows).unwrap();
        }
        old.execute_batch(&format!("PRAGMA user_version = {number}")).unwrap();
        drop(old);

        let config = StoreConfig::Sqlite(SqliteConfig::at(path));
        let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
        let page = PageRequest { limit: 9, after: None };
        let messages = stores.messages.list(MessageFilter::default(), page).await.unwrap().items;
        assert_eq!(messages.iter().map(|message| message.state).collect::<Vec<_>>(), [State::Queued, State::Sent]);
        assert_eq!((messages[1].attempts.len(), messages[1].history.len()), (1, 3));
        assert_eq!((stores.counts.accepted(), stores.counts.unaccounted()), (2, 0));
        assert_eq!(stores.counts.unmatched_receipts().await.unwrap(), 1);
        assert_eq!(stores.keys.list().await.unwrap().len(), 1);
        assert_eq!(stores.accounts.list().await.unwrap().len(), usize::from(number >= 9));
        let acts = stores.audit.list(ActFilter::default(), PageRequest { limit: 9, after: None }).await.unwrap().items;
        assert_eq!(acts.len(), usize::from(number >= 10));
        assert_eq!(stores.webhooks.list().await.unwrap().len(), usize::from(number >= 12));
        assert_eq!(stores.webhooks.standings().await.unwrap().len(), usize::from(number >= 12));
        let page = PageRequest { limit: 9, after: None };
        let told = stores.deliveries.list(DeliveryFilter::default(), page).await.unwrap().items;
        assert_eq!(told.len(), usize::from(number >= 12));
        let user = stores.users.by_user_id("shop", "u7").await.unwrap().unwrap();
        assert_eq!(user.tags.as_slice().len(), usize::from(number >= 14));
        let lent = stores.queue.lease(Lane::Urgent, &shop(), 9, at(1), HOLD).await.unwrap();
        assert_eq!(lent.len(), 1);
        stores.close().await;
    }
}

#[tokio::test]
async fn opening_does_not_read_the_rows() {
    let house = Backend::Sqlite.open().await;
    house.stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    house.stores.close().await;
    house.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO messages SELECT 'msg_' || printf('%026d', i), account, client, touser || i, template_id, body, client_msg_id,
            lane, on_unknown, state, state_reason, msgid, created_at, updated_at, send_at, expires_at, due_at + i,
            lease_boot, lease_generation, leased_at, lease_until, tries, doubtful_since, busy_since, metadata, retry_of, batch_id,
            trace, attempts, history FROM messages, n WHERE touser = 'o1'",
    )
    .await;
    let begun = Instant::now();
    let stores = open::open(&house.config, BootId::generate(at(0)), sealer()).await.unwrap();
    let due = stores.queue.next_due(&shop()).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(due, Some(at(0)));
    assert!(took < Duration::from_millis(300), "{took:?}");
    stores.close().await;
}
