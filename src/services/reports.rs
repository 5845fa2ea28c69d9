//! Messages read back, canceled, retried and resolved. What a caller may not see is not there.

use std::sync::Arc;

use crate::domain::audit::{Act, Action};
use crate::domain::caller::{Caller, Scope};
use crate::domain::clock::Clock;
use crate::domain::ids::MessageId;
use crate::domain::limit::OnLimit;
use crate::domain::message::{IdempotencyKey, Message, MessageFilter, NewMessage};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::services::accept::{Accept, AcceptError, Kept, Wait};
use crate::services::outcomes::{Outcomes, Progress};
use crate::store::{self, messages::Changed};

/// The scope of the keys that make a retry happen once; they belong to no client.
const RETRY_ENDPOINT: &str = "retry";

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

/// The doors these verbs need.
#[derive(Clone)]
pub struct Reports {
    pub messages: Arc<dyn store::Messages>,
    pub accept: Accept,
    pub outcomes: Outcomes,
    pub clock: Arc<dyn Clock>,
}

impl Reports {
    pub async fn look_up(&self, caller: &Caller, id: MessageId) -> Result<Message, ReportError> {
        let message = self.messages.look_up(id).await?.ok_or(ReportError::NotFound)?;
        if may_see(caller, &message) { Ok(message) } else { Err(ReportError::NotFound) }
    }

    pub async fn list(
        &self,
        caller: &Caller,
        mut filter: MessageFilter,
        page: PageRequest,
    ) -> Result<Page<Message>, ReportError> {
        filter.visible_accounts = caller.accounts.clone();
        if !reads_all(caller) {
            if filter.client.as_ref().is_some_and(|client| *client != caller.client) {
                return Ok(Page { items: Vec::new(), next: None });
            }
            filter.client = Some(caller.client.clone());
        }
        Ok(self.messages.list(filter, page).await?)
    }

    /// → the canceled message.
    pub async fn cancel(&self, caller: &Caller, id: MessageId) -> Result<Message, ReportError> {
        self.look_up(caller, id).await?;
        let changed = self.messages.cancel(id, self.clock.now()).await?;
        reach(Point::CancelKept);
        self.changed(caller, id, changed).await
    }

    /// A `failed`, `expired`, `undelivered` or `unknown` message again, as a new one that lives as long as the first was to.
    /// Each message has one successor: asked again, the answer is that one (which may itself be retried).
    pub async fn retry(&self, caller: &Caller, id: MessageId) -> Result<Kept, ReportError> {
        let old = self.look_up(caller, id).await?;
        if !matches!(old.state, State::Failed | State::Expired | State::Undelivered | State::Unknown) {
            return Err(ReportError::WrongState { state: old.state });
        }
        if !self.accept.may_use_template(caller, &old.account, &old.template_id) {
            let detail = format!("the key may not use template {}", old.template_id);
            return Err(AcceptError::Forbidden { detail }.into());
        }
        let message = self.again(caller, old)?;
        let kept = self.accept.admit(caller, message, None, OnLimit::Reject, Wait::Not, Vec::new()).await?;
        reach(Point::RetryKept);
        Ok(kept)
    }

    /// Settles an `unknown` message by an operator's word: `sent` or `failed`.
    pub async fn resolve(&self, caller: &Caller, id: MessageId, state: State) -> Result<Message, ReportError> {
        let message = self.look_up(caller, id).await?;
        let now = self.clock.now();
        let act = Act::new(now, caller, Action::MessageResolved, id.to_string())
            .of_account(&message.account)
            .with("state", state.as_str());
        let changed = self.messages.resolve(id, state, now, act).await?;
        reach(Point::ResolveKept);
        self.changed(caller, id, changed).await
    }

    async fn changed(&self, caller: &Caller, id: MessageId, changed: Option<Changed>) -> Result<Message, ReportError> {
        let changed = changed.ok_or(ReportError::NotFound)?;
        if !changed.applied {
            return Err(ReportError::WrongState { state: changed.state });
        }
        let message = self.look_up(caller, id).await?;
        self.outcomes.tell(
            id,
            Progress {
                state: message.state,
                reason: message.state_reason.clone(),
                msgid: message.msgid.clone(),
                next_attempt_at: None,
                attempts: Vec::new(),
                at: message.updated_at,
            },
        );
        Ok(message)
    }

    /// The old body with a `client_msg_id` of its own: the person is to get this one too.
    fn again(&self, caller: &Caller, old: Message) -> Result<NewMessage, ReportError> {
        let now = self.clock.now();
        let id = MessageId::generate(now);
        let corrupt = || store::Error::Corrupt { table: "messages", column: "body", row: old.id.to_string() };
        let mut body: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&old.body).map_err(|_| corrupt())?;
        body.insert("client_msg_id".to_owned(), id.body().into());
        let begun = old.send_at.unwrap_or(old.created_at);
        Ok(NewMessage {
            id,
            account: old.account.as_str().into(),
            client: caller.client.as_str().into(),
            touser: old.touser,
            template_id: old.template_id,
            body: serde_json::Value::Object(body).to_string(),
            client_msg_id: id.body(),
            lane: old.lane,
            on_unknown: old.on_unknown,
            created_at: now,
            send_at: None,
            wait_reason: None,
            expires_at: now.plus(old.expires_at.since(begun)),
            metadata: old.metadata,
            retry_of: Some(old.id),
            batch_id: old.batch_id,
            idempotency: Some(IdempotencyKey {
                client: String::new(),
                endpoint: RETRY_ENDPOINT,
                key: old.id.to_string(),
                body_hash: String::new(),
            }),
            trace: None,
        })
    }
}

/// A key with `read` or `admin` sees every client's messages of its accounts; one with `send` alone sees its own.
fn reads_all(caller: &Caller) -> bool {
    caller.may(Scope::Read)
}

fn may_see(caller: &Caller, message: &Message) -> bool {
    caller.may_use_account(&message.account) && (reads_all(caller) || message.client == caller.client)
}
