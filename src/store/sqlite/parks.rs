//! `Parks`: accounts without quota.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::Sqlite;
use super::row::Fields;
use crate::domain::clock::Timestamp;
use crate::store::{Error, Parks};

#[async_trait]
impl Parks for Sqlite {
    async fn park(&self, account: &str, until: Timestamp) -> Result<(), Error> {
        let account = account.to_owned();
        let insert = "INSERT OR REPLACE INTO parks (account, until) VALUES (?1, ?2)";
        self.writer
            .run(move |unit| {
                unit.tx.prepare_cached(insert)?.execute(params![account, until])?;
                Ok(())
            })
            .await
    }

    async fn unpark(&self, account: &str) -> Result<(), Error> {
        let account = account.to_owned();
        self.writer
            .run(move |unit| {
                unit.tx.prepare_cached("DELETE FROM parks WHERE account = ?1")?.execute([&account])?;
                Ok(())
            })
            .await
    }

    async fn list(&self) -> Result<Vec<(String, Timestamp)>, Error> {
        self.readers.read(list).await
    }
}

fn list(conn: &Connection) -> Result<Vec<(String, Timestamp)>, Error> {
    let mut select = conn.prepare_cached("SELECT account, until FROM parks")?;
    let mut rows = select.query([])?;
    let mut parks = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "parks", "account");
        parks.push((fields.get("account")?, fields.get("until")?));
    }
    Ok(parks)
}
