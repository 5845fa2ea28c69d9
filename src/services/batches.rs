//! Many sends at once: each checked and limited like one, kept together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::batch::{Batch, BatchCount, ItemError, ItemUpstream, NewBatch, RejectedItem};
use crate::domain::caller::{Caller, Scope};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::services::accept::{Accept, AcceptError, Item, SendInput, Warning};
use crate::services::limits::Refusal;
use crate::services::verdict::next_quota_day;
use crate::store::{self, KeptBatch};

const ENDPOINT: &str = "POST /send-template/batch";

/// The doors these verbs need.
#[derive(Clone)]
pub struct Batches {
    pub batches: Arc<dyn store::Batches>,
    pub accept: Accept,
    pub clock: Arc<dyn Clock>,
}

/// What a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct BatchInput {
    /// With its place in the request.
    pub items: Vec<(u32, SendInput)>,
    /// Those that could not even be read.
    pub rejected: Vec<RejectedItem>,
    /// All of them or none.
    pub atomic: bool,
    pub idempotency_key: Option<String>,
    /// As in [`SendInput`], of the whole request.
    pub body_hash: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Nothing was kept: these items are in the way.
    #[error("{} items are refused", .0.len())]
    Refused(Vec<RejectedItem>),
    #[error("the idempotency key was used for another batch")]
    IdempotencyMismatch { batch_id: BatchId },
    #[error("there is no such batch")]
    NotFound,
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A batch that was kept, now or by an earlier request with the same key.
#[derive(Clone, Debug)]
pub struct KeptOne {
    pub batch: Batch,
    pub replayed: bool,
    pub warnings: Vec<Warning>,
}

impl Batches {
    /// Keeps what can be kept and leaves it to the queue.
    pub async fn send(&self, caller: &Caller, input: BatchInput) -> Result<KeptOne, BatchError> {
        if self.accept.stopping.is_cancelled() {
            return Err(AcceptError::ShuttingDown.into());
        }
        let key = input.idempotency_key.as_ref().map(|key| IdempotencyKey {
            client: caller.client.clone(),
            endpoint: ENDPOINT,
            key: key.clone(),
            body_hash: input.body_hash.clone(),
        });
        let _turn = match &key {
            Some(key) => Some(self.accept.turns.take(key).await),
            None => None,
        };
        if let Some(key) = &key
            && let Some(known) = self.batches.known(key).await?
        {
            return told(known);
        }
        self.begin(caller, input, key).await
    }

    async fn begin(
        &self,
        caller: &Caller,
        input: BatchInput,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<KeptOne, BatchError> {
        let now = self.clock.now();
        let id = BatchId::generate(now);
        let BatchInput { items, mut rejected, atomic, .. } = input;
        // Ids that grow in the order of the request: it is the order of lists.
        let mut ids: Vec<MessageId> = items.iter().map(|_| MessageId::generate(now)).collect();
        ids.sort_unstable();
        let mut checked = Vec::with_capacity(items.len());
        for ((index, mut item), message_id) in items.into_iter().zip(ids) {
            item.message_id = Some(message_id);
            item.batch_id = Some(id);
            match self.accept.check_item(caller, item).await {
                Ok(item) => checked.push((index, item)),
                Err(AcceptError::Store(error)) => return Err(error.into()),
                Err(error) => rejected.push(rejection(index, &error)),
            }
        }
        if atomic && !rejected.is_empty() {
            return Err(BatchError::Refused(rejected));
        }
        let (places, checked): (Vec<u32>, Vec<Item>) = checked.into_iter().unzip();
        let (mut messages, mut taken) = (Vec::with_capacity(checked.len()), Vec::with_capacity(checked.len()));
        for (index, limited) in places.into_iter().zip(self.accept.limit_items(caller, checked).await) {
            match limited {
                Ok(item) => {
                    messages.push((index, item.message));
                    taken.push(item.taken);
                }
                Err(error) => rejected.push(rejection(index, &error)),
            }
        }
        rejected.sort_by_key(|item| item.index);
        if messages.is_empty() || (atomic && !rejected.is_empty()) {
            self.accept.give_back(taken).await;
            return Err(BatchError::Refused(rejected));
        }
        let warnings = self.warnings(&messages, now).await;
        let batch = NewBatch { id, client: caller.client.clone(), created_at: now, idempotency, rejected };
        let kept = self.batches.keep(batch, messages, atomic).await;
        if !matches!(kept, Ok(KeptBatch::New(_))) {
            self.accept.give_back(taken).await;
        }
        self.accept.slots.ring();
        Ok(KeptOne { warnings, ..told(kept?)? })
    }

    /// Where an account may send fewer messages today than there are.
    async fn warnings(&self, messages: &[(u32, NewMessage)], now: Timestamp) -> Vec<Warning> {
        let tomorrow = next_quota_day(now);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, message) in messages.iter().filter(|(_, message)| message.send_at.is_none_or(|at| at < tomorrow)) {
            *counts.entry(&message.account).or_default() += 1;
        }
        let mut warnings = Vec::new();
        for (account, count) in counts {
            if let Some(short) = self.accept.quotas.short_of(account, count).await {
                let detail = format!(
                    "{short} of {count} messages do not fit into what account {account} may still send today: they wait \
                     until {tomorrow}, as long as they do not expire before"
                );
                warnings.push(Warning { path: "/messages".to_owned(), code: "daily_quota", detail });
            }
        }
        warnings
    }

