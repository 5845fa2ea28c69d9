//! What a back end says after WeChat was answered: a customer-service message, once, or nothing.

use std::pin::Pin;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::flight::{Flight, Said};
use super::gate::Pass;
use crate::domain::event::{NewEvent, RELAY_LATE_REPLY};
use crate::domain::relay::{LateReply, RelayState};
use crate::upstream::relay::RelayError;
use crate::upstream::wechat::{CallError, errcode_label};
use crate::wechat::answer::Answer;
use crate::wechat::errcode::{self, Class};
use crate::wechat::reply::Reply;

/// How it went at WeChat.
struct Sent {
    state: RelayState,
    /// As in metrics: the errcode, or how far the call came.
    label: String,
}

impl Flight {
    /// The budget is over, and WeChat has been answered.
    pub(super) async fn too_late(
        &self,
        mut asking: Pin<&mut impl Future<Output = Result<Vec<u8>, RelayError>>>,
        pass: &Pass,
        begun: Instant,
    ) {
        let fallback = self.fallback.clone();
        let Some((until, _place)) = self.may_wait() else {
            pass.failed(self.now());
            self.count(RelayState::Late);
            self.step(RelayState::Pending, RelayState::Late, fallback, None).await;
            return;
        };
        let Ok(answer) = timeout_at(until, &mut asking).await else {
            pass.failed(self.now());
            self.count(RelayState::Late);
            self.step(RelayState::Pending, RelayState::Late, fallback, None).await;
            return;
        };
        self.relay.inner.doors.metrics.relay_took(&self.letter.account.name, begun.elapsed());
        let state = match self.hear(answer, pass) {
            Said::Reply { reply, .. } => return self.pass_on(reply, RelayState::Pending).await,
            Said::Silent => RelayState::Silent,
            Said::Invalid => RelayState::Invalid,
            Said::Failed => RelayState::Failed,
        };
        self.count(state);
        self.step(RelayState::Pending, state, fallback, None).await;
    }

    /// Until when a late answer is of use, and a place to wait for it.
    fn may_wait(&self) -> Option<(Instant, tokio::sync::OwnedSemaphorePermit)> {
        let wanted = self.letter.account.relay.as_ref().is_some_and(|relay| relay.late_reply == LateReply::Custom);
        let window = self.letter.window().filter(|_| wanted)?;
        let wait = window.min(self.relay.inner.rules.late_wait);
        let place = self.relay.inner.late.clone().try_acquire_owned().ok()?;
        Some((self.letter.arrived + wait, place))
    }

    /// `from`: how the callback stands. That it is being sent is kept first: what died in between is never sent again.
    pub(super) async fn pass_on(&self, reply: Reply, from: RelayState) {
        let fallback = self.fallback.clone();
        let wanted = self.letter.account.relay.as_ref().is_some_and(|relay| relay.late_reply == LateReply::Custom);
        let window = self.letter.window().filter(|window| wanted && self.letter.arrived.elapsed() < *window);
        let Some(body) = window.and_then(|_| reply.as_custom(&self.letter.inbound.from_user_name)) else {
            self.count(RelayState::Late);
            self.step(from, RelayState::Late, fallback, None).await;
            return;
        };
        match self.step(from, RelayState::LateSending, fallback.clone(), None).await {
            Some(standing) if standing.moved => {}
            // Another node has given or sent an answer; or it cannot be kept, and so it must not be sent.
            _ => return self.count(RelayState::Late),
        }
        let sent = self.send(&body).await;
        self.count(sent.state);
        let (account, id) = (&*self.letter.account.name, self.letter.id);
        let errcode = sent.label.as_str();
        match sent.state {
            RelayState::LateSent => {
                tracing::info!(account.id = account, callback.id = %id, "a late answer went out as a customer-service message");
            }
            _ => tracing::warn!(
                account.id = account,
                callback.id = %id,
                relay.state = sent.state.as_str(),
                wechat.errcode = errcode,
                "a late answer did not reach WeChat as a customer-service message"
            ),
        }
        let data = json!({
            "callback_id": id, "openid": self.letter.inbound.from_user_name, "state": sent.state.as_str(), "result": errcode,
        });
        let now = self.now();
        let event = NewEvent::of_account(RELAY_LATE_REPLY, account, now, data.to_string());
        self.step(RelayState::LateSending, sent.state, fallback, Some(event)).await;
    }

    /// Once; a refused token is renewed once, for WeChat has taken nothing then.
    async fn send(&self, body: &str) -> Sent {
        let doors = &self.relay.inner.doors;
        let account = &self.letter.account;
        let mut token = doors.tokens.current(&account.name).await;
        let mut is_renewed = false;
        loop {
            let Ok(current) = &token else {
                return Sent { state: RelayState::LateRefused, label: "no_token".to_owned() };
            };
            let begun = Instant::now();
            let answer = doors.wechat.send_custom(account, &current.token, body.to_owned()).await;
            let sent = judge(&answer);
            doors.metrics.wechat_request(&account.name, "custom_send", &sent.label, begun.elapsed());
            let is_stale = answer.is_ok_and(|answer| errcode::class(answer.errcode) == Class::Token);
            if !is_stale || is_renewed {
                return sent;
            }
            is_renewed = true;
            token = doors.tokens.renew(&account.name, current.generation).await;
        }
    }
}

fn judge(answer: &Result<Answer, CallError>) -> Sent {
    let (state, label) = match answer {
        Ok(answer) if answer.is_ok() => (RelayState::LateSent, errcode_label(0)),
        // -1, "busy": it may have been shown all the same.
        Ok(answer) if errcode::class(answer.errcode) == Class::Transient => {
            (RelayState::LateUnknown, errcode_label(answer.errcode))
        }
        Ok(answer) => (RelayState::LateRefused, errcode_label(answer.errcode)),
        Err(error @ CallError::NotSent { .. }) => (RelayState::LateRefused, error.label().to_owned()),
        Err(error @ CallError::NoAnswer { .. }) => (RelayState::LateUnknown, error.label().to_owned()),
    };
    Sent { state, label }
}
