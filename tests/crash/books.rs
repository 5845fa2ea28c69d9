//! The store, read behind the gateway's back. One set of SQL for every kind of store; every value comes as text, NULL as "".

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// A kind of store that the gateway can keep its messages in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// One store of one place.
pub(crate) enum Books {
    Sqlite { file: PathBuf },
    Postgres { server: String, database: String },
}

pub(crate) type Rows = Vec<Vec<String>>;

impl Books {
    /// The file that the gateway will make, or an empty database on the server that `TEST_POSTGRES_URL` names.
    pub(crate) async fn open(kind: Kind, folder: &Path) -> Self {
        if kind == Kind::Sqlite {
            return Self::Sqlite { file: folder.join("wxgate.db") };
        }
        let server =
            std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL names a server: see scripts/private-postgres");
        let database = format!("crash_{:016x}", rand::random::<u64>());
        postgres(&server, &format!("CREATE DATABASE {database}")).await.unwrap();
        Self::Postgres { server, database }
    }

    /// What tells the gateway of it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Sqlite { file } => vec![("WXGATE__STORAGE__URL", format!("sqlite://{}", file.display()))],
            Self::Postgres { .. } => vec![
                ("WXGATE__STORAGE__URL", self.url()),
                ("WXGATE__SECRETS__KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".to_owned()),
            ],
        }
    }

    pub(crate) async fn rows(&self, sql: &str) -> Result<Rows, String> {
        match self {
            Self::Sqlite { file } => sqlite(file, sql).map_err(|error| format!("{error}: {sql}")),
            Self::Postgres { .. } => postgres(&self.url(), sql).await.map_err(|error| format!("{error}: {sql}")),
        }
    }

    /// Several statements without an answer, while nobody serves the store.
    pub(crate) async fn change(&self, sql: &str) -> Result<(), String> {
        if let Self::Sqlite { file } = self {
            let done = rusqlite::Connection::open(file).and_then(|conn| conn.execute_batch(sql));
            return done.map_err(|error| format!("{error}: {sql}"));
        }
        self.rows(sql).await.map(drop)
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> Result<u64, String> {
        let rows = self.rows(sql).await?;
        let text = rows.first().and_then(|row| row.first()).ok_or_else(|| format!("no row: {sql}"))?;
        text.parse().map_err(|_| format!("{text:?} is no number: {sql}"))
    }

    /// As it is now that the process is dead, without touching it: the next start has to find what the crash left.
    pub(crate) async fn frozen(&self, folder: &Path) -> Result<Self, String> {
        match self {
            Self::Sqlite { file } => {
                let copy = folder.join("frozen.db");
                for ending in ["", "-wal", "-shm"] {
                    let path = |file: &Path| PathBuf::from(format!("{}{ending}", file.display()));
                    drop(std::fs::remove_file(path(&copy)));
                    if ending != "-shm" && path(file).exists() {
                        std::fs::copy(path(file), path(&copy)).map_err(|error| format!("copying {ending}: {error}"))?;
                    }
                }
                Ok(Self::Sqlite { file: copy })
            }
            Self::Postgres { server, database } => {
                self.wait_for_the_dead().await?;
                Ok(Self::Postgres { server: server.clone(), database: database.clone() })
            }
        }
    }

    /// Is every page and index sound? PostgreSQL looks after that itself.
    pub(crate) async fn check_integrity(&self) -> Result<(), String> {
        if let Self::Sqlite { .. } = self {
            let found = self.rows("PRAGMA integrity_check").await?;
            if found != [["ok"]] {
                return Err(format!("PRAGMA integrity_check: {found:?}"));
            }
        }
        Ok(())
    }

    pub(crate) async fn close(self) {
        if let Self::Postgres { server, database } = self {
            drop(postgres(&server, &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await);
        }
    }

    /// The server finishes what it had begun for the killed process before it notices.
    async fn wait_for_the_dead(&self) -> Result<(), String> {
        const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
        for _ in 0..1_000 {
            if self.number(OTHERS).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        Err("the server is still busy for the killed process".to_owned())
    }

    /// The server's address names some database; ours takes its place.
    fn url(&self) -> String {
        match self {
            Self::Sqlite { file } => format!("sqlite://{}", file.display()),
            Self::Postgres { server, database } => {
                let (base, _) = server.rsplit_once('/').expect("TEST_POSTGRES_URL ends with a database");
                format!("{base}/{database}")
            }
        }
    }
}

fn sqlite(file: &Path, sql: &str) -> rusqlite::Result<Rows> {
    let conn = rusqlite::Connection::open(file)?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut statement = conn.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get_ref(column).map(text)).collect())?;
    rows.collect()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

async fn postgres(url: &str, sql: &str) -> Result<Rows, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let answers = client.simple_query(sql).await;
    drop(client);
    // It ends with its client.
    drop(connection.await);
    let rows = answers?.into_iter().filter_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned()).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

#[rstest::rstest]
#[tokio::test]
async fn the_books_say_what_is_in_the_store(#[values(Kind::Sqlite, Kind::Postgres)] kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let books = Books::open(kind, folder.path()).await;
    books.change("CREATE TABLE t (n BIGINT, name TEXT); INSERT INTO t VALUES (7, 'seven'), (8, NULL)").await.unwrap();
    assert_eq!(books.rows("SELECT n, name FROM t ORDER BY n").await.unwrap(), [["7", "seven"], ["8", ""]]);
    assert_eq!(books.number("SELECT count(*) FROM t").await, Ok(2));
    assert!(books.rows("SELECT n FROM nowhere").await.is_err());
    let frozen = books.frozen(folder.path()).await.unwrap();
    assert_eq!(frozen.number("SELECT count(*) FROM t").await, Ok(2));
    assert_eq!(frozen.check_integrity().await, Ok(()));
    let url = books.variables().remove(0).1;
    assert!(url.starts_with(kind.name()), "{url}");
    books.close().await;
}
