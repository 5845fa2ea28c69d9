//! `Messages`: reading back, and changes by hand.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::forget::ForgetMessages;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::standing::{self, Broken, Standing};
use super::{Postgres, audit, lists, row};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{Message, MessageFilter};
use crate::domain::page::{Page, PageRequest};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::messages::Changed;
use crate::store::{Error, Messages};

/// The reason of what a hand has settled.
const OPERATOR: &str = "operator";

#[async_trait]
impl Messages for Postgres {
    async fn look_up(&self, id: MessageId) -> Result<Option<Message>, Error> {
        let select = format!("SELECT {} FROM messages WHERE id = $1", row::MESSAGE_COLUMNS);
        let found = self.readers.quick().await?.row(&select, &[&id]).await?;
        found.as_ref().map(row::message).transpose()
    }

    async fn list(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<Message>, Error> {
        lists::list(&self.readers.slow().await?, &filter, &page).await
    }

    async fn cancel(&self, id: MessageId, now: Timestamp) -> Result<Option<Changed>, Error> {
        self.by_hand(id, now, Hand::Cancel, None).await
    }

    async fn resolve(&self, id: MessageId, state: State, now: Timestamp, act: Act) -> Result<Option<Changed>, Error> {
        self.by_hand(id, now, Hand::Resolve(state), Some(act)).await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(ForgetMessages { before, limit }).await
    }
}

impl Postgres {
    /// Whose message it is never changes, so it may be looked up before the lock is taken.
    async fn by_hand(
        &self,
        id: MessageId,
        now: Timestamp,
        hand: Hand,
        act: Option<Act>,
    ) -> Result<Option<Changed>, Error> {
        let select = "SELECT id, account, touser FROM messages WHERE id = $1";
        let Some(found) = self.readers.quick().await?.row(select, &[&id]).await? else { return Ok(None) };
        let fields = Fields::new(&found, "messages", "id");
        let user = LockKey::user(fields.get("account")?, fields.get("touser")?);
        self.writer.run(ByHand { id, user, now, hand, act }).await
    }
}

/// What is done by hand.
#[derive(Clone, Copy)]
pub(super) enum Hand {
    Cancel,
    Resolve(State),
}

/// A state and why.
pub(super) type Target = (State, Option<&'static str>);

impl Hand {
    /// Where the message goes; `None`: it stays.
    pub(super) fn target(self, message: &Standing) -> Option<Target> {
        match (self, message.state, message.doubtful_since) {
            (Self::Cancel, State::Scheduled | State::Queued, None) => Some((State::Canceled, None)),
            (Self::Cancel, State::Scheduled | State::Queued, Some(_)) => Some((State::Unknown, Some("canceled"))),
            (Self::Resolve(to @ (State::Sent | State::Failed)), State::Unknown, _) => Some((to, Some(OPERATOR))),
            _ => None,
        }
    }
}

struct ByHand {
    id: MessageId,
    user: LockKey,
    now: Timestamp,
    hand: Hand,
    act: Option<Act>,
}

#[async_trait]
impl Command for ByHand {
    type Answer = Option<Changed>;

    fn keys(&self) -> Vec<LockKey> {
        vec![self.user]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Option<Changed>, Error> {
        let select = format!("SELECT {} FROM messages WHERE id = $1 FOR UPDATE", standing::COLUMNS);
        let Some(row) = unit.row(&select, &[&self.id]).await? else { return Ok(None) };
        let changed = match Standing::read(&row) {
            Ok(message) => self.change(unit, message).await,
            Err(error) if matches!(self.hand, Hand::Resolve(State::Failed)) => {
                self.end(unit, &Broken::new(&row, error)?).await
            }
            Err(error) => Err(error),
        }?;
        if let (true, Some(act)) = (changed.applied, &self.act) {
            audit::write(unit, act).await?;
        }
        Ok(Some(changed))
    }
}

impl ByHand {
    async fn change(&self, unit: &Unit<'_>, mut message: Standing) -> Result<Changed, Error> {
        let target = self.hand.target(&message);
        if let Some((state, reason)) = target {
            message.change(unit, state, reason, self.now).await?;
            reach(Point::ChangeWritten);
        }
        Ok(Changed { applied: target.is_some(), state: message.state })
    }

    /// Of a row that cannot be read.
    async fn end(&self, unit: &Unit<'_>, message: &Broken) -> Result<Changed, Error> {
        let applied = message.state == State::Unknown;
        if applied {
            message.put(unit, State::Failed, OPERATOR, self.now).await?;
        }
        Ok(Changed { applied, state: if applied { State::Failed } else { message.state } })
    }
}
