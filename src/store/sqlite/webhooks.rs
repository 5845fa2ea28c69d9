//! `Webhooks`: those made at run time, and how every one stands.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::fault::unavailable;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::event::Position;
use crate::domain::ids::WebhookId;
use crate::domain::seal::Sealer;
use crate::domain::webhook::url::WebhookUrl;
use crate::domain::webhook::{Disabled, DisabledReason, Standing, StoredWebhook, WebhookOptions};
use crate::store::webhooks;
use crate::store::{Error, Webhooks};

const SELECT: &str = "SELECT id, url, secret, previous_secret, options, revision, created_at, updated_at FROM webhooks";

/// A standing begins behind everything that is kept.
const ENROLL: &str = "INSERT INTO webhook_lanes (webhook, horizon, seq, created_at)
     VALUES (?1, 0, (SELECT ifnull(max(seq), 0) FROM events), ?2) ON CONFLICT DO NOTHING";

#[async_trait]
impl Webhooks for Sqlite {
    async fn add(&self, webhook: StoredWebhook, act: Act) -> Result<(), Error> {
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| add(unit, &sealer, &webhook, &act)).await
    }

    async fn list(&self) -> Result<Vec<StoredWebhook>, Error> {
        let sealer = self.sealer.clone();
        self.readers.read(move |conn| list(conn, &sealer)).await
    }

    async fn change(&self, webhook: StoredWebhook, act: Act) -> Result<bool, Error> {
        let sealer = self.sealer.clone();
        self.writer.run(move |unit| change(unit, &sealer, &webhook, &act)).await
    }

    async fn remove(&self, webhook: &str, now: Timestamp, act: Act) -> Result<Option<u64>, Error> {
        let webhook = webhook.to_owned();
        self.writer.run(move |unit| remove(unit, &webhook, now, &act)).await
    }

    async fn version(&self) -> Result<i64, Error> {
        self.readers
            .read(|conn| {
                let mut select = conn.prepare_cached("SELECT value FROM totals WHERE name = 'webhooks'")?;
                Ok(select.query_row([], |row| row.get(0))?)
            })
            .await
    }

    async fn enroll(&self, webhooks: Vec<String>, now: Timestamp) -> Result<(), Error> {
        let known = self.standings().await?;
        let new: Vec<_> = webhooks.into_iter().filter(|key| known.iter().all(|known| known.webhook != *key)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let enroll = move |unit: &mut Unit<'_>| {
            for webhook in &new {
                unit.tx.prepare_cached(ENROLL)?.execute(params![webhook, now])?;
            }
            Ok(())
        };
        self.writer.run(enroll).await
    }

    async fn standings(&self) -> Result<Vec<Standing>, Error> {
        self.readers.read(standings).await
    }

    async fn disable(&self, webhook: &str, reason: DisabledReason, now: Timestamp, act: Act) -> Result<bool, Error> {
        let webhook = webhook.to_owned();
        let disable = move |unit: &mut Unit<'_>| {
            let is_changed = disable(unit, &webhook, reason, now)?;
            if is_changed {
                audit::write(unit, &act)?;
            }
            Ok(is_changed)
        };
        self.writer.run(disable).await
    }

    async fn enable(&self, webhook: &str, skip: bool, now: Timestamp, act: Act) -> Result<bool, Error> {
        let webhook = webhook.to_owned();
        self.writer.run(move |unit| enable(unit, &webhook, skip, now, &act)).await
    }

    /// One process serves a file.
    async fn take(&self, webhooks: Vec<String>) -> Result<Vec<String>, Error> {
        Ok(webhooks)
    }

    async fn give_back(&self, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }
}

