//! Nonces of signed requests that have been used: each counts once, on whichever node it came first.

use std::time::Duration;

use async_trait::async_trait;

use super::Error;
use crate::domain::signed::NonceId;

/// Shared between nodes. The verb gives up within 100 ms; an error means only: go on without.
#[async_trait]
pub trait SharedNonces: Send + Sync {
    /// Remembers it for `hold`, in one step. `false`: somebody remembers it already.
    async fn remember(&self, nonce: NonceId, hold: Duration) -> Result<bool, Error>;
}
