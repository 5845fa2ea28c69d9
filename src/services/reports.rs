//! Messages read back, canceled, retried and resolved.

use crate::domain::caller::Caller;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::services::accept::{AcceptError, Kept};
use crate::store;

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not there, or of an account or client that the caller may not see.
    #[error("there is no such message")]
    NotFound,
    /// Too late for this change: the message is in this state.
    #[error("the message is {}", .state.as_str())]
    WrongState { state: State },
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Clone)]
pub struct Reports {}

impl Reports {
    pub async fn look_up(&self, _caller: &Caller, _id: MessageId) -> Result<Message, ReportError> {
        todo!()
    }

    pub async fn list(
        &self,
        _caller: &Caller,
        _filter: MessageFilter,
        _page: PageRequest,
    ) -> Result<Page<Message>, ReportError> {
        todo!()
    }

    /// → the canceled message.
    pub async fn cancel(&self, _caller: &Caller, _id: MessageId) -> Result<Message, ReportError> {
        todo!()
    }

    /// A `failed`, `expired`, `undelivered` or `unknown` message again, as a new one.
    pub async fn retry(&self, _caller: &Caller, _id: MessageId) -> Result<Kept, ReportError> {
        todo!()
    }

    /// Settles an `unknown` message by an operator's word: `sent` or `failed`.
    pub async fn resolve(&self, _caller: &Caller, _id: MessageId, _state: State) -> Result<Message, ReportError> {
        todo!()
    }
}
