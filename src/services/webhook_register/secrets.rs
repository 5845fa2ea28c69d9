//! Webhooks are made with a secret, and given another one while both sign.

use super::change::too_busy;
use super::known::Found;
use super::{KnownWebhook, MOST, NewWebhook, TRIES, WebhookError, WebhookRegister, act, fault, stands_in_file};
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::ids::WebhookId;
use crate::domain::secret::Secret;
use crate::domain::webhook::signing::{SECRET_RULE, WebhookSecret};
use crate::domain::webhook::{StoredWebhook, WebhookSecrets};

impl WebhookRegister {
    /// → it, and its secret: the one time that it is told.
    pub async fn create(&self, caller: &Caller, new: NewWebhook) -> Result<(KnownWebhook, Secret), WebhookError> {
        let secret = secret_of(new.secret.as_ref());
        if let Err(WebhookError::Invalid(faults)) = &secret {
            let mut all = self.faults_of(&new.url, &new.options);
            all.extend(faults.iter().cloned());
            return Err(WebhookError::Invalid(all));
        }
        self.check(caller, &new.url, &new.options)?;
        if self.inner.doors.stored.list().await?.len() >= MOST {
            return Err(WebhookError::Conflict { detail: format!("there are {MOST} webhooks: no more are taken") });
        }
        let (now, secret) = (self.now(), secret?);
        let stored = StoredWebhook {
            id: WebhookId::generate(now),
            url: new.url,
            secrets: WebhookSecrets { current: secret.clone(), previous: None },
            options: new.options,
            is_lost: false,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let key = stored.id.to_string();
        let act = act(now, caller, Action::WebhookCreated, &key, stored.options.accounts.as_deref());
        self.inner.doors.stored.add(stored, act).await?;
        self.look_again().await;
        Ok((self.look_up(caller, &key).await?, secret))
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
            if stored.secrets.previous.is_some() && !stored.is_lost {
                let detail = "it is being rotated: when the subscriber has the new secret, drop the old one with PATCH \
                              {\"previous_secret\": null}";
                return Err(WebhookError::Conflict { detail: detail.to_owned() });
            }
            let previous = (!stored.is_lost).then(|| stored.secrets.current.clone());
            let secrets = WebhookSecrets { current: secret.clone(), previous };
            let after = StoredWebhook { secrets, ..*stored };
            if self.keep(caller, after, Action::WebhookRotated, vec!["secret"]).await? {
                self.look_again().await;
                return Ok((self.look_up(caller, key).await?, secret));
            }
        }
        Err(too_busy())
    }
}

/// What was given, if it can be one; a new one when nothing was.
fn secret_of(given: Option<&Secret>) -> Result<Secret, WebhookError> {
    let secret = given.map_or_else(|| Some(WebhookSecret::generate()), |given| WebhookSecret::parse(given.expose()));
    let secret = secret.ok_or_else(|| WebhookError::Invalid(vec![fault("/secret", "secret", SECRET_RULE)]))?;
    Ok(secret.text().clone())
}
