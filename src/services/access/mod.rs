//! Station 1: who calls. Three ways to show it: a key as bearer, a token signed by somebody the configuration trusts
//! (`jwt`), a request signed with a key (`signed`). Who only watches events may have a ticket instead (`tickets`).
//!
//! Keys come from the configuration and from the store; both are held in memory (`ring`), so that no call costs a query.
//! Whoever is refused learns no reason; the log has it at level `debug`. Addresses that fail too often are told to wait
//! (`failures`), but only when they fail again: others behind the same address go on.

mod failures;
mod jwt;
mod nonces;
mod ring;
mod signed;
mod tickets;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::failures::Failures;
use self::jwt::Jwt;
use self::nonces::Nonces;
use self::ring::Ring;
pub use self::signed::Signer;
pub use self::tickets::{Admitted, Ticket, TicketRequest};
use crate::config::auth::AuthConfig;
use crate::config::limits::LimitsConfig;
use crate::domain::audit::{Act, Action, Actor};
use crate::domain::caller::{Caller, Key, Scope, Signing};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::KeyId;
use crate::domain::seal::Sealer;
use crate::domain::secret::Secret;
use crate::store;
use crate::telemetry::metrics::Metrics;

const SECRET_BYTES: usize = 32;
const KEY_PREFIX: &str = "wxg_";

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Unknown, wrong, expired, revoked, stale or seen before: the caller learns no more.
    #[error("the key, token or signature is not valid")]
    Refused,
    /// The same, and too often from this address.
    #[error("too many wrong keys, tokens or signatures came from this address")]
    TooOften { wait: Duration },
    /// There is no room to remember that this signed request came.
    #[error("too many signed requests are remembered")]
    NoRoom,
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
    /// Its secret is kept, sealed, so that it can sign requests.
    pub signing: bool,
}

/// The doors this station needs.
pub struct AccessDoors {
    pub keys: Arc<dyn store::Keys>,
    pub nonces: Option<Arc<dyn store::SharedNonces>>,
    /// Of tickets.
    pub sealer: Sealer,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Arc<dyn store::Keys>,
    ring: Ring,
    jwt: Option<Jwt>,
    nonces: Nonces,
    failures: Failures,
    sealer: Sealer,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// How a caller shows who it is; as metrics and the log write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Key,
    Jwt,
    Signed,
    Ticket,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Jwt => "jwt",
            Self::Signed => "signed",
            Self::Ticket => "ticket",
        }
    }
}

