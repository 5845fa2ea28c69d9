//! Which webhooks there are: those in the file, and those made by the API, here or on another node.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::clock::Clock;
use crate::domain::webhook::Webhook;
use crate::store;

/// Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    configured: Vec<Arc<Webhook>>,
    kept: Arc<dyn store::Webhooks>,
    clock: Arc<dyn Clock>,
    /// As of `seen_version`: all that can be used, by key.
    known: Mutex<Arc<[Arc<Webhook>]>>,
    seen_version: AtomicI64,
    looking: tokio::sync::Mutex<()>,
}

impl Webhooks {
    pub fn new(kept: Arc<dyn store::Webhooks>, configured: Vec<Webhook>, clock: Arc<dyn Clock>) -> Self {
        let configured: Vec<_> = configured.into_iter().map(Arc::new).collect();
        let (known, seen_version) = (Mutex::new(Arc::from(configured.as_slice())), AtomicI64::new(-1));
        Self(Arc::new(Inner { configured, kept, clock, known, seen_version, looking: tokio::sync::Mutex::default() }))
    }

    /// Takes over what has changed in the store, and makes sure that each has a standing. → whether something had.
    pub async fn refresh(&self) -> Result<bool, store::Error> {
        let Inner { configured, kept, clock, seen_version, looking, .. } = &*self.0;
        let _one_at_a_time = looking.lock().await;
        let version = kept.version().await?;
        if seen_version.load(Ordering::Acquire) == version {
            return Ok(false);
        }
        let mut known = configured.clone();
        for stored in kept.list().await? {
            match stored.webhook() {
                Some(webhook) => known.push(Arc::new(webhook)),
                None => tracing::error!(
                    webhook.id = %stored.id,
                    "this webhook is out of use: its secret was sealed under another secrets.key; give it a new one (rotate)"
                ),
            }
        }
        known.sort_by(|a, b| a.key.cmp(&b.key));
        kept.enroll(known.iter().map(|webhook| webhook.key.to_string()).collect(), clock.now()).await?;
        let count = known.len();
        *self.0.known.lock().unwrap_or_else(PoisonError::into_inner) = known.into();
        if seen_version.swap(version, Ordering::AcqRel) >= 0 {
            tracing::info!(webhooks = count, "the webhooks have changed");
        }
        Ok(true)
    }

    /// Those that can be used, by key, whether they are enabled or not.
    pub fn all(&self) -> Arc<[Arc<Webhook>]> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn find(&self, key: &str) -> Option<Arc<Webhook>> {
        self.all().iter().find(|webhook| *webhook.key == *key).cloned()
    }

    pub fn keys(&self) -> Vec<String> {
        self.all().iter().map(|webhook| webhook.key.to_string()).collect()
    }
}
