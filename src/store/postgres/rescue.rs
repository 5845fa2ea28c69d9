//! Repairs of the queue: leases whose holder died, messages whose time is over. Every node does them; a row that another has
//! in hand is left to it.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::Postgres;
use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::receipts;
use super::row::Fields;
use super::sql::Sql;
use super::standing::{self, Standing};
use crate::domain::clock::{JUMP, Timestamp};
use crate::domain::ids::MessageId;
use crate::domain::state::State;
use crate::failpoint::{Point, reach};
use crate::store::queue::CRASHES;
use crate::store::{Error, Rescued, bounds, rules};

/// Rows that one transaction takes back: it holds the lock of each row's user.
const CHUNK: usize = 100;

/// `$1` our boot, `$2` now, `$3` boots that are dead, `$5` the latest date that is right by our clock. A boot without a row in `nodes` has left in good order, or was dead for
/// long. What a living node holds is its own business, also when the lease has ended.
const ORPHANED: &str =
    "state = 'sending' AND (lease_boot IS NULL OR (lease_boot = $1 AND (lease_until < $2 OR leased_at > $5))
    OR (lease_boot <> $1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE boot = lease_boot AND boot <> ALL ($3::text[]))))";

/// When and how what is found is taken back.
#[derive(Clone)]
struct Terms {
    boot: String,
    dead: Vec<String>,
    now: Timestamp,
    window: Duration,
}

impl Postgres {
    pub(super) async fn take_back(
        &self,
        now: Timestamp,
        window: Duration,
        limit: usize,
        running: &[MessageId],
    ) -> Result<Rescued, Error> {
        let terms = Terms { boot: self.boot.clone(), dead: self.dead(), now, window };
        let mut passed_by: Vec<String> = running.iter().map(MessageId::to_string).collect();
        let (mut rescued, mut left) = (Rescued::default(), limit);
        while left > 0 {
            let orphans = self.orphans(&terms, &passed_by, left.min(CHUNK)).await?;
            let found = orphans.len();
            passed_by.extend(orphans.iter().map(|orphan| orphan.id.clone()));
            if found > 0 {
                let taken = self.writer.run(TakeBack { terms: terms.clone(), orphans }).await?;
                rescued.queued.extend(taken.queued);
                rescued.unknown.extend(taken.unknown);
                rescued.quarantined.extend(taken.quarantined);
                rescued.settled.extend(taken.settled);
            }
            left = if found < CHUNK { 0 } else { left - found };
        }
        Ok(rescued)
    }

    async fn orphans(&self, terms: &Terms, but: &[String], limit: usize) -> Result<Vec<Orphan>, Error> {
        let select = format!(
            "SELECT id, account, touser FROM messages WHERE {ORPHANED} AND id <> ALL ($4::text[])
             ORDER BY lease_until LIMIT $6"
        );
        let values: super::sql::Values<'_> =
            &[&terms.boot, &terms.now, &terms.dead, &but, &terms.now.plus(JUMP), &bounds::limit(limit)];
        let rows = self.readers.quick().await?.rows(&select, values).await?;
        let orphans = rows.iter().map(|row| {
            let fields = Fields::new(row, "messages", "id");
            Ok(Orphan { id: fields.get("id")?, user: LockKey::user(fields.get("account")?, fields.get("touser")?) })
        });
        orphans.collect()
    }
}

/// A row that nobody holds, as it was a moment ago.
struct Orphan {
    id: String,
    user: LockKey,
}

struct TakeBack {
    terms: Terms,
    orphans: Vec<Orphan>,
}

#[async_trait]
impl Command for TakeBack {
    type Answer = Rescued;

