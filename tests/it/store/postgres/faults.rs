//! What an operator can mend is told with its cure, and never with the password.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wxgate::config::store::{PostgresConfig, StoreConfig, Tls};
use wxgate::domain::secret::Secret;
use wxgate::store::open;

use super::super::backend::Database;
use super::super::build::{at, message};
use super::server::Server;
use super::until;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/postgres").join(name)
}

async fn refusal(database: &Database, change: impl FnOnce(&mut PostgresConfig)) -> String {
    let mut config = database.config();
    change(&mut config);
    let text = open::migrate(&StoreConfig::Postgres(config)).await.unwrap_err().to_string();
    assert!(!text.contains("s3cr3t"), "{text}");
    text
}

/// The database's URL with another user.
fn as_user(database: &Database, user: &str) -> Secret {
    Secret::new(database.url().replace("postgres://wxgate@", &format!("postgres://{user}@")))
}

#[tokio::test]
async fn a_server_or_a_database_that_is_not_there_is_named() {
    let database = Database::create().await;
    let nobody = refusal(&database, |config| config.url = Secret::new("postgres://wx:s3cr3t@127.0.0.1:1/d")).await;
    assert!(nobody.contains("check host and port"), "{nobody}");
    let nameless = refusal(&database, |config| config.url = Secret::new("postgres://wx:s3cr3t@db.invalid/d")).await;
    assert!(nameless.contains("check host and port"), "{nameless}");
    let missing = refusal(&database, |config| config.url = Secret::new(database.url() + "_not")).await;
    assert!(missing.contains("CREATE DATABASE"), "{missing}");
}

#[tokio::test]
async fn who_may_not_is_told_what_he_needs() {
    let database = Database::create().await;
    let name = format!("limited_{}", database.name());
    database.execute(&format!("CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")).await;
    let full = refusal(&database, |config| config.url = as_user(&database, &name)).await;
    assert!(full.contains("max_connections"), "{full}");
    database
        .execute(&format!("ALTER ROLE {name} CONNECTION LIMIT -1; REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        .await;
    let powerless = refusal(&database, |config| config.url = as_user(&database, &name)).await;
    assert!(powerless.contains("GRANT it CREATE"), "{powerless}");
    database.execute(&format!("DROP ROLE {name}")).await;
}

#[tokio::test]
async fn a_standby_is_no_store() {
    let database = Database::create().await;
    let name = database.name();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let read_only = refusal(&database, |_| {}).await;
    assert!(read_only.contains("name the primary"), "{read_only}");
}

/// The user needs no more than a database of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_other_rights_is_enough() {
    let database = Database::create().await;
    let (name, owner) = (database.name(), format!("owner_{}", database.name()));
    database
        .execute(&format!(
            "CREATE ROLE {owner} LOGIN; ALTER DATABASE {name} OWNER TO {owner}; ALTER SCHEMA public OWNER TO {owner}"
        ))
        .await;
    let config = PostgresConfig { url: as_user(&database, &owner), ..database.config() };
    let stores = super::open_with(config).await;
    stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    // Its own lost connections it may end too.
    database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'owner%'").await;
    until("it works again", async || stores.counts.probe().await.is_ok()).await;
    stores.close().await;
    database.execute(&format!("REASSIGN OWNED BY {owner} TO wxgate; DROP OWNED BY {owner}; DROP ROLE {owner}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_certificates_are_checked() {
    let server = Server::start();
    let database = Database::create_in(server.url.clone()).await;
    database.execute("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 's3cr3t'").await;
    server.put("server.crt", &fixture("server.pem"));
    server.put("server.key", &fixture("server.key"));
    server.write("pg_hba.conf", "host all wxgate 127.0.0.1/32 trust\nhostssl all keeper 127.0.0.1/32 scram-sha-256\n");
    database.execute("ALTER SYSTEM SET ssl = on").await;
    database.execute("SELECT pg_reload_conf()").await;
    until("the server speaks TLS", async || database.column::<String>("SHOW ssl").await == ["on"]).await;

    let keeper = as_user(&database, "keeper:s3cr3t");
    for (tls, ca_file) in [(Tls::Prefer, None), (Tls::Require, Some(fixture("ca.pem")))] {
        let config = PostgresConfig { url: keeper.clone(), tls, ca_file, ..database.config() };
        let stores = super::open_with(config).await;
        stores.counts.probe().await.unwrap();
        let plain: Vec<i32> = database
            .column(
                "SELECT pid FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'keeper' AND NOT ssl",
            )
            .await;
        assert!(plain.is_empty());
        stores.close().await;
    }
    let wrong = refusal(&database, |config| config.url = as_user(&database, "keeper:not-s3cr3t")).await;
    assert!(wrong.contains("check user and password"), "{wrong}");
    let plain = refusal(&database, |config| (config.url, config.tls) = (keeper.clone(), Tls::Disable)).await;
    assert!(plain.contains("pg_hba.conf"), "{plain}");
    // Nobody that the system trusts has signed it.
    let stranger = refusal(&database, |config| (config.url, config.tls) = (keeper.clone(), Tls::Require)).await;
    assert!(stranger.contains("storage.ca_file"), "{stranger}");
    let other_name = keeper.expose().replace("127.0.0.1", "localhost");
    let misnamed = refusal(&database, |config| {
        (config.url, config.tls, config.ca_file) = (Secret::new(other_name), Tls::Require, Some(fixture("ca.pem")));
    })
    .await;
    assert!(misnamed.contains("the server's certificate"), "{misnamed}");
    let empty = refusal(&database, |config| {
        (config.tls, config.ca_file) = (Tls::Require, Some(fixture("README.md")));
    })
    .await;
    assert!(empty.contains("holds no certificate"), "{empty}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let database = Database::create().await;
    let plain = refusal(&database, |config| config.tls = Tls::Require).await;
    assert!(plain.contains("sslmode"), "{plain}");
}

impl Server {
    fn put(&self, name: &str, from: &Path) {
        self.write(name, &std::fs::read_to_string(from).unwrap());
    }

    /// A file in its folder, which is its own alone.
    fn write(&self, name: &str, text: &str) {
        let data = self.place().join("data");
        let path = data.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let owner = std::fs::metadata(&data).unwrap();
        let (user, group) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
    }
}
