//! Station 3: check a send (`compose`, `check`), ask whether it may go now (`hold`, `limit`), keep it, and wait for its outcome when
//! the caller wants to (`keep`).

mod check;
mod compose;
mod hold;
mod input;
mod keep;
mod limit;
mod turns;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::compose::Checked;
use self::keep::view_of;
use self::limit::ask;
pub use self::turns::Turns;
pub use input::{AcceptError, FieldError, Kept, Keyword, MiniProgram, Rehearsal, SendInput, Wait, Warning};

use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::limit::OnLimit;
use crate::domain::message::NewMessage;
use crate::services::accounts::Accounts;
use crate::services::dispatch::Dispatch;
use crate::services::limits::{Answer, Limits, Pass, Taken};
use crate::services::outcomes::Outcomes;
use crate::services::quota::Quotas;
use crate::services::slots::Slots;
use crate::services::suppressions::Suppressions;
use crate::services::tokens::Tokens;
use crate::store::{self, Accepted};

const ENDPOINT: &str = "POST /send-template";

/// The station. A clone is one count: every request makes several.
#[derive(Clone)]
pub struct Accept(Arc<AcceptDoors>);

/// The doors this station needs.
pub struct AcceptDoors {
    pub outbox: Arc<dyn store::Outbox>,
    pub messages: Arc<dyn store::Messages>,
    pub users: Arc<dyn store::Users>,
    pub accounts: Accounts,
    pub tokens: Tokens,
    pub suppressions: Suppressions,
    pub limits: Limits,
    pub quotas: Quotas,
    pub turns: Turns,
    pub dispatch: Arc<Dispatch>,
    pub outcomes: Outcomes,
    /// Attempts under way, shared with the worker, which is rung when a message is left to it.
    pub slots: Slots,
    /// Attempts outlive their callers.
    pub tasks: TaskTracker,
    pub stopping: CancellationToken,
    pub clock: Arc<dyn Clock>,
    pub default_ttl: Duration,
    pub first_lease: Duration,
}

/// One of a batch that has passed every check.
pub(crate) struct Item {
    pub(crate) message: NewMessage,
    pub(crate) taken: Taken,
    content: u64,
    on_limit: OnLimit,
}

impl Deref for Accept {
    type Target = AcceptDoors;

    fn deref(&self) -> &AcceptDoors {
        &self.0
    }
}

impl Accept {
    pub fn new(doors: AcceptDoors) -> Self {
        Self(Arc::new(doors))
    }

    /// Keeps one send and waits for its outcome as asked. What is kept goes on when the caller leaves.
    pub async fn send(&self, caller: &Caller, input: SendInput, wait: Wait) -> Result<Kept, AcceptError> {
        let on_limit = input.on_limit;
        let Checked { message, content, warnings } = self.check(caller, input).await?;
        self.admit(caller, message, Some(content), on_limit, wait, warnings).await
    }

    /// Everything but the keeping and the sending.
    pub async fn rehearse(&self, caller: &Caller, input: SendInput) -> Result<Rehearsal, AcceptError> {
        let on_limit = input.on_limit;
        let Checked { mut message, content, mut warnings } = self.check(caller, input).await?;
        if let Some(found) = self.suppressed(&message).await? {
            return Err(AcceptError::Suppressed(Box::new(found)));
        }
        self.keep_quiet(&mut message)?;
        if let Some(until) = self.quotas.parked_until(&message.account, self.clock.now()) {
            let detail = format!("the account's quota of the day is used up: nothing is sent before {until}");
            warnings.push(Warning { path: String::new(), code: "account_quota", detail });
        }
        let limits = self.limits.look(&ask(&message, Some(content), on_limit), message.created_at, caller.waited).await;
        let token = self.tokens.status(&message.account).map_or("missing", |status| status.state).to_owned();
        let (send_at, wait_reason) = (message.send_at, message.wait_reason);
        Ok(Rehearsal { wechat_body: message.body, warnings, limits, token, send_at, wait_reason })
    }

    /// One item of a batch, checked.
    pub(crate) async fn check_item(&self, caller: &Caller, input: SendInput) -> Result<Item, AcceptError> {
        let on_limit = input.on_limit;
        let Checked { mut message, content, .. } = self.check(caller, input).await?;
        if let Some(found) = self.suppressed(&message).await?
            && !self.is_repeat(&message).await?
        {
            self.suppressions.count(&message.account);
            return Err(AcceptError::Suppressed(Box::new(found)));
        }
        self.keep_quiet(&mut message)?;
        Ok(Item { message, content, on_limit, taken: Taken::default() })
    }

    /// Keeps a message that is ready if the limits allow it. A repeat of a request that was accepted before gets its answer
    /// whatever the limits say now. `content` is none for what is meant to be said again.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        mut message: NewMessage,
        content: Option<u64>,
        on_limit: OnLimit,
        wait: Wait,
        warnings: Vec<Warning>,
    ) -> Result<Kept, AcceptError> {
        if self.stopping.is_cancelled() {
            return Err(AcceptError::ShuttingDown);
        }
        let turn = match &message.idempotency {
            Some(key) => Some(self.turns.take(key).await),
            None => None,
        };
        if turn.as_ref().is_some_and(|turn| turn.is_repeat)
            && let Some(kept) = self.known(&message, &warnings).await?
        {
            return Ok(kept);
        }
        if let Some(found) = self.suppressed(&message).await? {
            if let Some(kept) = self.known(&message, &warnings).await? {
                return Ok(kept);
            }
            self.suppressions.count(&message.account);
            return Err(AcceptError::Suppressed(Box::new(found)));
        }
        if let Err(error) = self.keep_quiet(&mut message).and_then(|()| self.fit_quota(&mut message, on_limit)) {
            return self.known(&message, &warnings).await?.ok_or(error);
        }
        let answers = self.limits.ask(&[ask(&message, content, on_limit)], self.clock.now(), caller.waited).await;
        let limits = match answers.into_iter().next() {
            Some(Answer::Go(Pass { at, standings, taken })) => {
                if let Err(error) = self.put_off(&mut message, at) {
                    self.give_back(vec![taken]).await;
                    return Err(error);
                }
                standings
            }
            Some(Answer::Refused(refusal)) => {
                let known = self.known(&message, &warnings).await?;
                return known.ok_or(AcceptError::Limited(refusal));
            }
            None => Vec::new(),
        };
        let kept = self.keep(message, turn, wait, warnings).await?;
        Ok(Kept { limits, ..kept })
    }

    /// The answer to a request that was accepted before.
    async fn known(&self, message: &NewMessage, warnings: &[Warning]) -> Result<Option<Kept>, AcceptError> {
        let Some(key) = &message.idempotency else { return Ok(None) };
        match self.outbox.known(key).await? {
            Some(Accepted::Replay { message_id }) => {
                Ok(Some(self.replay(message_id, view_of(message), warnings.to_vec()).await?))
            }
            Some(Accepted::Mismatch { message_id }) => Err(AcceptError::IdempotencyMismatch { message_id }),
            Some(Accepted::New) | None => Ok(None),
        }
    }

    /// By WeChat's id, or by any alias that the account has for it.
    pub(crate) fn may_use_template(&self, caller: &Caller, account: &str, template_id: &str) -> bool {
        let account = self.accounts.look_up(account);
        let mut aliases = account.iter().flat_map(|account| &account.templates).filter(|(_, id)| *id == template_id);
        caller.may_use_template(template_id) || aliases.any(|(alias, _)| caller.may_use_template(alias))
    }
}
