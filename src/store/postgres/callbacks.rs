//! `Inbox`: a callback, its receipts' effects and its sender, in one write, once.

use async_trait::async_trait;

use super::Postgres;
use super::fault::unavailable;
use super::forget::ForgetInbox;
use crate::domain::callback::{NewCallback, Recorded};
use crate::domain::clock::Timestamp;
use crate::store::{Error, Inbox};

#[async_trait]
impl Inbox for Postgres {
    async fn record(&self, _callback: NewCallback) -> Result<Recorded, Error> {
        Err(unavailable("not written yet"))
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(ForgetInbox { before, limit }).await
    }
}
