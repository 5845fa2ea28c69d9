//! Tables and their versions.

use futures_util::future::join_all;
use wxgate::config::store::StoreConfig;
use wxgate::domain::audit::ActFilter;
use wxgate::domain::ids::BootId;
use wxgate::domain::message::MessageFilter;
use wxgate::domain::page::PageRequest;
use wxgate::domain::state::{Lane, State};
use wxgate::domain::webhook::DeliveryFilter;
use wxgate::store::open;

use super::super::backend::{Database, sealer};
use super::super::build::{HOLD, at, migrations, shop};

#[tokio::test]
async fn migrate_tells_the_versions_and_does_nothing_twice() {
    let database = Database::create().await;
    let config = StoreConfig::Postgres(database.config());
    let latest = migrations("postgres").len();
    assert_eq!(open::migrate(&config).await.unwrap(), (0, latest));
    assert_eq!(open::migrate(&config).await.unwrap(), (latest, latest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_together_migrate_once() {
    let database = Database::create().await;
    let config = StoreConfig::Postgres(database.config());
    let opens = (0..6).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { open::open(&config, BootId::generate(at(0)), sealer()).await })
    });
    for opened in join_all(opens).await {
        opened.unwrap().unwrap().close().await;
    }
    let latest = i64::try_from(migrations("postgres").len()).unwrap();
    let versions = database.column::<i64>("SELECT version FROM schema_version").await;
    assert_eq!(versions, (1..=latest).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let database = Database::create().await;
    let config = StoreConfig::Postgres(database.config());
    open::migrate(&config).await.unwrap();
    database.execute("INSERT INTO schema_version (version) VALUES (99)").await;
    for refusal in [
        open::open(&config, BootId::generate(at(0)), sealer()).await.map(|_| ()).unwrap_err(),
        open::open_for_tools(&config, sealer()).await.map(|_| ()).unwrap_err(),
        open::migrate(&config).await.unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(text.contains("schema version 99") && text.contains("newer wxgate"), "{text}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let database = Database::create_with("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await;
    let refusal = open::migrate(&StoreConfig::Postgres(database.config())).await.unwrap_err().to_string();
    assert!(refusal.contains("LATIN1") && refusal.contains("ENCODING 'UTF8'"), "{refusal}");
}

/// Migrations come in pairs.
#[test]
fn both_kinds_of_store_have_the_same_migrations() {
    let names = |kind: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

/// Both kinds have the same tables with the same columns; PostgreSQL's know their process and their order besides.
#[tokio::test]
async fn both_kinds_of_store_have_the_same_columns() {
    let database = Database::create().await;
    open::migrate(&StoreConfig::Postgres(database.config())).await.unwrap();
    let theirs: Vec<String> = database
        .column(
            "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'
                AND table_name NOT IN ('nodes', 'schema_version') AND column_name NOT IN ('boot', 'number', 'horizon') ORDER BY 1",
        )
        .await;
    let sqlite = rusqlite::Connection::open_in_memory().unwrap();
    for step in migrations("sqlite") {
        sqlite.execute_batch(&step).unwrap();
    }
    let mut select = sqlite
        .prepare(
            "SELECT m.name || '.' || c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
             WHERE m.type = 'table' AND c.name NOT IN ('boot', 'horizon')",
        )
        .unwrap();
    let mut ours: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    ours.sort();
    assert_eq!(theirs, ours);
}

/// Each shipped schema with rows as its program wrote them: `samples/postgres/<number>.sql`, those that came with it.
#[tokio::test]
async fn rows_of_every_shipped_version_are_read_after_the_migrations() {
    let steps = migrations("postgres");
    for number in 1..=steps.len() {
        let database = Database::create().await;
        for (step, version) in steps[..number].iter().zip(1..) {
            let sample = format!("tests/it/store/samples/postgres/{version:04}.sql");
            let rows = std::fs::read_to_string(&sample).unwrap_or_else(|error| panic!("{sample}: {error}"));
            database.execute(step).await;
            database.execute(&rows).await;
        }
        let version = format!(
            "CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY, migrated_at TIMESTAMPTZ NOT NULL DEFAULT now());
             INSERT INTO schema_version (version) VALUES ({number})"
        );
        database.execute(&version).await;

        let config = StoreConfig::Postgres(database.config());
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
