//! Doors to what is kept. SQL is the truth and the queue; Redis shares tokens, limits and nonces, and may be flushed at any moment.
//!
//! Each trait is one door; its doc comments are the contract that every backend keeps. A verb is whole: it is one
//! transaction, and when it returns `Ok` its effect is on disk.

pub mod accounts;
pub mod allowance;
pub mod audit;
pub mod batches;
mod bounds;
pub mod callbacks;
pub mod counts;
pub mod deliveries;
pub mod events;
mod figures;
mod history;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod nonces;
pub mod open;
pub mod outbox;
pub mod parks;
pub mod postgres;
pub mod queue;
pub mod redis;
pub mod reseal;
pub mod restore;
mod rules;
pub mod sqlite;
mod suppressed;
pub mod suppressions;
pub mod tokens;
mod told;
mod turns;
pub mod users;
pub mod webhooks;

use std::sync::Arc;

use async_trait::async_trait;

pub use accounts::Accounts;
pub use allowance::Allowance;
pub use audit::Audit;
pub use batches::{Batches, KeptBatch};
pub use callbacks::Inbox;
pub use counts::{Counts, Space, StateCount};
pub use deliveries::{Claim, Claimed, Claims, Cursor, Deliveries, Replay, ReplayOf, Settling};
pub use events::{Events, Raise, Ring, Stretch};
pub use keys::Keys;
pub use limits::SharedLimits;
pub use messages::Messages;
pub use nonces::SharedNonces;
pub use outbox::{Accepted, Outbox};
pub use parks::Parks;
pub use queue::{Change, OpenAccount, Queue, Realigned, Rescued, Settled};
pub use reseal::Reseal;
pub use restore::Restore;
pub use suppressions::Suppressions;
pub use tokens::{SharedTokens, Tokens};
pub use users::Users;
pub use webhooks::Webhooks;

/// Every door of one store.
#[derive(Clone)]
pub struct Stores {
    pub outbox: Arc<dyn Outbox>,
    pub batches: Arc<dyn Batches>,
    pub queue: Arc<dyn Queue>,
    pub inbox: Arc<dyn Inbox>,
    pub messages: Arc<dyn Messages>,
    pub accounts: Arc<dyn Accounts>,
    pub audit: Arc<dyn Audit>,
    pub keys: Arc<dyn Keys>,
    pub tokens: Arc<dyn Tokens>,
    pub parks: Arc<dyn Parks>,
    pub users: Arc<dyn Users>,
    pub suppressions: Arc<dyn Suppressions>,
    pub counts: Arc<dyn Counts>,
    pub events: Arc<dyn Events>,
    pub webhooks: Arc<dyn Webhooks>,
    pub deliveries: Arc<dyn Deliveries>,
    pub restore: Arc<dyn Restore>,
    pub reseal: Arc<dyn Reseal>,
    pub closing: Arc<dyn Closing>,
}

impl Stores {
    /// As [`Closing::close`].
    pub async fn close(&self) {
        self.closing.close().await;
    }
}

/// The end of a store. Dropping every door ends it too, but nobody can wait for that.
#[async_trait]
pub trait Closing: Send + Sync {
    /// Writes what waits, refuses what comes later (`Unavailable`), and returns when the files are let go: another process
    /// may serve them then. Doing it twice is harmless.
    async fn close(&self);
}

/// What can go wrong at a door, cut by what the caller can do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nothing was written. Try again later. The store itself says so in the log, once, and when it is over.
    #[error("the store is unavailable: {reason}")]
    Unavailable { reason: String },
    /// Nothing was written: there is too little room for more. The advice is fit for callers: how much is free, what to do.
    #[error("{advice}")]
    NoRoom { advice: String },
    /// A query was given up: it asks for too much at once.
    #[error("{advice}")]
    TooSlow { advice: String },
    /// Nothing was written: too much is waiting to be written already.
    #[error("the store has too much to write")]
    Overloaded,
    /// A row holds what this version cannot read.
    #[error("{table}.{column} of row {row} cannot be read")]
    Corrupt { table: &'static str, column: &'static str, row: String },
}

impl Error {
    /// The log has it already: whoever meets it need not say it again, for every request and every tick.
    pub const fn is_said(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoRoom { .. })
    }
}
