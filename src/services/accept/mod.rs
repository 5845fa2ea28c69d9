//! Station 3: check a send, keep it, and wait for its outcome when the caller wants to.

mod check;
mod hold;
mod input;
mod turns;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::turns::Turn;
pub use self::turns::Turns;
pub use input::{AcceptError, FieldError, Kept, Keyword, MiniProgram, Rehearsal, SendInput, Wait, Warning};

use crate::domain::account::Account;
use crate::domain::attempt::HistoryEntry;
use crate::domain::caller::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::MessageId;
use crate::domain::limit::{LimitKind, OnLimit};
use crate::domain::message::{IdempotencyKey, Lease, Message, NewMessage};
use crate::domain::secret::Openid;
use crate::domain::state::{OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::services::accounts::Accounts;
use crate::services::breaker::{Admission, Permit};
use crate::services::dispatch::{Audience, Dispatch};
use crate::services::limits::{Answer, Ask, Limits, Pass, Taken};
use crate::services::outcomes::{Outcomes, Progress, Waiter};
use crate::services::quota::Quotas;
use crate::services::slots::{Slot, Slots};
use crate::services::suppressions::Suppressions;
use crate::services::tokens::Tokens;
use crate::store::{self, Accepted};
use crate::wechat::send::{TemplateMessage, template_body};

const ENDPOINT: &str = "POST /send-template";

/// The doors this station needs.
#[derive(Clone)]
pub struct Accept {
    pub outbox: Arc<dyn store::Outbox>,
    pub messages: Arc<dyn store::Messages>,
    pub users: Arc<dyn store::Users>,
    pub accounts: Accounts,
    pub tokens: Tokens,
    pub suppressions: Suppressions,
    pub limits: Limits,
    pub quotas: Quotas,
    pub turns: Turns,
    pub dispatch: Dispatch,
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

/// What the first attempt of a message holds.
struct Lent {
    lease: Lease,
    slot: Slot,
    admission: Admission,
}

/// One of a batch that has passed every check.
pub(crate) struct Item {
    pub(crate) message: NewMessage,
    pub(crate) taken: Taken,
    content: u64,
    on_limit: OnLimit,
}

/// A send that has passed every check.
struct Checked {
    message: NewMessage,
    /// A hash of what the person would read.
    content: u64,
    warnings: Vec<Warning>,
}

impl Accept {
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

    /// Takes a place in each limit for each item, one after the other. → those that may go, in their order, or why not.
    pub(crate) async fn limit_items(&self, caller: &Caller, mut items: Vec<Item>) -> Vec<Result<Item, AcceptError>> {
        let fits: Vec<_> = items.iter_mut().map(|item| self.fit_quota(&mut item.message, item.on_limit)).collect();
        let fitting = items.iter().zip(&fits).filter(|(_, fit)| fit.is_ok());
        let asks: Vec<Ask<'_>> =
            fitting.map(|(item, _)| ask(&item.message, Some(item.content), item.on_limit)).collect();
        let mut answers = self.limits.ask(&asks, self.clock.now(), caller.waited).await.into_iter();
        let (mut limited, mut useless) = (Vec::with_capacity(items.len()), Vec::new());
        for (mut item, fit) in items.into_iter().zip(fits) {
            let passed = match fit.and_then(|()| answers.next().map_or(Ok(None), pass)) {
                Ok(Some(Pass { at, taken, .. })) => {
                    item.taken = taken;
                    self.put_off(&mut item.message, at)
                }
                passed => passed.map(drop),
            };
            limited.push(match passed {
                Ok(()) => Ok(item),
                Err(error) => {
                    useless.push(item.taken);
                    Err(error)
                }
            });
        }
        self.give_back(useless).await;
        limited
    }

    /// With the account's quota used up, a message goes tomorrow or is refused. One that is for tomorrow anyway is no matter.
    fn fit_quota(&self, message: &mut NewMessage, on_limit: OnLimit) -> Result<(), AcceptError> {
        let now = self.clock.now();
        let Some(until) = self.quotas.parked_until(&message.account, now) else { return Ok(()) };
        if message.send_at.is_some_and(|at| at >= until) {
            return Ok(());
        }
        if on_limit == OnLimit::Defer && until < message.expires_at {
            return self.put_off(message, Some(until));
        }
        Err(AcceptError::Limited(self.limits.refuse(LimitKind::Account, until.since(now))))
    }

    /// Undoes what [`Self::limit_items`] took.
    pub(crate) async fn give_back(&self, taken: Vec<Taken>) {
        self.limits.give_back(taken).await;
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

    /// Keeps a message that is ready, lends it to a task of ours at once when there is room, and waits.
    async fn keep(
        &self,
        message: NewMessage,
        turn: Option<Turn>,
        wait: Wait,
        warnings: Vec<Warning>,
    ) -> Result<Kept, AcceptError> {
        let mut view = view_of(&message);
        let wait = worth_waiting(wait, &message);
        let waiter = matches!(wait, Wait::UpTo(_)).then(|| self.outcomes.wait_for(message.id));
        let lent = self.lend(&message, wait);
        if lent.is_some() {
            begin_sending(&mut view);
        }
        let audience = if waiter.is_some() { Audience::Caller } else { Audience::Nobody };
        match self.walk(message, turn, lent, audience).await? {
            Accepted::New => {}
            Accepted::Replay { message_id } => return self.replay(message_id, view, warnings).await,
            Accepted::Mismatch { message_id } => return Err(AcceptError::IdempotencyMismatch { message_id }),
        }
        if let (Some(waiter), Wait::UpTo(limit)) = (waiter, wait) {
            wait_for_outcome(waiter, limit, &self.stopping, &mut view).await;
        }
        Ok(Kept { message: view, replayed: false, warnings, limits: Vec::new() })
    }

    /// Keeps the message and goes on with it in a task of its own: a caller that leaves between the two must not leave a
    /// leased row that nobody works on.
    async fn walk(
        &self,
        message: NewMessage,
        turn: Option<Turn>,
        lent: Option<Lent>,
        audience: Audience,
    ) -> Result<Accepted, store::Error> {
        let (told, accepted) = oneshot::channel();
        let this = self.clone();
        self.tasks.spawn(async move {
            let hold = lent.as_ref().map(|_| this.first_lease);
            let accepted = this.outbox.accept(message, hold).await;
            drop(turn);
            let goes_on = matches!(accepted, Ok(Accepted::New));
            // The caller may have left; the message has not.
            let _ = told.send(accepted);
            if goes_on {
                reach(Point::AcceptKept);
            }
            match lent {
                _ if !goes_on => {}
                Some(Lent { lease, slot, admission }) => {
                    let account = lease.account.clone();
                    let state = this.dispatch.run(lease, Permit::Go(admission), audience).await;
                    drop(slot);
                    if state.is_under_way() || this.dispatch.is_narrow(&account) {
                        this.slots.ring();
                    }
                }
                None => this.slots.ring(),
            }
        });
        accepted.await.unwrap_or_else(|_| {
            Err(store::Error::Unavailable { reason: "the accepting task ended before the store answered".to_owned() })
        })
    }

    /// What an attempt right now needs, if it can be had. What could not be called for anyway is left to the queue.
    fn lend(&self, message: &NewMessage, wait: Wait) -> Option<Lent> {
        if !self.goes_at_once(message, wait) {
            return None;
        }
        let slot = self.slots.for_caller()?;
        let admission = self.dispatch.admit_caller(&message.account)?;
        Some(Lent { lease: message.first_lease(self.first_lease), slot, admission })
    }

    /// A message that must be held when in doubt is lent only when somebody waits: a crash between accept and attempt
    /// would otherwise leave it in doubt for nothing. Who waits is told at once when WeChat gives no token; for the others
    /// there is no hurry to find out.
    fn goes_at_once(&self, message: &NewMessage, wait: Wait) -> bool {
        let is_awaited = matches!(wait, Wait::UpTo(_));
        let is_due = message.send_at.is_none();
        is_due && (is_awaited || message.on_unknown == OnUnknown::Retry && self.dispatch.can_send(&message.account))
    }

    async fn replay(&self, id: MessageId, asked: Message, warnings: Vec<Warning>) -> Result<Kept, AcceptError> {
        reach(Point::AcceptReplayed);
        match self.messages.look_up(id).await {
            Ok(Some(message)) => Ok(Kept { message, replayed: true, warnings, limits: Vec::new() }),
            // Retention took the message before its key: nothing can be said of it any more.
            Ok(None) => Err(AcceptError::IdempotencyMismatch { message_id: id }),
            // A 5xx would say that nothing will be sent, and the first one may be. The same was asked, so this is it.
            Err(error) => {
                tracing::warn!(message.id = %id, %error, "a repeated send is answered without its present state");
                let detail = "it was accepted before; its present state cannot be read now".to_owned();
                let warnings = vec![Warning { path: String::new(), code: "state_unread", detail }];
                Ok(Kept { message: Message { id, ..asked }, replayed: true, warnings, limits: Vec::new() })
            }
        }
    }

    async fn check(&self, caller: &Caller, input: SendInput) -> Result<Checked, AcceptError> {
        let account = self.account_for(caller, &input)?;
        let template_id = account.templates.get(&input.template_id).unwrap_or(&input.template_id).clone();
        if !caller.may_use_template(&input.template_id) && !self.may_use_template(caller, &account.name, &template_id) {
            return Err(AcceptError::Forbidden {
                detail: format!("the key may not use template {}", input.template_id),
            });
        }
        let mut errors = Vec::new();
        check::content(&input, &mut errors);
        let openid = self.recipient(&account, &input, &mut errors).await?;
        let now = self.clock.now();
        let times = match check::times(&input, self.default_ttl, now) {
            Ok(times) => Some(times),
            Err(check::TimesError::Invalid(error)) => {
                errors.push(error);
                None
            }
            Err(check::TimesError::WouldExpire(detail)) if errors.is_empty() => {
                return Err(AcceptError::WouldExpire { detail });
            }
            Err(check::TimesError::WouldExpire(_)) => None,
        };
        match (openid, times) {
            (Some(touser), Some(times)) if errors.is_empty() => {
                let mut warnings = input.warnings.clone();
                warnings.extend(check::warnings(&input));
                if input.strict && !warnings.is_empty() {
                    return Err(AcceptError::Invalid(warnings.into_iter().map(FieldError::from).collect()));
                }
                let content = content_hash(&input, &template_id);
                let message = new_message(caller, &account, input, touser, template_id, times, now);
                Ok(Checked { message, content, warnings })
            }
            _ => Err(AcceptError::Invalid(errors)),
        }
    }

    /// By WeChat's id, or by any alias that the account has for it.
    pub(crate) fn may_use_template(&self, caller: &Caller, account: &str, template_id: &str) -> bool {
        let account = self.accounts.look_up(account);
        let mut aliases = account.iter().flat_map(|account| &account.templates).filter(|(_, id)| *id == template_id);
        caller.may_use_template(template_id) || aliases.any(|(alias, _)| caller.may_use_template(alias))
    }

    /// The named account; else the one that the key leaves; else the only one.
    fn account_for(&self, caller: &Caller, input: &SendInput) -> Result<Arc<Account>, AcceptError> {
        let found = match (&input.account, caller.accounts.as_deref()) {
            (Some(name), _) => self.accounts.look_up(name),
            (None, Some([one])) => self.accounts.look_up(one),
            (None, _) => self.accounts.only(),
        };
        if let Some(account) = found
            && caller.may_use_account(&account.name)
        {
            return Ok(account);
        }
        match &input.account {
            Some(name) => Err(AcceptError::UnknownAccount { detail: format!("there is no account {name:?}") }),
            None => Err(AcceptError::UnknownAccount {
                detail: "name the account: neither the key nor the configuration leaves exactly one".to_owned(),
            }),
        }
    }

    async fn recipient(
        &self,
        account: &Account,
        input: &SendInput,
        errors: &mut Vec<FieldError>,
    ) -> Result<Option<Openid>, AcceptError> {
        match (&input.touser, &input.user_id) {
            (Some(text), None) => Ok(check::openid(text, errors)),
            (None, Some(user_id)) => {
                if !check::user_id(user_id, errors) {
                    return Ok(None);
                }
                let user = self.users.by_user_id(&account.name, user_id).await?;
                let unknown = || AcceptError::UnknownUser {
                    detail: format!("no user of account {} is bound to this user_id", account.name),
                };
                user.map(|user| Some(user.openid)).ok_or_else(unknown)
            }
            _ => {
                errors.push(FieldError {
                    path: "/touser".to_owned(),
                    code: "missing",
                    detail: "name the recipient: either touser (openid) or user_id".to_owned(),
                });
                Ok(None)
            }
        }
    }
}

/// Nobody waits for what is not even to be begun before the patience ends.
fn worth_waiting(wait: Wait, message: &NewMessage) -> Wait {
    match (wait, message.send_at) {
        (Wait::UpTo(limit), Some(at)) if at > message.created_at.plus(limit) => Wait::Not,
        _ => wait,
    }
}

fn pass(answer: Answer) -> Result<Option<Pass>, AcceptError> {
    match answer {
        Answer::Go(pass) => Ok(Some(pass)),
        Answer::Refused(refusal) => Err(AcceptError::Limited(refusal)),
    }
}

fn ask(message: &NewMessage, content: Option<u64>, on_limit: OnLimit) -> Ask<'_> {
    Ask {
        client: &message.client,
        account: &message.account,
        openid: message.touser.as_str(),
        content,
        on_limit,
        until: message.expires_at,
    }
}

/// Of what the person would read; the same in every process.
fn content_hash(input: &SendInput, template_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (template_id, &input.data, &input.url, &input.miniprogram).hash(&mut hasher);
    hasher.finish()
}

fn new_message(
    caller: &Caller,
    account: &Account,
    input: SendInput,
    touser: Openid,
    template_id: String,
    times: check::Times,
    now: Timestamp,
) -> NewMessage {
    let id = input.message_id.unwrap_or_else(|| MessageId::generate(now));
    let key = input.idempotency_key.clone().or_else(|| input.client_msg_id.clone());
    let idempotency = key.map(|key| IdempotencyKey {
        client: caller.client.clone(),
        endpoint: ENDPOINT,
        key,
        body_hash: input.body_hash.clone(),
    });
    let client_msg_id = input.client_msg_id.clone().unwrap_or_else(|| id.body());
    let data: Vec<_> = input.data.into_iter().map(|(name, keyword)| (name, keyword.value, keyword.color)).collect();
    let program = input.miniprogram.as_ref();
    let body = template_body(&TemplateMessage {
        touser: touser.as_str(),
        template_id: &template_id,
        url: input.url.as_deref(),
        miniprogram: program.map(|program| (program.appid.as_str(), program.pagepath.as_deref())),
        client_msg_id: &client_msg_id,
        data: &data,
    });
    NewMessage {
        id,
        account: account.name.clone(),
        client: caller.client.as_str().into(),
        touser,
        template_id,
        body,
        client_msg_id,
        lane: input.lane,
        on_unknown: input.on_unknown.unwrap_or(account.on_unknown),
        created_at: now,
        send_at: times.send_at,
        wait_reason: None,
        expires_at: times.expires_at,
        metadata: metadata_text(&input.metadata),
        retry_of: None,
        batch_id: input.batch_id,
        idempotency,
        trace: input.trace,
    }
}

fn metadata_text(metadata: &[(String, String)]) -> Option<String> {
    if metadata.is_empty() {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> =
        metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    Some(serde_json::Value::Object(object).to_string())
}

/// The message as it stands on disk after the accept, without reading it back.
fn view_of(message: &NewMessage) -> Message {
    let state = if message.send_at.is_some() { State::Scheduled } else { State::Queued };
    let at = message.created_at;
    Message {
        id: message.id,
        account: message.account.to_string(),
        client: message.client.to_string(),
        touser: message.touser.clone(),
        template_id: message.template_id.clone(),
        // No view shows it: the longest part of a message is not copied for nothing.
        body: String::new(),
        client_msg_id: message.client_msg_id.clone(),
        lane: message.lane,
        on_unknown: message.on_unknown,
        state,
        state_reason: message.wait_reason.map(str::to_owned),
        msgid: None,
        created_at: at,
        updated_at: at,
        send_at: message.send_at,
        expires_at: message.expires_at,
        next_attempt_at: Some(message.send_at.unwrap_or(at)),
        metadata: message.metadata.clone(),
        retry_of: message.retry_of,
        batch_id: message.batch_id,
        attempts: Vec::new(),
        history: vec![HistoryEntry { state, at, reason: message.wait_reason.map(str::to_owned) }],
    }
}

fn begin_sending(view: &mut Message) {
    view.state = State::Sending;
    view.next_attempt_at = None;
    view.history.push(HistoryEntry { state: State::Sending, at: view.created_at, reason: None });
}

/// Until the outcome or the end of the caller's patience. When the gateway stops, a message that only waits is answered for
/// at once: it is on disk, and goes on after the restart.
async fn wait_for_outcome(mut waiter: Waiter, limit: Duration, stopping: &CancellationToken, view: &mut Message) {
    let deadline = tokio::time::Instant::now() + limit;
    while view.state.is_under_way() {
        let is_attempted = view.state == State::Sending;
        tokio::select! {
            biased;
            progress = waiter.next() => match progress {
                Some(progress) => {
                    apply(view, progress);
                    let pause = view.next_attempt_at.map(|next| next.since(view.updated_at));
                    // Nothing more comes of waiting for that.
                    if pause.is_some_and(|pause| tokio::time::Instant::now() + pause > deadline) {
                        return;
                    }
                }
                None => return,
            },
            () = tokio::time::sleep_until(deadline) => return,
            () = stopping.cancelled(), if !is_attempted => return,
        }
    }
}

fn apply(view: &mut Message, progress: Progress) {
    view.state = progress.state;
    view.history.push(HistoryEntry { state: progress.state, at: progress.at, reason: progress.reason.clone() });
    view.state_reason = progress.reason;
    if progress.msgid.is_some() {
        view.msgid = progress.msgid;
    }
    view.next_attempt_at = progress.next_attempt_at;
    view.updated_at = progress.at;
    // Another node tells all of them, also those made here.
    for attempt in progress.attempts {
        if !view.attempts.contains(&attempt) {
            view.attempts.push(attempt);
        }
    }
}
