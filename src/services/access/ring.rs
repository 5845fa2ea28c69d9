//! Keys in memory. One made by another process is found when it is first used, a revoked one is dropped at the next look
//! at the store (`refresh`). When they were used last is noted here and kept later (`keep_uses`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

use crate::domain::audit::Origin;
use crate::domain::caller::{Caller, Key, Scope, Signing};
use crate::domain::clock::Timestamp;
use crate::domain::ids::KeyId;
use crate::store;

/// Key ids that nobody has which are looked up in the store per second; beyond it unknown ids are refused unseen.
const STRANGERS_PER_SECOND: u32 = 20;
/// When a key was used last is written at most so often.
const KEEP_EVERY_MS: i64 = 60_000;
const NEVER: i64 = i64::MIN;

/// Those with one id: several of a configured client, one of the store.
pub(super) type Found = Arc<[Entry]>;
type ById = HashMap<String, Found>;

pub(super) struct Ring {
    keys: Arc<dyn store::Keys>,
    /// From the configuration; several keys of one client share the client's name as their id.
    configured: ById,
    stored: ArcSwap<ById>,
    /// The store's version that `stored` shows; -1: none yet.
    seen_version: AtomicI64,
    strangers: Strangers,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// `key.secret_sha256`; `None`: it is none, and nothing fits it.
    digest: Option<[u8; 32]>,
    uses: Arc<Uses>,
}

/// Times in ms since 1970.
struct Uses {
    last: AtomicI64,
    /// What the store has, and since when.
    kept: AtomicI64,
    kept_at: AtomicI64,
}

/// Counts look-ups in vain of the present second.
#[derive(Default)]
struct Strangers {
    second: AtomicI64,
    count: AtomicU32,
}

impl Ring {
    pub(super) fn new(keys: Arc<dyn store::Keys>, configured: Vec<Key>) -> Self {
        Self {
            keys,
            configured: by_id(configured, &ById::new()),
            stored: ArcSwap::default(),
            seen_version: AtomicI64::new(-1),
            strangers: Strangers::default(),
        }
    }

    /// Every key with this id, working or not; empty when there is none.
    pub(super) async fn find(&self, id: &str, now: Timestamp) -> Result<Found, store::Error> {
        if let Some(found) = self.configured.get(id) {
            return Ok(found.clone());
        }
        if let Some(found) = self.stored.load().get(id) {
            return Ok(found.clone());
        }
        let nobody = || Ok(Found::from([]));
        if KeyId::parse(id).is_none() || !self.strangers.may_ask(now) {
            return nobody();
        }
        let Some(key) = self.keys.look_up(id).await? else {
            self.strangers.count(now);
            return nobody();
        };
        let found = Found::from([Entry::new(key)]);
        self.stored.rcu(|ring| {
            let mut ring = ById::clone(ring);
            ring.entry(id.to_owned()).or_insert_with(|| found.clone());
            ring
        });
        Ok(found)
    }

    /// Takes over the stored keys when they have changed. → whether they had.
    pub(super) async fn refresh(&self) -> Result<bool, store::Error> {
        let version = self.keys.version().await?;
        if self.seen_version.load(Ordering::Acquire) == version {
            return Ok(false);
        }
        let keys = self.keys.list().await?;
        let had = self.stored.load();
        for key in keys.iter().filter(|key| key.signing == Signing::Lost && !had.contains_key(&key.id)) {
            tracing::warn!(key.id, "this key cannot sign: its secret was sealed under another secrets.key");
        }
        self.stored.rcu(|ring| by_id(keys.clone(), ring));
        self.seen_version.store(version, Ordering::Release);
        Ok(true)
    }

