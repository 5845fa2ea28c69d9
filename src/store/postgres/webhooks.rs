//! `Webhooks`: those made at run time, how every one stands, and which node runs its lane.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::events::SETTLED;
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{Postgres, audit};
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

/// Cursors of another server's counting, after a dump was restored here: they go to just before what they have not seen, by number.
/// Runs before the events are rebased.
pub(super) const REBASE: &str = "
    UPDATE webhook_lanes SET horizon = 0, seq = coalesce(
        (SELECT min(events.seq) - 1 FROM events
         WHERE (events.horizon, events.seq) > (webhook_lanes.horizon, webhook_lanes.seq)), seq)
    WHERE horizon <> 0 AND (horizon >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint OR EXISTS (
        SELECT 1 FROM events WHERE horizon >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint))";

/// A boot that is `$1`, and whoever is dead (`$2`) or has signed off.
const IS_FREE: &str = "(boot IS NULL OR boot = $1 OR boot = ANY ($2::text[])
    OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.boot = webhook_lanes.boot))";

#[async_trait]
impl Webhooks for Postgres {
    async fn add(&self, webhook: StoredWebhook, act: Act) -> Result<(), Error> {
        self.writer.run(Add { webhook, act, sealer: self.sealer.clone() }).await
    }

    async fn list(&self) -> Result<Vec<StoredWebhook>, Error> {
        let rows = self.readers.quick().await?.rows(&format!("{SELECT} ORDER BY id"), &[]).await?;
        rows.iter().map(|row| read(row, &self.sealer)).collect()
    }

    async fn change(&self, webhook: StoredWebhook, act: Act) -> Result<bool, Error> {
        self.writer.run(Change { webhook, act, sealer: self.sealer.clone() }).await
    }

    async fn remove(&self, webhook: &str, now: Timestamp, act: Act) -> Result<Option<u64>, Error> {
        self.writer.run(Remove { webhook: webhook.to_owned(), now, act }).await
    }

    async fn version(&self) -> Result<i64, Error> {
        let select = "SELECT name, value FROM totals WHERE name = 'webhooks' AND boot = ''";
        let row = self.readers.quick().await?.row(select, &[]).await?;
        let row = row.ok_or_else(|| unavailable("a row of totals is missing"))?;
        Fields::new(&row, "totals", "name").get("value")
    }

    async fn enroll(&self, webhooks: Vec<String>, now: Timestamp) -> Result<(), Error> {
        let known = self.standings().await?;
        let new: Vec<_> = webhooks.into_iter().filter(|key| known.iter().all(|known| known.webhook != *key)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.writer.run(Enroll { webhooks: new, now }).await
    }

    async fn standings(&self) -> Result<Vec<Standing>, Error> {
        let select = "SELECT webhook, horizon, seq, disabled_reason, disabled_at, created_at
             FROM webhook_lanes ORDER BY webhook";
        let rows = self.readers.quick().await?.rows(select, &[]).await?;
        rows.iter().map(standing).collect()
    }

    async fn disable(&self, webhook: &str, reason: DisabledReason, now: Timestamp, act: Act) -> Result<bool, Error> {
        self.writer.run(Disable { webhook: webhook.to_owned(), reason, now, act }).await
    }

    async fn enable(&self, webhook: &str, skip: bool, now: Timestamp, act: Act) -> Result<bool, Error> {
        self.writer.run(Enable { webhook: webhook.to_owned(), skip, now, act }).await
    }

    /// Looks first: every node asks once a second, and there is seldom anything to take.
    async fn take(&self, webhooks: Vec<String>) -> Result<Vec<String>, Error> {
        let dead = self.dead();
        let select = format!("SELECT webhook, boot FROM webhook_lanes WHERE webhook = ANY ($3::text[]) AND {IS_FREE}");
        let rows = self.readers.quick().await?.rows(&select, &[&self.boot, &dead, &webhooks]).await?;
        let (mut ours, mut free) = (Vec::new(), Vec::new());
        for row in &rows {
            let fields = Fields::new(row, "webhook_lanes", "webhook");
            let boot: Option<String> = fields.get("boot")?;
            let kept = if boot.as_ref() == Some(&self.boot) { &mut ours } else { &mut free };
            kept.push(fields.get("webhook")?);
        }
        if !free.is_empty() {
            ours.extend(self.writer.run(Take { webhooks: free, boot: self.boot.clone(), dead }).await?);
        }
        Ok(ours)
    }

    async fn give_back(&self, webhooks: Vec<String>) -> Result<(), Error> {
        self.writer.run(GiveBack { webhooks, boot: self.boot.clone() }).await
    }
}

struct Add {
    webhook: StoredWebhook,
    act: Act,
    sealer: Sealer,
}

#[async_trait]
impl Command for Add {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let StoredWebhook { id, url, secrets, options, revision, created_at, updated_at, .. } = &self.webhook;
        let (secret, previous) = webhooks::seal(&self.sealer, &id.to_string(), secrets.as_ref())?;
        let insert =
            "INSERT INTO webhooks (id, url, secret, previous_secret, options, revision, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let options = json(options)?;
        unit.execute(insert, &[id, &url.as_str(), &secret, &previous, &options, revision, created_at, updated_at])
            .await?;
        enroll(unit, &[id.to_string()], *created_at).await?;
        changed(unit, Some(&self.act)).await
    }
}

