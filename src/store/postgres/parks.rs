//! `Parks`: accounts without quota.

use async_trait::async_trait;

use super::Postgres;
use super::command::{Command, Unit};
use super::row::Fields;
use super::sql::Sql;
use crate::domain::clock::Timestamp;
use crate::store::{Error, Parks};

#[async_trait]
impl Parks for Postgres {
    async fn park(&self, account: &str, until: Timestamp) -> Result<(), Error> {
        self.writer.run(Park { account: account.to_owned(), until }).await
    }

    async fn unpark(&self, account: &str) -> Result<(), Error> {
        self.writer.run(Unpark(account.to_owned())).await
    }

    async fn list(&self) -> Result<Vec<(String, Timestamp)>, Error> {
        let rows = self.readers.quick().await?.rows("SELECT account, until FROM parks", &[]).await?;
        let read = |row| {
            let fields = Fields::new(row, "parks", "account");
            Ok((fields.get::<String>("account")?, fields.get("until")?))
        };
        rows.iter().map(read).collect()
    }
}

struct Park {
    account: String,
    until: Timestamp,
}

#[async_trait]
impl Command for Park {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let insert = "INSERT INTO parks (account, until) VALUES ($1, $2)
             ON CONFLICT (account) DO UPDATE SET until = excluded.until";
        unit.execute(insert, &[&self.account, &self.until]).await?;
        Ok(())
    }
}

struct Unpark(String);

#[async_trait]
impl Command for Unpark {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        unit.execute("DELETE FROM parks WHERE account = $1", &[&self.0]).await?;
        Ok(())
    }
}
