//! Nonces of signed requests that have been used: each counts once, on whichever node it came first.

use std::time::Duration;

use async_trait::async_trait;

use super::{Allowance, Error};
use crate::domain::signed::NonceId;

/// Shared between nodes. An error means only: go on without.
#[async_trait]
pub trait SharedNonces: Send + Sync {
    /// Remembers it for `hold`, in one step. `false`: somebody remembers it already.
    async fn remember(&self, allowance: &mut Allowance, nonce: NonceId, hold: Duration) -> Result<bool, Error>;
}
