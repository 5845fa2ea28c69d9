//! The accounts whose quota of the day is used up, and until when nothing of theirs is sent: for the other nodes, and for a
//! restart.

use async_trait::async_trait;

use super::Error;
use crate::domain::clock::Timestamp;

#[async_trait]
pub trait Parks: Send + Sync {
    /// Whatever stood there is overwritten.
    async fn park(&self, account: &str, until: Timestamp) -> Result<(), Error>;

    /// An account that is not parked is no fault.
    async fn unpark(&self, account: &str) -> Result<(), Error>;

    /// All of them, also those whose time is over.
    async fn list(&self) -> Result<Vec<(String, Timestamp)>, Error>;
}
