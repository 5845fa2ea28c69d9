//! `Messages`: reading back, and changes by hand.

use async_trait::async_trait;
use rusqlite::Connection;

use super::readers::PATIENCE;
use super::standing::{self, Broken, Standing};
use super::writer::Unit;
use super::{Sqlite, audit, forget, lists, row};
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
impl Messages for Sqlite {
    async fn look_up(&self, id: MessageId) -> Result<Option<Message>, Error> {
        self.readers.read(move |conn| look_up(conn, id)).await
    }

    async fn list(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<Message>, Error> {
        let waiting = self.figures.waiting();
        self.readers.read_within(PATIENCE, move |conn| lists::list(conn, &filter, &page, waiting)).await
    }

    async fn cancel(&self, id: MessageId, now: Timestamp) -> Result<Option<Changed>, Error> {
        self.writer.run(move |unit| by_hand(unit, id, now, canceled)).await
    }

    async fn resolve(&self, id: MessageId, state: State, now: Timestamp, act: Act) -> Result<Option<Changed>, Error> {
        let resolved = move |message: &Standing| {
            let sensible = matches!(state, State::Sent | State::Failed);
            (sensible && message.state == State::Unknown).then_some((state, Some(OPERATOR)))
        };
        self.writer
            .run(move |unit| {
                let changed = match broken(unit, id)? {
                    Some(broken) if state == State::Failed => end_broken(unit, &broken, now).map(Some),
                    _ => by_hand(unit, id, now, resolved),
                }?;
                if changed.is_some_and(|changed| changed.applied) {
                    audit::write(unit, &act)?;
                }
                Ok(changed)
            })
            .await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        self.writer.run(move |unit| forget::messages(unit, before, limit)).await
    }
}

/// A state and why.
pub(super) type Target = (State, Option<&'static str>);

pub(super) fn canceled(message: &Standing) -> Option<Target> {
    match (message.state, message.doubtful_since) {
        (State::Scheduled | State::Queued, None) => Some((State::Canceled, None)),
        (State::Scheduled | State::Queued, Some(_)) => Some((State::Unknown, Some("canceled"))),
        _ => None,
    }
}

/// Moves the message where `rule` says; `None` from it means: it stays.
fn by_hand(
    unit: &mut Unit<'_>,
    id: MessageId,
    now: Timestamp,
    rule: impl Fn(&Standing) -> Option<Target>,
) -> Result<Option<Changed>, Error> {
    let Some(mut message) = standing_of(unit, id)? else { return Ok(None) };
    let target = rule(&message);
    if let Some((state, reason)) = target {
        message.change(unit, state, reason, now)?;
        reach(Point::ChangeWritten);
    }
    Ok(Some(Changed { applied: target.is_some(), state: message.state }))
}

/// The row, when it cannot be read.
fn broken(unit: &Unit<'_>, id: MessageId) -> Result<Option<Broken>, Error> {
    let sql = format!("SELECT {} FROM messages WHERE id = ?1", standing::COLUMNS);
    let mut select = unit.tx.prepare_cached(&sql)?;
    let (_, mut broken) = standing::sort_out(&mut select.query([id])?)?;
    Ok(broken.pop())
}

fn end_broken(unit: &mut Unit<'_>, message: &Broken, now: Timestamp) -> Result<Changed, Error> {
    let applied = message.state == State::Unknown;
    if applied {
        message.put(unit, State::Failed, OPERATOR, now)?;
    }
    Ok(Changed { applied, state: if applied { State::Failed } else { message.state } })
}

fn standing_of(unit: &Unit<'_>, id: MessageId) -> Result<Option<Standing>, Error> {
    let sql = format!("SELECT {} FROM messages WHERE id = ?1", standing::COLUMNS);
    let mut select = unit.tx.prepare_cached(&sql)?;
    let mut rows = select.query([id])?;
    rows.next()?.map(Standing::read).transpose()
}

fn look_up(conn: &Connection, id: MessageId) -> Result<Option<Message>, Error> {
    let sql = format!("SELECT {} FROM messages WHERE id = ?1", row::MESSAGE_COLUMNS);
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query([id])?;
    rows.next()?.map(row::message).transpose()
}
