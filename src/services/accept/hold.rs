//! What keeps a good send from going out now: the hour, or what WeChat has said of the person.

use super::{Accept, AcceptError};
use crate::domain::clock::Timestamp;
use crate::domain::message::NewMessage;
use crate::domain::quiet::QUIET_HOURS;
use crate::domain::state::Lane;
use crate::domain::suppression::Suppression;
use crate::store;

impl Accept {
    /// What would go out in quiet hours is scheduled for their end.
    pub(super) fn keep_quiet(&self, message: &mut NewMessage) -> Result<(), AcceptError> {
        let begins = message.send_at.unwrap_or(message.created_at);
        let quiet = self.accounts.look_up(&message.account).and_then(|account| account.quiet);
        let Some(end) = quiet.filter(|_| message.lane != Lane::Urgent).and_then(|quiet| quiet.end(begins)) else {
            return Ok(());
        };
        if end >= message.expires_at {
            let (account, expires_at) = (&message.account, message.expires_at);
            let detail = format!("the quiet hours of {account} end at {end}, and it would expire at {expires_at}");
            return Err(AcceptError::WouldExpire { detail });
        }
        (message.send_at, message.wait_reason) = (Some(end), Some(QUIET_HOURS));
        Ok(())
    }

    /// A limit gives it a later time, which may lie in quiet hours.
    pub(super) fn put_off(&self, message: &mut NewMessage, at: Option<Timestamp>) -> Result<(), AcceptError> {
        if message.send_at >= at {
            return Ok(());
        }
        (message.send_at, message.wait_reason) = (at, None);
        self.keep_quiet(message)
    }

    /// Why WeChat is not to be asked again for this person.
    pub(super) async fn suppressed(&self, message: &NewMessage) -> Result<Option<Suppression>, store::Error> {
        self.suppressions.check(&message.account, &message.touser, message.created_at).await
    }

    /// Its idempotency key came before: the store tells what became of that.
    pub(super) async fn is_repeat(&self, message: &NewMessage) -> Result<bool, store::Error> {
        match &message.idempotency {
            Some(key) => Ok(self.outbox.known(key).await?.is_some()),
            None => Ok(false),
        }
    }
}
