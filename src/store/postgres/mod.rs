//! PostgreSQL: one database, any number of nodes; each node has one write connection and a few for queries.
//!
//! In: verbs of the doors. Out: rows of `migrations/postgres`. Every change goes through `writer`, which commits whatever
//! waits in one transaction; queries go to `readers`, those that may be slow to connections of their own.
//!
//! The tables are those of SQLite (its `mod.rs` draws them), and `nodes`: the processes that serve this database.

mod accounts;
mod audit;
mod batch;
mod batches;
mod callbacks;
mod claims;
mod command;
mod connect;
mod counts;
mod deliveries;
mod doubt;
mod events;
mod fault;
mod figures;
mod forget;
mod keys;
mod leases;
mod link;
mod lists;
mod lock_key;
mod messages;
mod nodes;
mod open;
mod outbox;
mod own;
mod parks;
mod presence;
mod queue;
mod readers;
mod realign;
mod receipts;
mod replays;
mod rescue;
mod reseal;
mod restore;
mod row;
mod schema;
mod settle;
mod sql;
mod standing;
mod suppressions;
mod tokens;
mod tries;
mod users;
mod webhooks;
mod work;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;

pub use open::{inspect, migrate, open, open_for_tools, peek_accounts};

use self::nodes::Nodes;
use self::own::Own;
use self::presence::Presence;
use self::readers::Readers;
use self::writer::Writer;
use super::figures::Figures;
use super::suppressed::Suppressed;
use super::turns::Turns;
use super::{Closing, Stores};
use crate::domain::seal::Sealer;

/// One open database: every door is this.
struct Postgres {
    writer: Writer,
    readers: Readers,
    figures: Arc<Figures>,
    suppressed: Arc<Suppressed>,
    /// Of the clients.
    turns: Arc<Turns>,
    /// Who we are in `lease_boot`.
    boot: String,
    /// Messages lent to the tasks that accepted them, and not settled yet.
    own: Own,
    /// Those who serve, when we do.
    nodes: Option<Arc<Nodes>>,
    presence: Option<Presence>,
    sealer: Sealer,
}

impl Postgres {
    /// Boots whose leases nobody holds any more.
    fn dead(&self) -> Vec<String> {
        self.nodes.as_ref().map(|nodes| nodes.dead()).unwrap_or_default()
    }

    fn into_stores(self) -> Stores {
        let all = Arc::new(self);
        Stores {
            outbox: all.clone(),
            batches: all.clone(),
            queue: all.clone(),
            restore: all.clone(),
            reseal: all.clone(),
            inbox: all.clone(),
            messages: all.clone(),
            accounts: all.clone(),
            audit: all.clone(),
            keys: all.clone(),
            tokens: all.clone(),
            parks: all.clone(),
            users: all.clone(),
            suppressions: all.clone(),
            counts: all.clone(),
            events: all.clone(),
            webhooks: all.clone(),
            deliveries: all.clone(),
            closing: all,
        }
    }
}

#[async_trait]
impl Closing for Postgres {
    async fn close(&self) {
        self.writer.close().await;
        if let Some(presence) = &self.presence {
            presence.close().await;
        }
        self.readers.close();
    }
}