    fn keys(&self) -> Vec<LockKey> {
        self.orphans.iter().map(|orphan| orphan.user).collect()
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<Rescued, Error> {
        let Terms { boot, dead, now, .. } = &self.terms;
        let select = format!(
            "SELECT {} FROM messages WHERE {ORPHANED} AND id = ANY ($4::text[]) FOR UPDATE SKIP LOCKED",
            standing::COLUMNS
        );
        let ids: Vec<_> = self.orphans.iter().map(|orphan| &orphan.id).collect();
        let (found, broken) =
            standing::sort_out(&unit.rows(&select, &[boot, now, dead, &ids, &now.plus(JUMP)]).await?)?;
        let taken = try_join_all(found.into_iter().map(|message| self.take_back(unit, message))).await?;
        let mut rescued = Rescued::default();
        for (message, reason) in taken {
            match message.state {
                State::Queued => rescued.queued.push(message.id),
                State::Unknown if reason == rules::QUARANTINED => rescued.quarantined.push(message.id),
                State::Unknown => rescued.unknown.push(message.id),
                state => rescued.settled.push((message.id, state)),
            }
        }
        for row in broken {
            row.set_aside(unit, *now).await?;
        }
        if !rescued.queued.is_empty() {
            unit.is_due();
        }
        Ok(rescued)
    }
}

impl TakeBack {
    /// → the reason that it was given.
    async fn take_back(&self, unit: &Unit<'_>, mut message: Standing) -> Result<(Standing, &'static str), Error> {
        let Terms { now, window, .. } = self.terms;
        let doubtful_since = message.doubtful_since.or(message.leased_at).unwrap_or(now);
        let to = rules::after_crash(message.on_unknown, doubtful_since, now, window);
        let update = "UPDATE messages SET doubtful_since = $2, due_at = $3 WHERE id = $1";
        unit.execute(update, &[&message.id, &doubtful_since, &now]).await?;
        let (to, reason) = match to {
            State::Queued if crashes_before(unit, message.id).await? + 1 >= CRASHES => {
                (State::Unknown, rules::QUARANTINED)
            }
            to => (to, rules::CRASH),
        };
        message.change(unit, to, Some(reason), now).await?;
        reach(Point::RescueWritten);
        // Its receipt may have come while it was sending.
        let kept = receipts::meant_for(unit, &message.account, &message.touser, message.id, doubtful_since).await?;
        if let Some(kept) = kept {
            receipts::deliver(unit, &mut message, &kept.msgid, &kept.verdict, now).await?;
            receipts::use_up(unit, &message.account, &kept, message.id).await?;
        }
        Ok((message, reason))
    }
}

/// How often in a row, up to now, a process died with it.
async fn crashes_before(unit: &Unit<'_>, id: MessageId) -> Result<usize, Error> {
    let row = unit.row("SELECT id, history FROM messages WHERE id = $1", &[&id]).await?;
    let history = row.map(|row| Fields::new(&row, "messages", "id").get::<String>("history")).transpose()?;
    Ok(rules::crashes_in_a_row(&history.unwrap_or_default()))
}

pub(super) struct Expire {
    pub(super) now: Timestamp,
    pub(super) limit: usize,
}

#[async_trait]
impl Command for Expire {
    type Answer = Vec<(MessageId, State)>;

    async fn run(&self, unit: &Unit<'_>) -> Result<Vec<(MessageId, State)>, Error> {
        let select = format!(
            "SELECT {} FROM messages WHERE state IN ('scheduled', 'queued') AND expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED",
            standing::COLUMNS
        );
        let rows = unit.rows(&select, &[&self.now, &bounds::limit(self.limit)]).await?;
        let (found, broken) = standing::sort_out(&rows)?;
        let ended = found.into_iter().map(|mut message| async move {
            let to = rules::after_expiry(message.doubtful_since);
            message.change(unit, to, Some(rules::EXPIRED), self.now).await?;
            reach(Point::ExpireWritten);
            Ok::<_, Error>((message.id, to))
        });
        let expired = try_join_all(ended).await?;
        for row in broken {
            row.set_aside(unit, self.now).await?;
        }
        Ok(expired)
    }
}
