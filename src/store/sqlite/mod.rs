//! SQLite: one file, one serving process, one writer thread, a few readers.
//!
//! In: verbs of the doors. Out: rows of `migrations/sqlite`. Every change goes through `writer`, which commits whatever
//! waits in one transaction; queries go to `readers`, those that may be slow to readers of their own.
//!
//! | table | row | indexes besides its key |
//! | --- | --- | --- |
//! | `messages` | a message; `attempts` and `history` are lines of JSON, appended in the update that changes its state | `due` (lease, by lane, account and client), `expiry` (expire), `lease` (rescue): only rows under way; `msgid` (receipts; not unique, WeChat has repeated some); `doubt`, `rivals` (receipts without a msgid of ours); `trouble`, `account`, `touser`, `batch` (lists); `batch_open` (is a batch finished?) |
//! | `idempotency` | a caller's key → its message; no constraint: the writer looks before it adds, where `seen` says that it may be there | `hour` |
//! | `callbacks` | a callback, with what makes it one of a kind | its account and `dedupe_key` |
//! | `batches` | what was answered for a batch; its messages name it | |
//! | `receipts` | receipts that settled nothing: unmatched, late, or neither success nor failure | two on the unmatched |
//! | `users`, `keys`, `tokens`, `suppressions`, `parks`, `accounts` | as their doors say | `user_id`; `app_id` |
//! | `audit` | an administrative act, written in the transaction of its change | `account` |
//! | `events` | what subscribers are told, by a number that only grows; written with the change it tells | `id` (where a cursor stands), `message` |
//! | `webhooks`, `webhook_lanes` | those made at run time; how every one stands, and how far it has come | |
//! | `deliveries` | an event on its way to a webhook | `due`, `order` (is an earlier one of the message pending?), `open`: only those under way, or dead; `event`, `message` |
//! | `counts`, `totals` | figures, written with the change they count | |
//!
//! Lists by `client` or `template_id` alone have no index: one more write for every message, all day, for a question that is
//! seldom asked. They walk the ids, newest first, until the page is full or the time is up. `account` has one: it is what
//! callers are limited to, its two columns never change, and each account's ids only grow, so its inserts go to one page.
//! `touser` and `hour` begin with a span of time (nine hours, one hour): inserts go to the pages of now, however much is kept,
//! and whoever looks something up goes from span to span, newest first.

mod accounts;
mod audit;
mod batches;
mod callbacks;
mod claims;
mod counts;
mod deliveries;
mod events;
mod fault;
mod figures;
mod forget;
mod idempotency;
mod keys;
mod leases;
mod lists;
mod lock;
mod messages;
mod open;
mod outbox;
mod parks;
mod queue;
mod readers;
mod realign;
mod receipts;
mod replays;
mod rescue;
mod reseal;
mod reserve;
mod restore;
mod row;
mod schema;
mod seen;
mod settle;
mod space;
mod standing;
mod suppressions;
mod tokens;
mod tries;
mod unit;
mod users;
mod webhooks;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;

pub use open::{migrate, open, open_for_tools, peek_accounts};

use self::readers::Readers;
use self::seen::Seen;
use self::writer::Writer;
use super::events::Bell;
use super::figures::Figures;
use super::suppressed::Suppressed;
use super::turns::Turns;
use super::{Closing, Stores};
use crate::domain::seal::Sealer;

/// One open file: every door is this.
struct Sqlite {
    writer: Writer,
    readers: Readers,
    figures: Arc<Figures>,
    /// Rings when events were kept.
    bell: Arc<Bell>,
    suppressed: Arc<Suppressed>,
    /// Of the clients.
    turns: Arc<Turns>,
    seen: Arc<Seen>,
    /// Who we are in `lease_boot`.
    boot: String,
    sealer: Sealer,
}

impl Sqlite {
    fn into_stores(self) -> Stores {
        let all = Arc::new(self);
        Stores {
            outbox: all.clone(),
            batches: all.clone(),
            queue: all.clone(),
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
            restore: all.clone(),
            reseal: all.clone(),
            closing: all,
        }
    }
}

#[async_trait]
impl Closing for Sqlite {
    async fn close(&self) {
        self.seen.close();
        self.readers.close();
        self.writer.close().await;
    }
}
