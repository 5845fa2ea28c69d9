//! What is over and old is deleted, oldest first, a bounded batch at a time.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::fault::unavailable;
use crate::domain::clock::Timestamp;
use crate::store::Error;

/// Callbacks and receipts.
pub(super) struct ForgetInbox {
    pub(super) before: Timestamp,
    pub(super) limit: usize,
}

#[async_trait]
impl Command for ForgetInbox {
    type Answer = usize;

    async fn run(&self, _unit: &Unit<'_>) -> Result<usize, Error> {
        Err(unavailable(format!("not written yet: {} {}", self.before, self.limit)))
    }
}