struct Change {
    webhook: StoredWebhook,
    act: Act,
    sealer: Sealer,
}

#[async_trait]
impl Command for Change {
    type Answer = bool;

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let StoredWebhook { id, url, secrets, options, revision, updated_at, .. } = &self.webhook;
        let (secret, previous) = webhooks::seal(&self.sealer, &id.to_string(), secrets.as_ref())?;
        let update = "UPDATE webhooks SET url = $2, secret = coalesce($3, secret),
                previous_secret = CASE WHEN $3 IS NULL THEN previous_secret ELSE $4 END, options = $5,
                revision = $6::bigint, updated_at = $7
             WHERE id = $1 AND revision = $6::bigint - 1";
        let options = json(options)?;
        let touched =
            unit.execute(update, &[id, &url.as_str(), &secret, &previous, &options, revision, updated_at]).await?;
        if touched == 1 {
            changed(unit, Some(&self.act)).await?;
        }
        Ok(touched == 1)
    }
}

struct Remove {
    webhook: String,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Remove {
    type Answer = Option<u64>;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Option<u64>, Error> {
        if unit.execute("DELETE FROM webhooks WHERE id = $1", &[&self.webhook]).await? == 0 {
            return Ok(None);
        }
        unit.execute("DELETE FROM webhook_lanes WHERE webhook = $1", &[&self.webhook]).await?;
        let canceled = cancel_pending(unit, &self.webhook, self.now).await?;
        changed(unit, Some(&self.act)).await?;
        Ok(Some(canceled))
    }
}

struct Enroll {
    webhooks: Vec<String>,
    now: Timestamp,
}

#[async_trait]
impl Command for Enroll {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        enroll(unit, &self.webhooks, self.now).await
    }
}

/// Behind everything that can be read now.
async fn enroll(unit: &Unit<'_>, webhooks: &[String], now: Timestamp) -> Result<(), Error> {
    let insert = format!(
        "INSERT INTO webhook_lanes (webhook, horizon, seq, created_at)
         SELECT key, coalesce(newest.horizon, 0), coalesce(newest.seq, 0), $2
         FROM unnest($1::text[]) AS key LEFT JOIN
            (SELECT horizon, seq FROM events WHERE {SETTLED} ORDER BY horizon DESC, seq DESC LIMIT 1) AS newest ON true
         ON CONFLICT DO NOTHING"
    );
    unit.execute(&insert, &[&webhooks, &now]).await?;
    Ok(())
}

struct Disable {
    webhook: String,
    reason: DisabledReason,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Disable {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let is_changed = disable(unit, &self.webhook, self.reason, self.now).await?;
        if is_changed {
            audit::write(unit, &self.act).await?;
        }
        Ok(is_changed)
    }
}

/// → whether it was enabled. Of a webhook without a standing nothing can be said.
pub(super) async fn disable(
    unit: &Unit<'_>,
    webhook: &str,
    reason: DisabledReason,
    now: Timestamp,
) -> Result<bool, Error> {
    let update = "UPDATE webhook_lanes SET disabled_reason = $2, disabled_at = $3
         WHERE webhook = $1 AND disabled_reason IS NULL";
    let is_changed = unit.execute(update, &[&webhook, &reason.as_str(), &now]).await? == 1;
    if is_changed {
        changed(unit, None).await?;
    }
    Ok(is_changed)
}

