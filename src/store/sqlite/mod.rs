//! SQLite: one file, one serving process, one writer thread, a few readers.
//!
//! In: verbs of the doors. Out: rows of `migrations/sqlite`. Every change goes through [`writer`], which commits whatever
//! waits in one transaction; queries go to [`readers`].
//!
//! | table | row | indexes besides its key |
//! | --- | --- | --- |
//! | `messages` | a message; `attempts` and `history` are lines of JSON, appended in the update that changes its state | `due` (lease), `expiry` (expire), `lease` (rescue): only rows under way; `msgid` (receipts; not unique, WeChat has repeated some); `doubt` (receipts without a msgid of ours); `trouble`, `touser`, `batch` (lists) |
//! | `idempotency` | a caller's key → its message | `age` (forget) |
//! | `callbacks`, `callback_keys` | a callback; what makes it one of a kind | |
//! | `receipts` | receipts that settled nothing: unmatched, late, or neither success nor failure | two on the unmatched |
//! | `users`, `keys`, `tokens` | as their doors say | `user_id` |
//! | `counts`, `totals` | figures, written with the change they count | |

mod callbacks;
mod counts;
mod fault;
mod figures;
mod history;
mod keys;
mod leases;
mod lists;
mod lock;
mod messages;
mod open;
mod outbox;
mod queue;
mod readers;
mod receipts;
mod rescue;
mod row;
mod schema;
mod settle;
mod standing;
mod tokens;
mod users;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;

pub use open::{migrate, open, open_for_tools};

use self::figures::Figures;
use self::readers::Readers;
use self::writer::Writer;
use super::{Closing, Stores};
use crate::domain::seal::Sealer;

/// One open file: every door is this.
struct Sqlite {
    writer: Writer,
    readers: Readers,
    figures: Arc<Figures>,
    /// Who we are in `lease_boot`.
    boot: String,
    sealer: Sealer,
}

impl Sqlite {
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
impl Closing for Sqlite {
    async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}
