//! The end of a lease: a settlement in, one row changed, early receipts used up.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::fault::unavailable;
use super::lock_key::LockKey;
use super::receipts::{self, Kept};
use super::row::{self, Fields};
use super::sql::Sql;
use super::suppressions;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::message::Lease;
use crate::domain::settlement::{Next, Settlement};
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::rules::{CRASH, QUARANTINED, Told, doubt_after, reason};
use crate::store::told;
use crate::store::{Error, Settled, history};

pub(super) struct Settle {
    pub(super) lease: Lease,
    pub(super) settlement: Settlement,
    pub(super) now: Timestamp,
    /// It was lent to the task that accepted it: nobody on another node waits for it.
    pub(super) is_own: bool,
}

/// A row that a lease may end.
struct Held {
    /// `sending`, or where `rescue` put it.
    state: State,
    leased_at: Timestamp,
}

#[async_trait]
impl Command for Settle {
    type Answer = Settled;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::user(&self.lease.account, self.lease.touser.as_str())]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Settled, Error> {
        let lease = &self.lease;
        let Some(held) = self.held(unit).await? else { return self.standing_now(unit).await };
        let doubt = doubt_after(&self.settlement.next, lease, held.leased_at);
        let kept = self.receipt_for(unit, doubt).await?;
        let steps = self.steps(kept.as_ref());
        let (settled, told) = self.write(unit, kept.as_ref(), doubt, &steps).await?;
        unit.moved(&told, &lease.account, lease.lane, held.state, &steps)?;
        let told = Told::of(settled.state, settled.reason.as_deref(), &self.settlement.attempts);
        suppressions::heed(unit, &lease.account, lease.touser.as_str(), told, self.now).await?;
        if let Some(kept) = kept {
            receipts::use_up(unit, &lease.account, &kept, lease.message_id).await?;
        }
        reach(Point::SettleWritten);
        self.tell(unit, &settled);
        Ok(settled)
    }
}

impl Settle {
    /// The row, if the lease is current: held still, or taken back by `rescue` and lent to nobody since.
    async fn held(&self, unit: &Unit<'_>) -> Result<Option<Held>, Error> {
        let lease = &self.lease;
        let select = "SELECT id, state, leased_at FROM messages WHERE id = $1 AND lease_generation = $2
            AND (state = 'sending' OR (state IN ('queued', 'unknown') AND state_reason IN ($3, $4))) FOR UPDATE";
        let row = unit.row(select, &[&lease.message_id, &lease.generation, &CRASH, &QUARANTINED]).await?;
        let Some(row) = row else { return Ok(None) };
        let fields = Fields::new(&row, "messages", "id");
        Ok(Some(Held {
            state: fields.parsed("state", State::parse)?,
            leased_at: fields.get::<Option<Timestamp>>("leased_at")?.unwrap_or(lease.created_at),
        }))
    }

    /// The receipt that came before the answer was written. One with our own `msgid` always goes first; without one, and
    /// after a repeat, the first attempt's `msgid` may be meant.
    async fn receipt_for(&self, unit: &Unit<'_>, doubt: Option<Timestamp>) -> Result<Option<Kept>, Error> {
        let (lease, next) = (&self.lease, &self.settlement.next);
        if let Next::Sent { msgid: Some(msgid) } = next
            && let Some(kept) = receipts::waiting_for(unit, lease, msgid).await?
        {
            return Ok(Some(kept));
        }
        match (next, doubt) {
            (Next::Sent { .. } | Next::Unknown { .. } | Next::Queued { .. }, Some(since)) => {
                receipts::meant_for(unit, &lease.account, lease.touser.as_str(), lease.message_id, since).await
            }
            _ => Ok(None),
        }
    }

    async fn standing_now(&self, unit: &Unit<'_>) -> Result<Settled, Error> {
        let id = self.lease.message_id;
        let select = "SELECT id, state, state_reason, msgid FROM messages WHERE id = $1";
        match unit.row(select, &[&id]).await? {
            Some(row) => read_settled(&row, false),
            None => Err(Error::Corrupt { table: "messages", column: "id", row: id.to_string() }),
        }
    }

    /// What the history is told: where the lease leads, and where a receipt that came before leads from there.
    fn steps(&self, kept: Option<&Kept>) -> Vec<HistoryEntry> {
        let (next, at) = (&self.settlement.next, self.now);
        let first = HistoryEntry { state: next.state(), at, reason: reason(next).map(str::to_owned) };
        let second =
            kept.map(|Kept { verdict, .. }| HistoryEntry { state: verdict.state, at, reason: verdict.reason.clone() });
        std::iter::once(first).chain(second).collect()
    }

    async fn write(
        &self,
        unit: &Unit<'_>,
        kept: Option<&Kept>,
        doubt: Option<Timestamp>,
        steps: &[HistoryEntry],
    ) -> Result<(Settled, told::Told), Error> {
        let next = &self.settlement.next;
        let (msgid, due_at, tries) = match next {
            Next::Sent { msgid } => (msgid.as_deref(), None, None),
            Next::Queued { due_at, tries, .. } => (None, Some(*due_at), Some(i64::from(*tries))),
            Next::Scheduled { due_at, .. } => (None, Some(*due_at), None),
            _ => (None, None, None),
        };
        let HistoryEntry { state, at, reason } =
            steps.last().ok_or_else(|| unavailable("a settlement without a step"))?;
        let lines = history::lines(steps)?;
        let msgid = kept.map(|kept| kept.msgid.as_str()).or(msgid);
        let attempts = history::lines(&self.settlement.attempts)?;
        let update = format!(
            "UPDATE messages SET state = $2, state_reason = $3, msgid = coalesce($4, msgid),
                due_at = coalesce($5, due_at), tries = coalesce($6, tries), doubtful_since = $7, updated_at = $8,
                attempts = attempts || $9, history = history || $10,
                busy_since = coalesce(busy_since, $11)
             WHERE id = $1 RETURNING state, state_reason, {}",
            told::COLUMNS
        );
        let (id, busy) = (&self.lease.message_id, self.settlement.busy_since());
        let row = unit
            .row(&update, &[id, state, reason, &msgid, &due_at, &tries, &doubt, at, &attempts, &lines, &busy])
            .await?;
        let row = row.ok_or_else(|| unavailable("the row of a lease is gone"))?;
        Ok((read_settled(&row, true)?, row::told(&row)))
    }

    /// Whom it may concern on other nodes.
    fn tell(&self, unit: &Unit<'_>, settled: &Settled) {
        match &self.settlement.next {
            Next::Queued { due_at, .. } if settled.state == State::Queued && *due_at <= self.now => unit.is_due(),
            Next::Queued { .. } if settled.state == State::Queued => {}
            _ if self.is_own => {}
            _ => unit.ended(self.lease.message_id),
        }
    }
}

fn read_settled(row: &Row, applied: bool) -> Result<Settled, Error> {
    let fields = Fields::new(row, "messages", "id");
    Ok(Settled {
        applied,
        state: fields.parsed("state", State::parse)?,
        reason: fields.get("state_reason")?,
        msgid: fields.get("msgid")?,
    })
}
