//! One back end is asked about one callback.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::gate::Pass;
use super::{First, Letter, Relay};
use crate::domain::callback::{RelayStanding, RelayStep};
use crate::domain::clock::Timestamp;
use crate::domain::event::NewEvent;
use crate::domain::relay::{RelayState, Target};
use crate::upstream::relay::{self as upstream, RelayError, host_of};
use crate::wechat::reply::Reply;
use crate::wechat::reply::read::{self, Given};

pub(super) struct Flight {
    pub(super) relay: Relay,
    pub(super) letter: Arc<Letter>,
    pub(super) target: Target,
    pub(super) fallback: Option<String>,
    pub(super) publish: watch::Sender<Option<First>>,
}

/// What a back end said.
pub(super) enum Said {
    Reply { reply: Reply, body: String },
    Silent,
    Invalid,
    Failed,
}

impl Flight {
    /// Tells the first answer within the hard limit, and returns when nothing more can come.
    pub(super) async fn fly(self) {
        let Some(pass) = self.relay.inner.gates.pass(&self.target.url, self.now()) else {
            self.first(self.fallback.clone());
            self.count(RelayState::Skipped);
            self.step(RelayState::Pending, RelayState::Skipped, self.fallback.clone(), None).await;
            return;
        };
        let begun = Instant::now();
        let mut asking = pin!(self.ask());
        match timeout_at(self.letter.arrived + self.target.timeout, &mut asking).await {
            Ok(answer) => {
                self.relay.inner.doors.metrics.relay_took(&self.letter.account.name, begun.elapsed());
                let said = self.hear(answer, &pass);
                self.in_time(said).await;
            }
            Err(_) => {
                self.first(self.fallback.clone());
                self.too_late(asking, &pass, begun).await;
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.relay.now()
    }

    async fn ask(&self) -> Result<Vec<u8>, RelayError> {
        let doors = &self.relay.inner.doors;
        let query = self.letter.query(&self.target, self.now());
        let letter = upstream::Letter {
            url: &self.target.url,
            is_operators: self.target.is_operators,
            query: &query,
            format: self.letter.inbound.format,
            body: self.letter.body.clone(),
            timeout: self.relay.inner.rules.late_wait,
        };
        match doors.client.post(letter.clone()).await {
            // Mostly a kept connection that the back end has closed meanwhile.
            Err(RelayError::Broken { .. }) => doors.client.post(letter).await,
            answer => answer,
        }
    }

    /// What the answer means, for the gate too.
    pub(super) fn hear(&self, answer: Result<Vec<u8>, RelayError>, pass: &Pass) -> Said {
        match &answer {
            Err(error) if error.is_down() => pass.failed(self.now()),
            Ok(_) | Err(_) => pass.answered(),
        }
        let now = self.now().as_seconds();
        let (account, host) = (&*self.letter.account.name, host_of(&self.target.url));
        match answer.map(|body| read::read(&body, &self.letter.inbound, now)) {
            Ok(Ok(Given::Reply { reply, body })) => Said::Reply { reply, body },
            Ok(Ok(Given::Nothing)) => Said::Silent,
            Ok(Err(problem)) => {
                tracing::warn!(
                    account.id = account,
                    callback.id = %self.letter.id,
                    relay.host = host,
                    problem,
                    "a back end's answer cannot be used"
                );
                Said::Invalid
            }
            Err(error @ RelayError::TooLong) => {
                tracing::warn!(account.id = account, callback.id = %self.letter.id, relay.host = host, %error, "a back end's answer cannot be used");
                Said::Invalid
            }
            Err(error) => {
                tracing::warn!(account.id = account, callback.id = %self.letter.id, relay.host = host, %error, "a back end gave no answer");
                Said::Failed
            }
        }
    }

    async fn in_time(&self, said: Said) {
        let (state, reply) = match &said {
            Said::Reply { body, .. } => (RelayState::Answered, Some(body.clone())),
            Said::Silent => (RelayState::Silent, None),
            Said::Invalid => (RelayState::Invalid, self.fallback.clone()),
            Said::Failed => (RelayState::Failed, self.fallback.clone()),
        };
        // Kept before it is given, so that a repeat gets the same.
        let mut keeping = pin!(self.step(RelayState::Pending, state, reply.clone(), None));
        tokio::select! {
            standing = &mut keeping => {
                // Another node was first: its answer is the answer. When it cannot be kept, it is given all the same.
                self.first(standing.map_or(reply, |standing| standing.reply));
                self.count(state);
            }
            () = sleep_until(self.letter.arrived + self.relay.inner.rules.hard_limit) => {
                self.first(self.fallback.clone());
                let standing = keeping.await;
                match said {
                    Said::Reply { reply, .. } if standing.is_none_or(|standing| standing.moved) => {
                        self.pass_on(reply, state).await;
                    }
                    _ => self.count(state),
                }
            }
        }
    }

    /// Only the first call counts.
    fn first(&self, answer: First) {
        self.publish.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(answer);
            }
            is_first
        });
    }

    pub(super) fn count(&self, state: RelayState) {
        self.relay.inner.doors.metrics.relay(&self.letter.account.name, state.as_str());
    }

    /// `None`: it cannot be kept.
    pub(super) async fn step(
        &self,
        from: RelayState,
        to: RelayState,
        reply: Option<String>,
        event: Option<NewEvent>,
    ) -> Option<RelayStanding> {
        let (account, dedupe_key) = (self.letter.account.name.to_string(), self.letter.dedupe_key.clone());
        let step = RelayStep { account, dedupe_key, from, to, reply, event };
        match self.relay.inner.doors.inbox.step_relay(step).await {
            Ok(standing) => standing,
            Err(error) => {
                tracing::warn!(
                    account.id = &*self.letter.account.name,
                    callback.id = %self.letter.id,
                    relay.state = to.as_str(),
                    %error,
                    "what came of a relay cannot be kept"
                );
                None
            }
        }
    }
}
