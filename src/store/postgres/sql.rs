//! Statements, prepared once a connection: the same words for a query and for what a transaction does.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::store::Error;

/// Values of a statement, `$1` first.
pub(super) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

#[async_trait]
pub(super) trait Sql: Sync {
    async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, Error>;

    /// → how many rows it touched.
    async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, Error>;

    /// The first row.
    async fn row(&self, sql: &str, values: Values<'_>) -> Result<Option<Row>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

/// Each `?` → `$1`, `$2`, …
pub(super) fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in (1..).zip(parts) {
        text += &format!("${number}{part}");
    }
    text
}
