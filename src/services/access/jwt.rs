//! Tokens (JWT) of somebody whom the configuration trusts: rules and keys, and the file that the keys may come from.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::auth::{JwtConfig, KeySource, read_jwks};
use crate::domain::audit::Origin;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::jwt::{Keys, Refusal, Rules};

/// What a caller's `key_id` is, when it came with a token.
pub(super) const KEY_ID: &str = "jwt";
/// A file that is not read by then (a network file system that hangs) is left for the next time.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Jwt {
    rules: Rules,
    keys: ArcSwap<Keys>,
    file: Option<JwksFile>,
}

/// The file, and what was last seen of it: its text, or why there is none.
struct JwksFile {
    path: Arc<Path>,
    seen: Mutex<Result<String, String>>,
    /// One reader at a time: those that hang must not use up the threads.
    is_read: Arc<AtomicBool>,
}

impl Jwt {
    pub(super) fn new(config: JwtConfig) -> Self {
        let JwtConfig { rules, keys, source } = config;
        let file = match source {
            KeySource::Given => None,
            KeySource::JwksFile { path, text } => {
                Some(JwksFile { path: path.into(), seen: Mutex::new(Ok(text)), is_read: Arc::default() })
            }
        };
        Self { rules, keys: ArcSwap::from_pointee(keys), file }
    }

    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, Refusal> {
        let grant = self.rules.verify(&self.keys.load(), token, now)?;
        Ok(Caller {
            client: grant.client,
            key_id: KEY_ID.to_owned(),
            scopes: grant.scopes,
            accounts: grant.accounts,
            templates: None,
            valid_until: Some(grant.expires_at),
            origin: Origin::default(),
            waited: std::time::Duration::ZERO,
        })
    }

    /// Takes the keys of the file over when it has changed; called once a second. A file that cannot be used leaves the keys
    /// as they are, and is told once.
    pub(super) async fn refresh(&self) {
        let Some(file) = &self.file else { return };
        let Some(text) = file.read().await else { return };
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == text {
            return;
        }
        let keys = text.as_deref().map_err(Clone::clone).and_then(|text| Keys::from_jwks(self.rules.algorithm, text));
        let shown = file.path.display();
        match keys {
            Ok(keys) => {
                tracing::info!(count = keys.count(), "{shown} has changed: its keys are in force");
                self.keys.store(Arc::new(keys));
            }
            Err(problem) => tracing::error!("{shown} {problem}; the keys of before stay in force"),
        }
        *seen = text;
    }
}

impl JwksFile {
    /// `None`: not now.
    async fn read(&self) -> Option<Result<String, String>> {
        if self.is_read.swap(true, Ordering::AcqRel) {
            return None;
        }
        let (path, is_read) = (self.path.clone(), self.is_read.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let text = read_jwks(&path);
            is_read.store(false, Ordering::Release);
            text
        });
        tokio::time::timeout(PATIENCE, reading).await.ok()?.ok()
    }
}
