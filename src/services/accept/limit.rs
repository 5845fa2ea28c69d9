//! What stands between a good message and the store: limits, and the quota of the day.

use super::{Accept, AcceptError, Item};
use crate::domain::caller::Caller;
use crate::domain::limit::{LimitKind, OnLimit};
use crate::domain::message::NewMessage;
use crate::services::limits::{Answer, Ask, Pass, Taken};

impl Accept {
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
    pub(super) fn fit_quota(&self, message: &mut NewMessage, on_limit: OnLimit) -> Result<(), AcceptError> {
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
}

pub(super) fn pass(answer: Answer) -> Result<Option<Pass>, AcceptError> {
    match answer {
        Answer::Go(pass) => Ok(Some(pass)),
        Answer::Refused(refusal) => Err(AcceptError::Limited(refusal)),
    }
}

pub(super) fn ask(message: &NewMessage, content: Option<u64>, on_limit: OnLimit) -> Ask<'_> {
    Ask {
        client: &message.client,
        account: &message.account,
        openid: message.touser.as_str(),
        content,
        on_limit,
        until: message.expires_at,
    }
}