fn add(unit: &Unit<'_>, sealer: &Sealer, webhook: &StoredWebhook, act: &Act) -> Result<(), Error> {
    let StoredWebhook { id, url, secrets, options, revision, created_at, updated_at, .. } = webhook;
    let (secret, previous) = webhooks::seal(sealer, &id.to_string(), secrets.as_ref())?;
    unit.tx
        .prepare_cached(
            "INSERT INTO webhooks (id, url, secret, previous_secret, options, revision, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![id, url.as_str(), secret, previous, json(options)?, revision, created_at, updated_at])?;
    unit.tx.prepare_cached(ENROLL)?.execute(params![id, created_at])?;
    changed(unit, Some(act))
}

fn change(unit: &Unit<'_>, sealer: &Sealer, webhook: &StoredWebhook, act: &Act) -> Result<bool, Error> {
    let StoredWebhook { id, url, secrets, options, revision, updated_at, .. } = webhook;
    let (secret, previous) = webhooks::seal(sealer, &id.to_string(), secrets.as_ref())?;
    let touched = unit
        .tx
        .prepare_cached(
            "UPDATE webhooks SET url = ?2, secret = ifnull(?3, secret),
                previous_secret = CASE WHEN ?3 IS NULL THEN previous_secret ELSE ?4 END, options = ?5, revision = ?6, updated_at = ?7
             WHERE id = ?1 AND revision = ?6 - 1",
        )?
        .execute(params![id, url.as_str(), secret, previous, json(options)?, revision, updated_at])?;
    if touched == 1 {
        changed(unit, Some(act))?;
    }
    Ok(touched == 1)
}

fn remove(unit: &Unit<'_>, webhook: &str, now: Timestamp, act: &Act) -> Result<Option<u64>, Error> {
    if unit.tx.prepare_cached("DELETE FROM webhooks WHERE id = ?1")?.execute([webhook])? == 0 {
        return Ok(None);
    }
    unit.tx.prepare_cached("DELETE FROM webhook_lanes WHERE webhook = ?1")?.execute([webhook])?;
    let canceled = cancel_pending(unit, webhook, now)?;
    changed(unit, Some(act))?;
    Ok(Some(canceled))
}

/// → whether it was enabled. Of a webhook without a standing nothing can be said.
pub(super) fn disable(unit: &Unit<'_>, webhook: &str, reason: DisabledReason, now: Timestamp) -> Result<bool, Error> {
    let update = "UPDATE webhook_lanes SET disabled_reason = ?2, disabled_at = ?3
         WHERE webhook = ?1 AND disabled_reason IS NULL";
    let is_changed = unit.tx.prepare_cached(update)?.execute(params![webhook, reason.as_str(), now])? == 1;
    if is_changed {
        changed(unit, None)?;
    }
    Ok(is_changed)
}

fn enable(unit: &Unit<'_>, webhook: &str, skip: bool, now: Timestamp, act: &Act) -> Result<bool, Error> {
    let update = "UPDATE webhook_lanes SET disabled_reason = NULL, disabled_at = NULL
         WHERE webhook = ?1 AND disabled_reason IS NOT NULL";
    if unit.tx.prepare_cached(update)?.execute([webhook])? == 0 {
        return Ok(false);
    }
    if skip {
        let newest = "UPDATE webhook_lanes SET seq = (SELECT ifnull(max(seq), 0) FROM events) WHERE webhook = ?1";
        unit.tx.prepare_cached(newest)?.execute([webhook])?;
        cancel_pending(unit, webhook, now)?;
    }
    changed(unit, Some(act))?;
    Ok(true)
}

fn cancel_pending(unit: &Unit<'_>, webhook: &str, now: Timestamp) -> Result<u64, Error> {
    let update = "UPDATE deliveries SET status = 'canceled', next_at = NULL, updated_at = ?2
         WHERE webhook = ?1 AND status = 'pending'";
    let canceled = unit.tx.prepare_cached(update)?.execute(params![webhook, now])?;
    Ok(u64::try_from(canceled).unwrap_or(u64::MAX))
}

/// Written down; pollers see it, in every process.
fn changed(unit: &Unit<'_>, act: Option<&Act>) -> Result<(), Error> {
    if let Some(act) = act {
        audit::write(unit, act)?;
    }
    unit.tx.prepare_cached("UPDATE totals SET value = value + 1 WHERE name = 'webhooks'")?.execute([])?;
    Ok(())
}

fn list(conn: &Connection, sealer: &Sealer) -> Result<Vec<StoredWebhook>, Error> {
    let mut select = conn.prepare_cached(&format!("{SELECT} ORDER BY id"))?;
    let mut rows = select.query([])?;
    let mut webhooks = Vec::new();
    while let Some(row) = rows.next()? {
        webhooks.push(read(row, sealer)?);
    }
    Ok(webhooks)
}

fn read(row: &Row<'_>, sealer: &Sealer) -> Result<StoredWebhook, Error> {
    let fields = Fields::new(row, "webhooks", "id");
    let id = fields.parsed("id", WebhookId::parse)?;
    let (secret, previous): (String, Option<String>) = (fields.get("secret")?, fields.get("previous_secret")?);
    let secrets = webhooks::open(sealer, &id.to_string(), &secret, previous.as_deref());
    Ok(StoredWebhook {
        id,
        url: fields.parsed("url", |text| WebhookUrl::parse(text).ok())?,
        secrets,
        options: fields.parsed("options", |text| serde_json::from_str(text).ok())?,
        revision: fields.get("revision")?,
        created_at: fields.get("created_at")?,
        updated_at: fields.get("updated_at")?,
    })
}

fn standings(conn: &Connection) -> Result<Vec<Standing>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT webhook, horizon, seq, disabled_reason, disabled_at, created_at FROM webhook_lanes ORDER BY webhook",
    )?;
    let mut rows = select.query([])?;
    let mut standings = Vec::new();
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "webhook_lanes", "webhook");
        let reason = fields.maybe("disabled_reason", DisabledReason::parse)?;
        let since: Option<Timestamp> = fields.get("disabled_at")?;
        standings.push(Standing {
            webhook: fields.get("webhook")?,
            disabled: reason.zip(since).map(|(reason, since)| Disabled { reason, since }),
            cursor: Position { horizon: fields.get("horizon")?, seq: fields.get("seq")? },
            created_at: fields.get("created_at")?,
        });
    }
    Ok(standings)
}

fn json(options: &WebhookOptions) -> Result<String, Error> {
    serde_json::to_string(options).map_err(|error| unavailable(format!("a webhook cannot be written: {error}")))
}
