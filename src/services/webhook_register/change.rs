//! What a webhook may be made of, and what may be changed of one.

use super::known::Found;
use super::{TRIES, WebhookError, WebhookRegister, act, fault, stands_in_file};
use crate::domain::account::Patch;
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::event::KindPattern;
use crate::domain::secret::Secret;
use crate::domain::webhook::url::WebhookUrl;
use crate::domain::webhook::{DisabledReason, StoredWebhook, WebhookOptions};
use crate::services::accept::FieldError;
use crate::services::webhook_register::known::is_within;

const MAX_DESCRIPTION: usize = 200;
const MAX_ITEMS: usize = 50;

/// A webhook to be made.
#[derive(Clone, Debug, Default)]
pub struct NewWebhook {
    pub url: String,
    /// `None`: one is made.
    pub secret: Option<Secret>,
    pub options: WebhookOptions,
}

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

    fn apply(&self, mut webhook: StoredWebhook) -> StoredWebhook {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
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
        if self.drop_previous {
            webhook.secrets.previous = None;
        }
        webhook
    }
}

impl WebhookRegister {
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
            let after = change.apply((*stored).clone());
            self.check(caller, &after.url, &after.options)?;
            let mut fields = differences(&stored, &after);
            if fields.is_empty() {
                return Ok(());
            }
            if stored.is_lost {
                let detail = "its secret cannot be opened: rotate it first (POST /v1/webhooks/{id}/rotate)".to_owned();
                return Err(WebhookError::Conflict { detail });
            }
            fields.sort_unstable();
            if self.keep(caller, after, Action::WebhookChanged, fields).await? {
                return Ok(());
            }
        }
        Err(too_busy())
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
        let webhook = StoredWebhook { revision, updated_at: now, is_lost: false, ..webhook };
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

    pub(super) fn check(&self, caller: &Caller, url: &str, options: &WebhookOptions) -> Result<(), WebhookError> {
        let faults = self.faults_of(url, options);
        if !faults.is_empty() {
            return Err(WebhookError::Invalid(faults));
        }
        if !is_within(caller, options.accounts.as_deref()) {
            return Err(WebhookError::Forbidden);
        }
        Ok(())
    }

    pub(super) fn faults_of(&self, url: &str, options: &WebhookOptions) -> Vec<FieldError> {
        let mut faults = Vec::new();
        match WebhookUrl::parse(url) {
            Err(problem) => faults.push(fault("/url", "url", problem.to_string())),
            Ok(url) if url.is_plainly_forbidden(self.reach()) => {
                let detail =
                    format!("{url} is not a public address; webhooks.allow_cidrs of the configuration opens more");
                faults.push(fault("/url", "forbidden_address", detail));
            }
            Ok(_) => {}
        }
        for (index, text) in options.events.iter().enumerate() {
            if !KindPattern::parse(text).is_some_and(|pattern| pattern.can_fit()) {
                let detail = format!("{text:?} is no type of event; write \"message.sent\", \"message.*\" or \"*\"");
                faults.push(fault(format!("/events/{index}"), "event_type", detail));
            }
        }
        let table = self.inner.doors.accounts.table();
        for (index, name) in options.accounts.iter().flatten().enumerate() {
            if !table.contains_key(name) {
                faults.push(fault(
                    format!("/accounts/{index}"),
                    "unknown_account",
                    format!("there is no account {name:?}"),
                ));
            }
        }
        if options.accounts.as_ref().is_some_and(Vec::is_empty) {
            faults.push(fault("/accounts", "empty", "names nothing; leave it out (or null) for every account"));
        }
        for (path, length) in
            [("/events", options.events.len()), ("/accounts", options.accounts.iter().flatten().count())]
        {
            if length > MAX_ITEMS {
                faults.push(fault(path, "too_many", format!("{MAX_ITEMS} at most")));
            }
        }
        if options.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            faults.push(fault("/description", "too_long", format!("{MAX_DESCRIPTION} characters at most")));
        }
        faults
    }
}

pub(super) fn too_busy() -> WebhookError {
    WebhookError::Conflict { detail: "others change this webhook all the time: try again".to_owned() }
}

/// The names of fields that differ.
fn differences(before: &StoredWebhook, after: &StoredWebhook) -> Vec<&'static str> {
    let options = (&before.options, &after.options);
    let fields = [
        ("url", before.url != after.url),
        ("events", options.0.events != options.1.events),
        ("accounts", options.0.accounts != options.1.accounts),
        ("description", options.0.description != options.1.description),
        ("previous_secret", before.secrets.previous != after.secrets.previous),
    ];
    fields.into_iter().filter_map(|(name, is_changed)| is_changed.then_some(name)).collect()
}
