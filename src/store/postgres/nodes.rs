//! The nodes that serve this database: who lives, who is dead, who is to be told.
//!
//! A node that lives holds the advisory lock of its boot id on its presence connection and on its write connection; the server
//! lets go of it when they end, however the node died. Another node is dead when nobody holds its lock: at once when it bore our own name
//! (it is us, before a restart), otherwise when that stays so for a while, for it may be connecting again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_postgres::Client;

use super::lock_key::LockKey;
use crate::domain::ids::MessageId;
use crate::store::events::Bell;
use crate::store::{Change, Error};

pub(super) const DUE: &str = "wxgate_due";
pub(super) const ENDED: &str = "wxgate_ended";
pub(super) const TOLD: &str = "wxgate_told";
/// Between two notifications that events were kept: each makes commits of all nodes wait for one another.
const TELL_AGAIN: Duration = Duration::from_millis(100);
/// How long a node may be without its lock and not be dead.
const GRACE: Duration = Duration::from_secs(5);
/// Changes that may wait to be looked at. Whoever waits for one that is dropped waits a little longer.
const CHANGES: usize = 1024;
/// Ids in one notification: PostgreSQL takes less than 8000 bytes.
const IDS: usize = 200;

/// Channels and payloads.
pub(super) type News = Vec<(&'static str, String)>;

/// Who else is there, as far as we know.
pub(super) struct Nodes {
    boot: String,
    name: String,
    dead: Mutex<Vec<String>>,
    /// Without others nobody has to be told anything.
    has_others: AtomicBool,
    due: Notify,
    /// Rings when events were kept, here or elsewhere.
    pub(super) events: Bell,
    told_at: Mutex<Option<Instant>>,
    tell: mpsc::Sender<MessageId>,
    told: tokio::sync::Mutex<mpsc::Receiver<MessageId>>,
}

/// Those whose lock is not held, since when: as seen over one connection without a break.
#[derive(Default)]
pub(super) struct Missed(HashMap<String, Instant>);

impl Nodes {
    /// `name`: the same for the next process in our place.
    pub(super) fn new(boot: String, name: String) -> Self {
        let (tell, told) = mpsc::channel(CHANGES);
        Self {
            boot,
            name,
            dead: Mutex::default(),
            has_others: AtomicBool::new(false),
            due: Notify::new(),
            events: Bell::default(),
            told_at: Mutex::default(),
            tell,
            told: tokio::sync::Mutex::new(told),
        }
    }

    pub(super) fn boot(&self) -> &str {
        &self.boot
    }

    /// Boots whose leases nobody holds any more.
    pub(super) fn dead(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// What another node has done that may concern us.
    pub(super) async fn changed(&self) -> Change {
        let mut told = self.told.lock().await;
        tokio::select! {
            () = self.due.notified() => Change::Due,
            Some(id) = told.recv() => Change::Ended(id),
        }
    }

    /// What the others have to be told after a commit.
    pub(super) fn news(&self, is_due: bool, ended: &[MessageId], has_told: bool) -> News {
        if !self.has_others.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let due = is_due.then(|| (DUE, self.boot.clone()));
        let ended = ended.chunks(IDS).map(|ids| {
            let ids: Vec<_> = ids.iter().map(MessageId::to_string).collect();
            (ENDED, format!("{} {}", self.boot, ids.join(" ")))
        });
        let told = (has_told && self.is_time_to_tell()).then(|| (TOLD, self.boot.clone()));
        due.into_iter().chain(told).chain(ended).collect()
    }

    fn is_time_to_tell(&self) -> bool {
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = told_at.is_none_or(|at| at.elapsed() >= TELL_AGAIN);
        if is_time {
            *told_at = Some(Instant::now());
        }
        is_time
    }

    /// A notification has come.
    pub(super) fn hear(&self, channel: &str, payload: &str) {
        let mut words = payload.split(' ');
        if words.next() == Some(self.boot.as_str()) {
            return;
        }
        match channel {
            DUE => self.due.notify_one(),
            TOLD => self.events.ring(),
            ENDED => words.filter_map(MessageId::parse).for_each(|id| {
                // Full: nobody listens, or far too slowly.
                let _ = self.tell.try_send(id);
            }),
            _ => {}
        }
    }

    /// Something may have been missed.
    pub(super) fn wake(&self) {
        self.due.notify_one();
        self.events.ring();
    }

    /// This connection shows from now on that we live. Several of ours may do so at once.
    pub(super) async fn hold(&self, client: &Client) -> Result<(), Error> {
        client.execute("SELECT pg_advisory_lock_shared($1)", &[&LockKey::node(&self.boot)]).await?;
        Ok(())
    }

    /// Enters us, or says that we are still there. Dates are the database's.
    pub(super) async fn sign(&self, client: &Client) -> Result<(), Error> {
        let upsert = "INSERT INTO nodes (boot, name) VALUES ($1, $2) ON CONFLICT (boot) DO UPDATE SET seen_at = now()";
        client.execute(upsert, &[&self.boot, &self.name]).await?;
        Ok(())
    }

    /// Looks who else is there, and clears away the dead who hold nothing any more.
    pub(super) async fn look(&self, client: &Client, missed: &mut Missed) -> Result<(), Error> {
        let others = others(client, &self.boot).await?;
        missed.0.retain(|boot, _| others.iter().any(|other| other.boot == *boot && !other.is_alive));
        let mut dead = Vec::new();
        for other in others.iter().filter(|other| !other.is_alive) {
            let since = missed.0.entry(other.boot.clone()).or_insert_with(Instant::now);
            if other.name == self.name || since.elapsed() >= GRACE {
                dead.push(other.boot.clone());
            }
        }
        self.has_others.store(others.len() > dead.len(), Ordering::Relaxed);
        for boot in self.newly_dead(&dead) {
            tracing::info!(node = %boot, "a node is dead or was restarted: what it held is taken back");
        }
        if !dead.is_empty() {
            retire(
                client,
                &dead,
                "AND NOT EXISTS (SELECT 1 FROM messages WHERE state = 'sending' AND lease_boot = boot)",
            )
            .await?;
        }
        Ok(())
    }

    /// Leaves in good order: whatever we still hold is anybody's.
    pub(super) async fn leave(&self, client: &Client) -> Result<(), Error> {
        retire(client, std::slice::from_ref(&self.boot), "").await
    }

    fn newly_dead(&self, dead: &[String]) -> Vec<String> {
        let mut known = self.lock();
        let new = dead.iter().filter(|boot| !known.contains(boot)).cloned().collect();
        *known = dead.to_vec();
        new
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Other {
    boot: String,
    name: String,
    is_alive: bool,
}

/// How many other processes serve the database at this moment.
pub(super) async fn others_alive(client: &Client, boot: &str) -> Result<u64, Error> {
    let alive = others(client, boot).await?.into_iter().filter(|other| other.is_alive).count();
    Ok(u64::try_from(alive).unwrap_or(u64::MAX))
}

async fn others(client: &Client, boot: &str) -> Result<Vec<Other>, Error> {
    let rows = client.query("SELECT boot, name FROM nodes WHERE boot <> $1", &[&boot]).await?;
    let mut others = Vec::with_capacity(rows.len());
    for row in rows {
        others.push(Other { boot: row.try_get(0)?, name: row.try_get(1)?, is_alive: false });
    }
    let keys: Vec<_> = others.iter().map(|other| LockKey::node(&other.boot)).collect();
    // A key of 64 bits is shown in two halves.
    let held = "SELECT key FROM unnest($1::bigint[]) AS key WHERE EXISTS (
            SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (classid::bigint << 32) | objid::bigint = key)";
    let held: Vec<i64> =
        client.query(held, &[&keys]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    for (other, key) in others.iter_mut().zip(keys) {
        other.is_alive = held.contains(&key.value());
    }
    Ok(others)
}

/// Takes these boots out of `nodes` and keeps what they have counted. `but`: a condition on a row of `nodes`.
async fn retire(client: &Client, boots: &[String], but: &str) -> Result<(), Error> {
    // One statement, so that the sums never change. Rows in order: another node may be doing the same.
    let sql = format!(
        "WITH gone AS (DELETE FROM nodes WHERE boot = ANY ($1::text[]) {but} RETURNING boot),
         counted AS (DELETE FROM counts USING gone WHERE counts.boot = gone.boot RETURNING account, lane, state, count),
         summed AS (DELETE FROM totals USING gone WHERE totals.boot = gone.boot RETURNING name, value),
         folded AS (INSERT INTO counts (boot, account, lane, state, count)
            SELECT '', account, lane, state, sum(count) FROM counted GROUP BY account, lane, state ORDER BY 2, 3, 4
            ON CONFLICT (boot, account, lane, state) DO UPDATE SET count = counts.count + excluded.count)
         INSERT INTO totals (boot, name, value)
            SELECT '', name, sum(value) FROM summed WHERE name = 'accepted' GROUP BY name
            ON CONFLICT (boot, name) DO UPDATE SET value = totals.value + excluded.value"
    );
    client.execute(&sql, &[&boots]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    #[tokio::test]
    async fn a_node_hears_what_others_say_and_not_itself() {
        let (us, them) = (Nodes::new("a".to_owned(), "n".to_owned()), Nodes::new("b".to_owned(), "m".to_owned()));
        let ids: Vec<_> = (0..450).map(|n| MessageId::generate(Timestamp::from_millis(n))).collect();
        assert!(them.news(true, &ids, true).is_empty(), "nobody is there to be told");
        them.has_others.store(true, Ordering::Relaxed);
        let news = them.news(true, &ids, true);
        assert_eq!(news.len(), 5);
        assert!(them.news(false, &[], true).is_empty(), "a moment ago");
        assert!(news.iter().all(|(_, payload)| payload.len() < 8000));
        let mut rung = us.events.hear();
        for (channel, payload) in &news {
            us.hear(channel, payload);
            them.hear(channel, payload);
        }
        let mut heard = Vec::new();
        for _ in 0..=ids.len() {
            heard.push(us.changed().await);
        }
        rung.rung().await;
        assert!(heard.contains(&Change::Due));
        assert!(ids.iter().all(|id| heard.contains(&Change::Ended(*id))));
        assert!(futures_util::poll!(std::pin::pin!(them.changed())).is_pending());
    }
}
