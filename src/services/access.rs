//! Station 1: who calls. Keys come from the configuration and from the store; both are held in memory, so that no call
//! costs a query. A key made by another process is found when it is first used, a revoked one is dropped at the next
//! look at the store (`refresh`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::caller::{Caller, Key, Scope};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::KeyId;
use crate::domain::secret::Secret;
use crate::store;

/// Key ids that nobody has which are looked up in the store per second; beyond it unknown ids are refused unseen.
const STRANGERS_PER_SECOND: u32 = 20;
const SECRET_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No such key, wrong secret, expired or revoked: the caller learns no more.
    #[error("the key is not known, has expired or was revoked")]
    Refused,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    pub client: String,
    pub scopes: Vec<Scope>,
    pub accounts: Option<Vec<String>>,
    pub templates: Option<Vec<String>>,
    pub expires_at: Option<Timestamp>,
}

type KeyRing = HashMap<String, Vec<Key>>;

#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<dyn store::Keys>,
    clock: Arc<dyn Clock>,
    /// From the configuration; several keys of one client share the client's name as their id.
    configured: KeyRing,
    stored: ArcSwap<KeyRing>,
    /// The store's version that `stored` shows; -1: none yet.
    seen_version: AtomicI64,
    strangers: Strangers,
}

/// Counts look-ups in vain of the present second.
#[derive(Default)]
struct Strangers {
    second: AtomicI64,
    count: AtomicU32,
}

impl Access {
    pub fn open(keys: Arc<dyn store::Keys>, configured: Vec<Key>, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            keys,
            clock,
            configured: ring_of(configured),
            stored: ArcSwap::default(),
            seen_version: AtomicI64::new(-1),
            strangers: Strangers::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// `wxg_<keyid>_<secret>` → the caller.
    pub async fn authenticate(&self, bearer: &str) -> Result<Caller, AccessError> {
        let (id, secret) = split(bearer).ok_or(AccessError::Refused)?;
        let hash = hash_of(secret);
        let now = self.inner.clock.now();
        if let Some(caller) = self.inner.configured.get(id).and_then(|keys| admit(keys, &hash, now)) {
            return Ok(caller);
        }
        if let Some(keys) = self.inner.stored.load().get(id) {
            return admit(keys, &hash, now).ok_or(AccessError::Refused);
        }
        if KeyId::parse(id).is_none() || !self.inner.strangers.may_ask(now) {
            return Err(AccessError::Refused);
        }
        let Some(key) = self.inner.keys.look_up(id).await? else {
            self.inner.strangers.count(now);
            return Err(AccessError::Refused);
        };
        let caller = admit(std::slice::from_ref(&key), &hash, now).ok_or(AccessError::Refused)?;
        self.inner.stored.rcu(|ring| {
            let mut ring = KeyRing::clone(ring);
            ring.insert(key.id.clone(), vec![key.clone()]);
            ring
        });
        Ok(caller)
    }

    /// Looks whether the stored keys have changed and takes them over. → whether they had.
    pub async fn refresh(&self) -> Result<bool, store::Error> {
        let version = self.inner.keys.version().await?;
        if self.inner.seen_version.load(Ordering::Acquire) == version {
            return Ok(false);
        }
        let keys = self.inner.keys.list().await?;
        self.inner.stored.store(Arc::new(ring_of(keys)));
        self.inner.seen_version.store(version, Ordering::Release);
        Ok(true)
    }

    /// Makes a key; the whole text `wxg_…` is known only now.
    pub async fn create(&self, request: KeyRequest) -> Result<(Key, Secret), store::Error> {
        let now = self.inner.clock.now();
        let id = KeyId::generate(now).to_string();
        let secret = hex::encode(rand::random::<[u8; SECRET_BYTES]>());
        let key = Key {
            id: id.clone(),
            client: request.client,
            secret_sha256: hash_of(&secret),
            scopes: request.scopes,
            accounts: request.accounts,
            templates: request.templates,
            created_at: now,
            expires_at: request.expires_at,
            revoked_at: None,
        };
        self.inner.keys.add(key.clone()).await?;
        Ok((key, Secret::new(format!("wxg_{id}_{secret}"))))
    }

    pub async fn list(&self) -> Result<Vec<Key>, store::Error> {
        self.inner.keys.list().await
    }

    /// `false` when there is no such key, or it was revoked before.
    pub async fn revoke(&self, id: &str) -> Result<bool, store::Error> {
        self.inner.keys.revoke(id, self.inner.clock.now()).await
    }

    /// Is there any key at all, configured or stored, that still works?
    pub async fn has_keys(&self) -> Result<bool, store::Error> {
        let now = self.inner.clock.now();
        if self.inner.configured.values().flatten().any(|key| works(key, now)) {
            return Ok(true);
        }
        Ok(self.inner.keys.list().await?.iter().any(|key| works(key, now)))
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

fn split(bearer: &str) -> Option<(&str, &str)> {
    let (id, secret) = bearer.strip_prefix("wxg_")?.rsplit_once('_')?;
    let is_secret = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
    (!id.is_empty() && is_secret).then_some((id, secret))
}

fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn ring_of(keys: Vec<Key>) -> KeyRing {
    let mut ring = KeyRing::new();
    for key in keys {
        ring.entry(key.id.clone()).or_default().push(key);
    }
    ring
}

fn works(key: &Key, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|at| now < at)
}

/// Every key is compared, so that the time taken says nothing.
fn admit(keys: &[Key], hash: &str, now: Timestamp) -> Option<Caller> {
    let mut admitted = None;
    for key in keys {
        let matches: bool = key.secret_sha256.as_bytes().ct_eq(hash.as_bytes()).into();
        if matches && works(key, now) {
            admitted = Some(Caller {
                client: key.client.clone(),
                key_id: key.id.clone(),
                scopes: key.scopes.clone(),
                accounts: key.accounts.clone(),
                templates: key.templates.clone(),
            });
        }
    }
    admitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_underscore_ends_the_key_id() {
        let secret = "a".repeat(64);
        let text = format!("wxg_order_service_{secret}");
        assert_eq!(split(&text), Some(("order_service", secret.as_str())));
        for bad in
            ["", "wxg_", "wxg_a_b", &format!("wxg__{secret}"), &format!("xxx_a_{secret}"), &format!("wxg_a_{secret}0")]
        {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

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
