//! What may be changed of a webhook, and its switch.

use super::known::{Found, is_within};
use super::{TRIES, WebhookAdmin, WebhookError, act, stands_in_file};
use crate::domain::account::Patch;
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::webhook::url::WebhookUrl;
use crate::domain::webhook::{DisabledReason, StoredWebhook};

/// What is to be changed: what is not named stays, `Some(None)` clears.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    pub url: Option<String>,
    pub events: Patch<Vec<String>>,
    pub accounts: Patch<Vec<String>>,
    pub description: Patch<String>,
    /// The secret before signs no more.
    pub drop_previous: bool,
    pub enabled: Option<bool>,
    /// When it is switched on: what it has missed is passed by.
    pub skip_missed: bool,
}

impl WebhookChange {
    fn is_of_settings(&self) -> bool {
        let is_of_options = self.events.is_some() || self.accounts.is_some() || self.description.is_some();
        self.url.is_some() || is_of_options || self.drop_previous
    }

    fn apply(&self, url: Option<WebhookUrl>, mut webhook: StoredWebhook) -> StoredWebhook {
        if let Some(url) = url {
            webhook.url = url;
        }
        if let Some(events) = &self.events {
            webhook.options.events = events.clone().unwrap_or_default();
        }
        if let Some(accounts) = &self.accounts {
            webhook.options.accounts.clone_from(accounts);
        }
        if let Some(description) = &self.description {
            webhook.options.description.clone_from(description);
        }
        if let Some(secrets) = webhook.secrets.as_mut().filter(|_| self.drop_previous) {
            secrets.previous = None;
        }
        webhook
    }
}

impl WebhookAdmin {
    /// Settings first; then it is switched on or off.
    pub(super) async fn apply(&self, caller: &Caller, key: &str, change: &WebhookChange) -> Result<(), WebhookError> {
        if change.is_of_settings() {
            self.change_settings(caller, key, change).await?;
        }
        match change.enabled {
            Some(enabled) => self.switch(caller, key, enabled, change.skip_missed).await,
            None => Ok(()),
        }
    }

    async fn change_settings(&self, caller: &Caller, key: &str, change: &WebhookChange) -> Result<(), WebhookError> {
        for _ in 0..TRIES {
            let Found::Stored(stored) = self.find(caller, key).await? else {
                return Err(stands_in_file(key));
            };
            let url = self.check(change)?;
            let after = change.apply(url, (*stored).clone());
            if !is_within(caller, after.options.accounts.as_deref()) {
                return Err(WebhookError::Forbidden);
            }
            let fields = differences(&stored, &after);
            if fields.is_empty() {
                return Ok(());
            }
            if stored.secrets.is_none() {
                return Err(WebhookError::lost());
            }
            if self.keep(caller, after, Action::WebhookChanged, fields).await? {
                return Ok(());
            }
        }
        Err(WebhookError::busy())
    }

    /// In place of the present revision; `false`: somebody else was faster.
    pub(super) async fn keep(
        &self,
        caller: &Caller,
        webhook: StoredWebhook,
        action: Action,
        fields: Vec<&'static str>,
    ) -> Result<bool, WebhookError> {
        let (now, key) = (self.now(), webhook.id.to_string());
        let act = act(now, caller, action, &key, webhook.options.accounts.as_deref()).with("fields", fields);
        let revision = webhook.revision + 1;
        let webhook = StoredWebhook { revision, updated_at: now, ..webhook };
        Ok(self.inner.doors.stored.change(webhook, act).await?)
    }

    /// One that is so already stays as it is.
    async fn switch(&self, caller: &Caller, key: &str, enabled: bool, skip: bool) -> Result<(), WebhookError> {
        let found = self.find(caller, key).await?;
        let (now, stored) = (self.now(), &self.inner.doors.stored);
        let act = |action| act(now, caller, action, key, found.accounts());
        if enabled {
            stored.enable(key, skip, now, act(Action::WebhookEnabled).with("skip_missed", skip)).await?;
        } else {
            stored.disable(key, DisabledReason::Operator, now, act(Action::WebhookDisabled)).await?;
        }
        Ok(())
    }
}

/// The names of fields that differ.
fn differences(before: &StoredWebhook, after: &StoredWebhook) -> Vec<&'static str> {
    let options = (&before.options, &after.options);
    let fields = [
        ("url", before.url != after.url),
        ("events", options.0.events != options.1.events),
        ("accounts", options.0.accounts != options.1.accounts),
        ("description", options.0.description != options.1.description),
        ("previous_secret", before.secrets != after.secrets),
    ];
    fields.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
}
