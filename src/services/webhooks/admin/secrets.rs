//! Webhooks are made with a secret, and given another one while both sign.

use super::check::fault;
use super::known::{Found, is_within};
use super::{KnownWebhook, MOST, TRIES, WebhookAdmin, WebhookChange, WebhookError, act, stands_in_file};
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::ids::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::webhook::signing::{SECRET_RULE, WebhookSecret};
use crate::domain::webhook::{StoredWebhook, WebhookOptions, WebhookSecrets};

/// A webhook to be made.
#[derive(Clone, Debug, Default)]
pub struct NewWebhook {
    pub url: String,
    /// `None`: one is made.
    pub secret: Option<Secret>,
    /// `None`: all.
    pub events: Option<Vec<String>>,
    /// `None`: of all, and of none.
    pub accounts: Option<Vec<String>>,
    pub description: Option<String>,
}

impl WebhookAdmin {
    /// → it, and its secret: the one time that it is told.
    pub async fn create(&self, caller: &Caller, new: NewWebhook) -> Result<(KnownWebhook, Secret), WebhookError> {
        let settings = WebhookChange {
            url: Some(new.url),
            events: new.events.clone().map(Some),
            accounts: new.accounts.clone().map(Some),
            description: new.description.clone().map(Some),
            ..WebhookChange::default()
        };
        let (secret, url) = match (secret_of(new.secret.as_ref()), self.check(&settings)) {
            (Ok(secret), Ok(Some(url))) => (secret, url),
            (Err(WebhookError::Invalid(more)), Err(WebhookError::Invalid(faults))) => {
                return Err(WebhookError::Invalid(faults.into_iter().chain(more).collect()));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
            (_, Ok(None)) => return Err(WebhookError::Invalid(vec![fault("/url", "required", "is missing")])),
        };
        if !is_within(caller, new.accounts.as_deref()) {
            return Err(WebhookError::Forbidden);
        }
        if self.inner.doors.stored.list().await?.len() >= MOST {
            return Err(WebhookError::Conflict { detail: format!("there are {MOST} webhooks: no more are taken") });
        }
        let now = self.now();
        let stored = StoredWebhook {
            id: WebhookId::generate(now),
            url,
            secrets: Some(WebhookSecrets { current: secret.clone(), previous: None }),
            options: WebhookOptions {
                description: new.description,
                events: new.events.unwrap_or_default(),
                accounts: new.accounts,
            },
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let key = stored.id.to_string();
        let act = act(now, caller, Action::WebhookCreated, &key, stored.options.accounts.as_deref());
        self.inner.doors.stored.add(stored, act).await?;
        self.look_again().await;
        Ok((self.look_up(caller, &key).await?, secret.text().clone()))
    }

    /// Gives it another secret; the one before signs too until it is dropped. → the new one. Not while there is one before:
    /// a request that comes twice must not take away the secret that the subscriber has.
    pub async fn rotate(
        &self,
        caller: &Caller,
        key: &str,
        given: Option<Secret>,
    ) -> Result<(KnownWebhook, Secret), WebhookError> {
        let secret = secret_of(given.as_ref())?;
        for _ in 0..TRIES {
            let Found::Stored(stored) = self.find(caller, key).await? else {
                return Err(stands_in_file(key));
            };
            let present = stored.secrets.clone();
            if present.as_ref().is_some_and(|secrets| secrets.previous.is_some()) {
                let detail = "it is being rotated: when the subscriber has the new secret, drop the old one with PATCH \
                              {\"previous_secret\": null}";
                return Err(WebhookError::Conflict { detail: detail.to_owned() });
            }
            let previous = present.map(|secrets| secrets.current);
            let secrets = Some(WebhookSecrets { current: secret.clone(), previous });
            let after = StoredWebhook { secrets, ..*stored };
            if self.keep(caller, after, Action::WebhookRotated, vec!["secret"]).await? {
                self.look_again().await;
                return Ok((self.look_up(caller, key).await?, secret.text().clone()));
            }
        }
        Err(WebhookError::busy())
    }
}

/// What was given, if it can be one; a new one when nothing was.
fn secret_of(given: Option<&Secret>) -> Result<WebhookSecret, WebhookError> {
    let secret = given.map_or_else(|| Some(WebhookSecret::generate()), |given| WebhookSecret::parse(given.expose()));
    secret.ok_or_else(|| WebhookError::Invalid(vec![fault("/secret", "secret", SECRET_RULE)]))
}