    /// Writes when stored keys were used last: those whose minute is over, or all.
    pub(super) async fn keep_uses(&self, now: Timestamp, all: bool) -> Result<(), store::Error> {
        let ring = self.stored.load_full();
        let due: Vec<(&Entry, i64)> = ring
            .values()
            .flat_map(|found| found.iter())
            .filter_map(|entry| Some((entry, entry.uses.due(now, all)?)))
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let used = due.iter().map(|(entry, last)| (entry.key.id.clone(), Timestamp::from_millis(*last))).collect();
        self.keys.touch(used).await?;
        for (entry, last) in due {
            entry.uses.kept.store(last, Ordering::Relaxed);
            entry.uses.kept_at.store(now.as_millis(), Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn has_configured(&self, now: Timestamp) -> bool {
        self.configured.values().flat_map(|found| found.iter()).any(|entry| fault_of(&entry.key, now).is_none())
    }
}

impl Entry {
    fn new(key: Key) -> Self {
        let last = AtomicI64::new(NEVER);
        let digest = hex::decode(&key.secret_sha256).ok().and_then(|bytes| bytes.try_into().ok());
        Self { key, digest, uses: Arc::new(Uses { last, kept: AtomicI64::new(NEVER), kept_at: AtomicI64::new(NEVER) }) }
    }

    /// It works, and allows what it allowed when it let this caller in.
    pub(super) fn works_for(&self, caller: &Caller, now: Timestamp) -> bool {
        let allows = |scope| self.key.scopes.contains(scope) || self.key.scopes.contains(&Scope::Admin);
        caller.scopes.iter().all(allows) && self.key.accounts == caller.accounts && fault_of(&self.key, now).is_none()
    }

    /// Whoever holds this key; the use is noted.
    pub(super) fn caller(&self, now: Timestamp) -> Caller {
        self.uses.last.fetch_max(now.as_millis(), Ordering::Relaxed);
        Caller {
            client: self.key.client.clone(),
            key_id: self.key.id.clone(),
            scopes: self.key.scopes.clone(),
            accounts: self.key.accounts.clone(),
            templates: self.key.templates.clone(),
            valid_until: self.key.expires_at,
            origin: Origin::default(),
            waited: std::time::Duration::ZERO,
        }
    }
}

impl Uses {
    /// The last use, when it is to be written now.
    fn due(&self, now: Timestamp, all: bool) -> Option<i64> {
        let last = self.last.load(Ordering::Relaxed);
        let rested = now.as_millis().saturating_sub(self.kept_at.load(Ordering::Relaxed));
        let is_new = last > self.kept.load(Ordering::Relaxed);
        (is_new && (all || rested >= KEEP_EVERY_MS)).then_some(last)
    }
}

impl Strangers {
    fn may_ask(&self, now: Timestamp) -> bool {
        self.second.load(Ordering::Acquire) != now.as_seconds()
            || self.count.load(Ordering::Acquire) < STRANGERS_PER_SECOND
    }

    fn count(&self, now: Timestamp) {
        if self.second.swap(now.as_seconds(), Ordering::AcqRel) != now.as_seconds() {
            self.count.store(0, Ordering::Release);
        }
        self.count.fetch_add(1, Ordering::AcqRel);
    }
}

/// What `before` knows of their uses goes on.
fn by_id(keys: Vec<Key>, before: &ById) -> ById {
    let mut sorted: HashMap<String, Vec<Entry>> = HashMap::new();
    for key in keys {
        let known = before.get(&key.id).and_then(|found| found.first()).map(|entry| entry.uses.clone());
        let mut entry = Entry::new(key);
        entry.uses = known.unwrap_or(entry.uses);
        sorted.entry(entry.key.id.clone()).or_default().push(entry);
    }
    sorted.into_iter().map(|(id, entries)| (id, entries.into())).collect()
}

/// Why a key does not work (any more).
pub(super) fn fault_of(key: &Key, now: Timestamp) -> Option<&'static str> {
    if key.revoked_at.is_some() {
        return Some("the key was revoked");
    }
    key.expires_at.is_some_and(|at| at <= now).then_some("the key has expired")
}

/// The caller whose secret has this hash. Every key is compared, so that the time taken says nothing.
pub(super) fn admit(found: &[Entry], hash: &[u8; 32], now: Timestamp) -> Result<Caller, &'static str> {
    let mut admitted = Err(if found.is_empty() { "there is no such key" } else { "the secret is wrong" });
    for entry in found {
        let matches = entry.digest.is_some_and(|digest| digest.ct_eq(hash).into());
        match fault_of(&entry.key, now) {
            _ if !matches => {}
            None => admitted = Ok(entry),
            Some(fault) if admitted.is_err() => admitted = Err(fault),
            Some(_) => {}
        }
    }
    admitted.map(|entry| entry.caller(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_ids_are_looked_up_only_so_often() {
        let strangers = Strangers::default();
        let now = Timestamp::from_seconds(1);
        for _ in 0..STRANGERS_PER_SECOND {
            assert!(strangers.may_ask(now));
            strangers.count(now);
        }
        assert!(!strangers.may_ask(now));
        assert!(strangers.may_ask(Timestamp::from_seconds(2)));
    }
}