    /// The batch, and where its messages stand that the caller may see.
    pub async fn look_up(&self, caller: &Caller, id: BatchId) -> Result<(Batch, Vec<BatchCount>), BatchError> {
        let (batch, mut counts) = self.batches.look_up(id).await?.ok_or(BatchError::NotFound)?;
        let was_empty = counts.is_empty();
        counts.retain(|count| caller.may_use_account(&count.account));
        let sees_some = !counts.is_empty() || (was_empty && caller.accounts.is_none());
        if !sees_some || !(caller.may(Scope::Read) || batch.client == caller.client) {
            return Err(BatchError::NotFound);
        }
        Ok((batch, counts))
    }

    /// Cancels what has not begun. → as [`Self::look_up`] afterwards, and how many were canceled.
    pub async fn cancel(&self, caller: &Caller, id: BatchId) -> Result<(usize, Batch, Vec<BatchCount>), BatchError> {
        self.look_up(caller, id).await?;
        let canceled = self.batches.cancel(id, caller.accounts.clone(), self.clock.now()).await?;
        let (batch, counts) = self.look_up(caller, id).await?;
        Ok((canceled, batch, counts))
    }
}

fn told(kept: KeptBatch) -> Result<KeptOne, BatchError> {
    match kept {
        KeptBatch::New(batch) => Ok(KeptOne { batch, replayed: false, warnings: Vec::new() }),
        KeptBatch::Replay(batch) => Ok(KeptOne { batch, replayed: true, warnings: Vec::new() }),
        KeptBatch::Refused(items) => Err(BatchError::Refused(items)),
        KeptBatch::Mismatch { batch_id } => Err(BatchError::IdempotencyMismatch { batch_id }),
    }
}

fn rejection(index: u32, error: &AcceptError) -> RejectedItem {
    let (code, reason) = match error {
        AcceptError::Forbidden { .. } => ("forbidden", None),
        AcceptError::Invalid(_) => ("invalid_message", None),
        AcceptError::UnknownAccount { .. } => ("unknown_account", None),
        AcceptError::UnknownUser { .. } => ("unknown_user", None),
        AcceptError::WouldExpire { .. } => ("would_expire", None),
        AcceptError::Limited(refusal) => ("rate_limited", Some(refusal.kind.reason())),
        AcceptError::Suppressed(_) => ("recipient_refused", None),
        AcceptError::IdempotencyMismatch { .. } => ("idempotency_mismatch", None),
        AcceptError::ShuttingDown => ("shutting_down", None),
        AcceptError::Store(_) => ("storage_unavailable", None),
    };
    let errors = match error {
        AcceptError::Invalid(errors) => errors
            .iter()
            .map(|error| ItemError {
                path: format!("/messages/{index}{}", error.path),
                code: error.code.to_owned(),
                detail: error.detail.clone(),
            })
            .collect(),
        _ => Vec::new(),
    };
    let detail = match error {
        AcceptError::Limited(Refusal { wait, .. }) => format!("{error}: try again in {} s", wait.as_secs() + 1),
        error => error.to_string(),
    };
    let upstream = match error {
        AcceptError::Suppressed(found) => {
            Some(ItemUpstream { errcode: found.reason.errcode(), errmsg: found.errmsg.clone() })
        }
        _ => None,
    };
    let (code, reason) = (code.to_owned(), reason.map(str::to_owned));
    RejectedItem { index, code, detail, reason, message_id: None, upstream, errors }
}
