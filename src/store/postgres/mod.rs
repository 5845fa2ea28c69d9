//! PostgreSQL: one database, any number of nodes; each node has one write connection and a few for queries.
//!
//! In: verbs of the doors. Out: rows of `migrations/postgres`. Every change goes through `writer`, which commits whatever
//! waits in one transaction; queries go to `readers`, those that may be slow to connections of their own.
//!
//! The tables are those of SQLite (its `mod.rs` draws them), and `nodes`: the processes that serve this database.

mod batch;
mod callbacks;
mod command;
mod connect;
mod counts;
mod fault;
mod figures;
mod forget;
mod keys;
mod link;
mod lists;
mod lock_key;
mod messages;
mod open;
mod outbox;
mod queue;
mod readers;
mod row;
mod schema;
mod sql;
mod standing;
mod tokens;
mod users;
mod work;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;

pub use open::{migrate, open, open_for_tools};

use self::readers::Readers;
use self::writer::Writer;
use super::figures::Figures;
use super::{Closing, Stores};
use crate::domain::seal::Sealer;

/// One open database: every door is this.
struct Postgres {
    writer: Writer,
    readers: Readers,
    figures: Arc<Figures>,
    /// Who we are in `lease_boot`.
    boot: String,
    sealer: Sealer,
}

impl Postgres {
    fn into_stores(self) -> Stores {
        let all = Arc::new(self);
        Stores {
            outbox: all.clone(),
            queue: all.clone(),
            inbox: all.clone(),
            messages: all.clone(),
            keys: all.clone(),
            tokens: all.clone(),
            users: all.clone(),
            counts: all.clone(),
            closing: all,
        }
    }
}

#[async_trait]
impl Closing for Postgres {
    async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}