struct Enable {
    webhook: String,
    skip: bool,
    now: Timestamp,
    act: Act,
}

#[async_trait]
impl Command for Enable {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::webhook(&self.webhook)]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let update = "UPDATE webhook_lanes SET disabled_reason = NULL, disabled_at = NULL
             WHERE webhook = $1 AND disabled_reason IS NOT NULL";
        if unit.execute(update, &[&self.webhook]).await? == 0 {
            return Ok(false);
        }
        if self.skip {
            let newest = format!(
                "UPDATE webhook_lanes SET (horizon, seq) =
                    (SELECT horizon, seq FROM events WHERE {SETTLED} ORDER BY horizon DESC, seq DESC LIMIT 1)
                 WHERE webhook = $1 AND EXISTS (SELECT 1 FROM events WHERE {SETTLED})"
            );
            unit.execute(&newest, &[&self.webhook]).await?;
            cancel_pending(unit, &self.webhook, self.now).await?;
        }
        changed(unit, Some(&self.act)).await?;
        Ok(true)
    }
}

struct Take {
    webhooks: Vec<String>,
    boot: String,
    dead: Vec<String>,
}

#[async_trait]
impl Command for Take {
    type Answer = Vec<String>;

    async fn run(&self, unit: &Unit<'_>) -> Result<Vec<String>, Error> {
        let update = format!(
            "UPDATE webhook_lanes SET boot = $1 WHERE webhook IN
                (SELECT webhook FROM webhook_lanes WHERE webhook = ANY ($3::text[]) AND {IS_FREE}
                 ORDER BY webhook FOR UPDATE SKIP LOCKED)
             RETURNING webhook"
        );
        let rows = unit.rows(&update, &[&self.boot, &self.dead, &self.webhooks]).await?;
        rows.iter().map(|row| Fields::new(row, "webhook_lanes", "webhook").get("webhook")).collect()
    }
}

struct GiveBack {
    webhooks: Vec<String>,
    boot: String,
}

#[async_trait]
impl Command for GiveBack {
    type Answer = ();

    async fn run(&self, unit: &Unit<'_>) -> Result<(), Error> {
        let update = "UPDATE webhook_lanes SET boot = NULL WHERE webhook = ANY ($1::text[]) AND boot = $2";
        unit.execute(update, &[&self.webhooks, &self.boot]).await?;
        Ok(())
    }
}

async fn cancel_pending(unit: &Unit<'_>, webhook: &str, now: Timestamp) -> Result<u64, Error> {
    let update = "UPDATE deliveries SET status = 'canceled', next_at = NULL, updated_at = $2
         WHERE webhook = $1 AND status = 'pending'";
    unit.execute(update, &[&webhook, &now]).await
}

/// Written down; pollers see it, on every node.
async fn changed(unit: &Unit<'_>, act: Option<&Act>) -> Result<(), Error> {
    if let Some(act) = act {
        audit::write(unit, act).await?;
    }
    unit.execute("UPDATE totals SET value = value + 1 WHERE name = 'webhooks' AND boot = ''", &[]).await?;
    Ok(())
}

fn read(row: &Row, sealer: &Sealer) -> Result<StoredWebhook, Error> {
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

fn standing(row: &Row) -> Result<Standing, Error> {
    let fields = Fields::new(row, "webhook_lanes", "webhook");
    let reason = fields.maybe("disabled_reason", DisabledReason::parse)?;
    let since: Option<Timestamp> = fields.get("disabled_at")?;
    Ok(Standing {
        webhook: fields.get("webhook")?,
        disabled: reason.zip(since).map(|(reason, since)| Disabled { reason, since }),
        cursor: Position { horizon: fields.get("horizon")?, seq: fields.get("seq")? },
        created_at: fields.get("created_at")?,
    })
}

fn json(options: &WebhookOptions) -> Result<String, Error> {
    serde_json::to_string(options).map_err(|error| unavailable(format!("a webhook cannot be written: {error}")))
}
