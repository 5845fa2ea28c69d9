//! `Messages`: reading back, and changes by hand.

use async_trait::async_trait;

use super::Postgres;
use super::fault::unavailable;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::store::messages::Changed;
use crate::store::{Error, Messages};

#[async_trait]
impl Messages for Postgres {
    async fn look_up(&self, _id: MessageId) -> Result<Option<Message>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn list(&self, _filter: MessageFilter, _page: PageRequest) -> Result<Page<Message>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn cancel(&self, _id: MessageId, _now: Timestamp) -> Result<Option<Changed>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn resolve(&self, _id: MessageId, _state: State, _now: Timestamp) -> Result<Option<Changed>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn forget(&self, _before: Timestamp, _limit: usize) -> Result<usize, Error> {
        Err(unavailable("not written yet"))
    }
}
