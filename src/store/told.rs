//! What a transaction has to tell subscribers: collected while its commands run, written before its commit.
//!
//! In: what the verbs changed. Out: [`NewEvent`]s with their ids, the same from both backends.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Error;
use crate::domain::attempt::HistoryEntry;
use crate::domain::batch::{BatchCount, RejectedItem};
use crate::domain::callback::NewCallback;
use crate::domain::clock::Timestamp;
use crate::domain::event::{self, NewEvent};
use crate::domain::ids::EventId;
use crate::domain::state::State;

/// The columns of a message that its events tell: an update returns them, so that nothing is read again.
pub(super) const COLUMNS: &str =
    "id, account, client, touser, template_id, msgid, attempts, metadata, retry_of, batch_id, created_at";

/// Those columns. What cannot be read is left out: an event of a broken row tells the rest.
#[derive(Default)]
pub(super) struct Told {
    pub(super) id: Option<String>,
    pub(super) account: Option<String>,
    pub(super) client: Option<String>,
    pub(super) touser: Option<String>,
    pub(super) template_id: Option<String>,
    pub(super) msgid: Option<String>,
    pub(super) attempts: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) retry_of: Option<String>,
    pub(super) batch_id: Option<String>,
    pub(super) created_at: Option<Timestamp>,
}

/// `data` of `message.*`.
#[derive(Serialize)]
struct MessageData<'a> {
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    touser: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_id: Option<&'a str>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msgid: Option<&'a str>,
    #[serde(flatten)]
    last: LastAttempt,
    attempts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
}

/// What WeChat answered last.
#[derive(Default, Serialize, Deserialize)]
struct LastAttempt {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errcode: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errmsg: Option<String>,
}

/// `data` of `batch.finished`.
#[derive(Serialize)]
struct BatchData<'a> {
    batch_id: &'a str,
    client: &'a str,
    messages: u64,
    rejected: usize,
    counts: std::collections::BTreeMap<State, u64>,
    created_at: Timestamp,
}

/// A batch of which nothing is under way any more.
pub(super) struct Finished {
    pub(super) id: String,
    pub(super) client: String,
    pub(super) created_at: Timestamp,
    /// As in its row.
    pub(super) rejected: String,
    pub(super) counts: Vec<BatchCount>,
}

#[derive(Serialize)]
struct UserData<'a> {
    openid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
}

/// What one transaction tells.
#[derive(Default)]
pub(super) struct Tidings {
    events: Vec<(EventId, NewEvent)>,
    /// Batches of which a message is no longer under way, and since when.
    batches: Vec<(String, Timestamp)>,
}

impl Tidings {
    /// A message took these steps, each a line of its history. `from`: where it stood before.
    pub(super) fn moved(&mut self, told: &Told, from: State, steps: &[HistoryEntry]) -> Result<(), Error> {
        for step in steps {
            if let Some(kind) = event::of_state(step.state) {
                let event = told.event(kind, step)?;
                self.push(event);
            }
        }
        if let (Some(batch), Some(last)) = (&told.batch_id, steps.last())
            && from.is_under_way()
            && !last.state.is_under_way()
        {
            self.look_at(batch, last.at);
        }
        Ok(())
    }

    /// This batch may be finished.
    pub(super) fn look_at(&mut self, batch: &str, at: Timestamp) {
        match self.batches.iter_mut().find(|(known, _)| known == batch) {
            Some((_, last)) => *last = at.max(*last),
            None => self.batches.push((batch.to_owned(), at)),
        }
    }

    pub(super) fn called_back(&mut self, callback: &NewCallback) {
        let Some(data) = &callback.told else { return };
        let kind = format!("callback.{}", callback.kind);
        self.push(NewEvent::of_account(kind, &callback.account, callback.received_at, data.clone()));
    }

    /// The user has followed, or left.
    pub(super) fn user(
        &mut self,
        callback: &NewCallback,
        openid: &str,
        user_id: Option<&str>,
        subscribed: bool,
    ) -> Result<(), Error> {
        let kind = if subscribed { event::USER_SUBSCRIBED } else { event::USER_UNSUBSCRIBED };
        let data = json(&UserData { openid, user_id })?;
        self.push(NewEvent::of_account(kind, &callback.account, callback.received_at, data));
        Ok(())
    }

    pub(super) fn finished(&mut self, batch: &Finished, at: Timestamp) -> Result<(), Error> {
        let mut accounts: Vec<_> = batch.counts.iter().map(|count| &count.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let account = match accounts[..] {
            [only] => Some(only.clone()),
            _ => None,
        };
        let mut counts = std::collections::BTreeMap::new();
        for line in &batch.counts {
            *counts.entry(line.state).or_default() += line.count;
        }
        let rejected = serde_json::from_str::<Vec<RejectedItem>>(&batch.rejected).map_or(0, |items| items.len());
        let data = BatchData {
            batch_id: &batch.id,
            client: &batch.client,
            messages: counts.values().sum(),
            rejected,
            counts,
            created_at: batch.created_at,
        };
        self.push(NewEvent {
            kind: event::BATCH_FINISHED.into(),
            account,
            message_id: None,
            batch_id: Some(batch.id.clone()),
            client: Some(batch.client.clone()),
            at,
            data: json(&data)?,
        });
        Ok(())
    }

    pub(super) fn push(&mut self, event: NewEvent) {
        let earlier = self.events.last().map(|(id, _)| *id);
        self.events.push((EventId::generate_behind(earlier, event.at), event));
    }

    /// Those to be looked at, sorted; then there are none.
    pub(super) fn take_batches(&mut self) -> Vec<(String, Timestamp)> {
        let mut batches = std::mem::take(&mut self.batches);
        batches.sort_unstable();
        batches
    }

    /// In the order in which they happened.
    pub(super) fn events(&self) -> &[(EventId, NewEvent)] {
        &self.events
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Told {
    fn event(&self, kind: &'static str, step: &HistoryEntry) -> Result<NewEvent, Error> {
        let attempts = self.attempts.as_deref().unwrap_or_default();
        let last = attempts.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        let data = MessageData {
            message_id: self.id.as_deref(),
            batch_id: self.batch_id.as_deref(),
            client: self.client.as_deref(),
            touser: self.touser.as_deref(),
            template_id: self.template_id.as_deref(),
            state: step.state,
            state_reason: step.reason.as_deref(),
            msgid: self.msgid.as_deref(),
            last: last.unwrap_or_default(),
            attempts: attempts.lines().count(),
            metadata: self.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            retry_of: self.retry_of.as_deref(),
            created_at: self.created_at,
        };
        Ok(NewEvent {
            kind: kind.into(),
            account: self.account.clone(),
            message_id: self.id.clone(),
            batch_id: self.batch_id.clone(),
            client: self.client.clone(),
            at: step.at,
            data: json(&data)?,
        })
    }
}

fn json(data: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(data)
        .map_err(|error| Error::Unavailable { reason: format!("an event cannot be written as JSON: {error}") })
}
