//! What tries came to.

use rusqlite::{OptionalExtension, params};

use super::webhooks;
use super::writer::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::{DeliveryStatus, DisabledReason, Tried};
use crate::failpoint::{Point, reach};
use crate::store::deliveries::EVENT_GONE;
use crate::store::{Error, Settling};

pub(super) fn settle(unit: &mut Unit<'_>, settling: &Settling) -> Result<(), Error> {
    let Settling { webhook, tried, gone, now } = settling;
    for tried in tried {
        keep(unit, webhook, tried, *now)?;
    }
    if let Some(event) = gone
        && webhooks::disable(unit, webhook, DisabledReason::Gone, *now)?
    {
        unit.raise(event.clone());
    }
    reach(Point::DeliverySettleWritten);
    Ok(())
}

fn keep(unit: &Unit<'_>, webhook: &str, tried: &Tried, now: Timestamp) -> Result<(), Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE deliveries SET status = ?3, attempts = ?4, next_at = ?5, status_code = ?6, error = ?7, duration_ms = ?8,
            updated_at = ?9, first_tried_at = ifnull(first_tried_at, ?10)
         WHERE id = ?1 AND webhook = ?2 AND status = 'pending' AND attempts = ?4 - 1
         RETURNING message_id",
    )?;
    let status = tried.outcome.status();
    let duration = i64::try_from(tried.duration.as_millis()).unwrap_or(i64::MAX);
    let values = params![
        tried.id,
        webhook,
        status.as_str(),
        tried.attempt,
        tried.outcome.next_at(),
        tried.status_code,
        tried.error,
        duration,
        now,
        tried.at
    ];
    let message: Option<Option<String>> = update.query_row(values, |row| row.get(0)).optional()?;
    match message.flatten() {
        Some(message) if status != DeliveryStatus::Pending => release(unit, webhook, &message, now),
        _ => Ok(()),
    }
}

/// The next of this message is due now.
fn release(unit: &Unit<'_>, webhook: &str, message: &str, now: Timestamp) -> Result<(), Error> {
    unit.tx
        .prepare_cached(
            "UPDATE deliveries SET next_at = ?3 WHERE next_at IS NULL AND seq = (SELECT min(seq) FROM deliveries
                WHERE webhook = ?1 AND message_id = ?2 AND message_id IS NOT NULL AND status = 'pending')",
        )?
        .execute(params![webhook, message, now])?;
    Ok(())
}

/// Their events are not there: nothing can be sent.
pub(super) fn orphaned(unit: &Unit<'_>, webhook: &str, ids: &[DeliveryId], now: Timestamp) -> Result<(), Error> {
    let mut update = unit.tx.prepare_cached(
        "UPDATE deliveries SET status = 'dead', next_at = NULL, error = ?3, updated_at = ?2
         WHERE id = ?1 AND status = 'pending' RETURNING message_id",
    )?;
    for id in ids {
        let message: Option<Option<String>> =
            update.query_row(params![id, now, EVENT_GONE], |row| row.get(0)).optional()?;
        if let Some(message) = message.flatten() {
            release(unit, webhook, &message, now)?;
        }
    }
    Ok(())
}