impl Access {
    /// `configured`: keys of the configuration.
    pub fn open(doors: AccessDoors, configured: Vec<Key>, auth: &AuthConfig, limits: &LimitsConfig) -> Self {
        let AccessDoors { keys, nonces, sealer, clock, metrics } = doors;
        let inner = Inner {
            ring: Ring::new(keys.clone(), configured),
            jwt: auth.jwt.clone().map(Jwt::new),
            nonces: Nonces::new(nonces, metrics.clone()),
            failures: Failures::new(limits, metrics.clone()),
            sealer,
            keys,
            clock,
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What stands behind `Bearer` → the caller. A key begins with `wxg_`; anything else is taken for a token.
    pub async fn authenticate(&self, bearer: &str, from: Option<IpAddr>) -> Result<Caller, AccessError> {
        let now = self.inner.clock.now();
        if !bearer.starts_with(KEY_PREFIX) {
            let checked = self.inner.jwt.as_ref().map(|jwt| jwt.verify(bearer, now));
            return match checked {
                Some(Ok(caller)) => Ok(caller),
                Some(Err(reason)) => Err(self.refuse(Form::Jwt, &reason, from)),
                None => Err(self.refuse(Form::Jwt, &"it is no key, and tokens are not configured", from)),
            };
        }
        let Some((id, secret)) = split(bearer) else {
            return Err(self.refuse(Form::Key, &"it has not the form of a key", from));
        };
        let hash = Sha256::digest(secret.as_bytes()).into();
        let found = self.inner.ring.find(id, now).await?;
        match ring::admit(&found, &hash, now) {
            Ok(caller) => Ok(caller),
            Err(reason) => Err(self.refuse(Form::Key, &reason, from)),
        }
    }

    /// Whether whoever was let in for something that lasts may go on: its time is not over, and its key works as it did. (A
    /// token cannot be taken back before its time.)
    pub async fn still_admits(&self, caller: &Caller) -> Result<bool, AccessError> {
        let now = self.inner.clock.now();
        if caller.valid_until.is_some_and(|until| until <= now) {
            return Ok(false);
        }
        if caller.key_id == jwt::KEY_ID {
            return Ok(self.inner.jwt.is_some());
        }
        let found = self.inner.ring.find(&caller.key_id, now).await?;
        Ok(found.iter().any(|entry| entry.works_for(caller, now)))
    }

    /// Looks whether stored keys, or the file of the tokens' keys, have changed, and takes them over. → whether keys had.
    pub async fn refresh(&self) -> Result<bool, store::Error> {
        if let Some(jwt) = &self.inner.jwt {
            jwt.refresh().await;
        }
        self.inner.ring.refresh().await
    }

    /// Keeps when keys were used last; of one key once a minute, or now when the gateway stops.
    pub async fn keep_uses(&self, is_stopping: bool) -> Result<(), store::Error> {
        self.inner.ring.keep_uses(self.inner.clock.now(), is_stopping).await
    }

    /// Forgets addresses that have not failed for long.
    pub fn sweep(&self) {
        self.inner.failures.sweep(self.inner.clock.now());
    }

    /// Makes a key; the whole text `wxg_…` is known only now.
    pub async fn create(&self, request: KeyRequest, by: Actor) -> Result<(Key, Secret), store::Error> {
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
            signing: if request.signing { Signing::With(Secret::new(secret.clone())) } else { Signing::Not },
            last_used_at: None,
        };
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let act = Act::new(now, by, Action::KeyCreated, &id)
            .with("client", key.client.as_str())
            .with("scopes", scopes)
            .with("accounts", key.accounts.clone())
            .with("templates", key.templates.clone())
            .with("expires_at", key.expires_at.map(|at| at.to_string()))
            .with("signing", request.signing);
        self.inner.keys.add(key.clone(), act).await?;
        Ok((key, Secret::new(format!("{KEY_PREFIX}{id}_{secret}"))))
    }

    pub async fn list(&self) -> Result<Vec<Key>, store::Error> {
        self.inner.keys.list().await
    }

    /// `false` when there is no such key, or it was revoked before.
    pub async fn revoke(&self, id: &str, by: Actor) -> Result<bool, store::Error> {
        let now = self.inner.clock.now();
        self.inner.keys.revoke(id, now, Act::new(now, by, Action::KeyRevoked, id)).await
    }

    /// Could anybody call? With a key, configured or stored, that still works, or with a token.
    pub async fn has_way_in(&self) -> Result<bool, store::Error> {
        let now = self.inner.clock.now();
        if self.inner.jwt.is_some() || self.inner.ring.has_configured(now) {
            return Ok(true);
        }
        Ok(self.inner.keys.list().await?.iter().any(|key| ring::fault_of(key, now).is_none()))
    }

    fn refuse(&self, form: Form, reason: &dyn std::fmt::Display, from: Option<IpAddr>) -> AccessError {
        let client = from.map(tracing::field::display);
        tracing::debug!(form = form.as_str(), %reason, client.ip = client, "a caller was refused");
        self.inner.metrics.auth_failure(form.as_str());
        match self.inner.failures.count(from, self.inner.clock.now()) {
            Some(wait) => AccessError::TooOften { wait },
            None => AccessError::Refused,
        }
    }
}

fn split(bearer: &str) -> Option<(&str, &str)> {
    let (id, secret) = bearer.strip_prefix(KEY_PREFIX)?.rsplit_once('_')?;
    let is_secret = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|b| b.is_ascii_hexdigit());
    (!id.is_empty() && is_secret).then_some((id, secret))
}

fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
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
}
