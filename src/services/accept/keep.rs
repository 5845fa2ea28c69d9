//! Keeping a message that is ready, and waiting for what becomes of it.

use super::turns::Turn;
use super::{Accept, AcceptError, Kept, Wait, Warning};
use crate::domain::attempt::HistoryEntry;
use crate::domain::ids::MessageId;
use crate::domain::message::{Lease, Message, NewMessage};
use crate::domain::state::{OnUnknown, State};
use crate::failpoint::{Point, reach};
use crate::services::breaker::{Admission, Permit};
use crate::services::dispatch::Audience;
use crate::services::outcomes::{Progress, Waiter};
use crate::services::slots::Slot;
use crate::store::{self, Accepted};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the first attempt of a message holds.
pub(super) struct Lent {
    lease: Lease,
    slot: Slot,
    admission: Admission,
}

impl Accept {
    /// Keeps a message that is ready, lends it to a task of ours at once when there is room, and waits.
    pub(super) async fn keep(
        &self,
        message: NewMessage,
        turn: Option<Turn>,
        wait: Wait,
        warnings: Vec<Warning>,
    ) -> Result<Kept, AcceptError> {
        let mut view = view_of(&message);
        let wait = worth_waiting(wait, &message);
        let mut waiter = match wait {
            Wait::UpTo(limit) => Some((self.outcomes.wait_for(message.id), Instant::now() + limit)),
            Wait::Not => None,
        };
        let lent = self.lend(&message, wait);
        let is_lent = lent.is_some();
        if lent.is_some() {
            begin_sending(&mut view);
        }
        let audience = if waiter.is_some() { Audience::Caller } else { Audience::Nobody };
        let mut walk = self.walk(message, turn, lent, audience);
        let first = match &mut waiter {
            Some((waiter, deadline)) if is_lent => walk.first_step(waiter, *deadline).await,
            _ => None,
        };
        match walk.accepted().await? {
            Accepted::New => {}
            Accepted::Replay { message_id } => return self.replay(message_id, view, warnings).await,
            Accepted::Mismatch { message_id } => return Err(AcceptError::IdempotencyMismatch { message_id }),
        }
        if let Some((waiter, deadline)) = waiter {
            wait_for_outcome(waiter, first, deadline, &self.stopping, &mut view).await;
        }
        Ok(Kept { message: view, replayed: false, warnings, limits: Vec::new() })
    }

    /// Keeps the message and goes on with it in a task of its own: a caller that leaves between the two must not leave a
    /// leased row that nobody works on.
    pub(super) fn walk(&self, message: NewMessage, turn: Option<Turn>, lent: Option<Lent>, audience: Audience) -> Walk {
        let (told, accepted) = oneshot::channel();
        let (going, stopped) = oneshot::channel();
        let this = self.clone();
        self.tasks.spawn(async move {
            let hold = lent.as_ref().map(|_| this.first_lease);
            let accepted = this.outbox.accept(message, hold).await;
            drop(turn);
            let goes_on = matches!(accepted, Ok(Accepted::New));
            // The caller may have left; the message has not.
            let _ = told.send(accepted);
            let going = goes_on.then_some(going);
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
            drop(going);
        });
        Walk { accepted, stopped }
    }

    /// What an attempt right now needs, if it can be had. What could not be called for anyway is left to the queue.
    pub(super) fn lend(&self, message: &NewMessage, wait: Wait) -> Option<Lent> {
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
    pub(super) fn goes_at_once(&self, message: &NewMessage, wait: Wait) -> bool {
        let is_awaited = matches!(wait, Wait::UpTo(_));
        let is_due = message.send_at.is_none();
        is_due && (is_awaited || message.on_unknown == OnUnknown::Retry && self.dispatch.can_send(&message.account))
    }

    pub(super) async fn replay(
        &self,
        id: MessageId,
        asked: Message,
        warnings: Vec<Warning>,
    ) -> Result<Kept, AcceptError> {
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
}

/// A message on its way in a task of its own.
pub(super) struct Walk {
    accepted: oneshot::Receiver<Result<Accepted, store::Error>>,
    /// Closed when the way ends; at once when it is not even begun.
    stopped: oneshot::Receiver<()>,
}

impl Walk {
    /// The first that is told of the message, when that comes before anything else. That it was accepted is then known, too: a
    /// caller that only waits for the outcome is woken once, not twice.
    async fn first_step(&mut self, waiter: &mut Waiter, deadline: Instant) -> Option<Progress> {
        tokio::select! {
            biased;
            progress = waiter.next() => progress,
            _ = &mut self.stopped => None,
            () = tokio::time::sleep_until(deadline) => None,
        }
    }

    async fn accepted(self) -> Result<Accepted, store::Error> {
        self.accepted.await.unwrap_or_else(|_| {
            Err(store::Error::Unavailable { reason: "the accepting task ended before the store answered".to_owned() })
        })
    }
}

/// Nobody waits for what is not even to be begun before the patience ends.
pub(super) fn worth_waiting(wait: Wait, message: &NewMessage) -> Wait {
    match (wait, message.send_at) {
        (Wait::UpTo(limit), Some(at)) if at > message.created_at.plus(limit) => Wait::Not,
        _ => wait,
    }
}

/// The message as it stands on disk after the accept, without reading it back.
pub(super) fn view_of(message: &NewMessage) -> Message {
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

pub(super) fn begin_sending(view: &mut Message) {
    view.state = State::Sending;
    view.next_attempt_at = None;
    view.history.push(HistoryEntry { state: State::Sending, at: view.created_at, reason: None });
}

/// Until the outcome or the end of the caller's patience. When the gateway stops, a message that only waits is answered for
/// at once: it is on disk, and goes on after the restart.
pub(super) async fn wait_for_outcome(
    mut waiter: Waiter,
    mut first: Option<Progress>,
    deadline: Instant,
    stopping: &CancellationToken,
    view: &mut Message,
) {
    while view.state.is_under_way() {
        let is_attempted = view.state == State::Sending;
        tokio::select! {
            biased;
            progress = next(&mut first, &mut waiter) => match progress {
                Some(progress) => {
                    apply(view, progress);
                    let pause = view.next_attempt_at.map(|next| next.since(view.updated_at));
                    // Nothing more comes of waiting for that.
                    if pause.is_some_and(|pause| Instant::now() + pause > deadline) {
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

async fn next(first: &mut Option<Progress>, waiter: &mut Waiter) -> Option<Progress> {
    match first.take() {
        Some(progress) => Some(progress),
        None => waiter.next().await,
    }
}

pub(super) fn apply(view: &mut Message, progress: Progress) {
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
