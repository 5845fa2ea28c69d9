//! Which settings a webhook may have. What is not named is not looked at: what was allowed once may stay.

use super::{WebhookAdmin, WebhookChange, WebhookError};
use crate::domain::event::KindPattern;
use crate::domain::webhook::url::WebhookUrl;
use crate::services::accept::FieldError;

const MAX_DESCRIPTION: usize = 200;
const MAX_ITEMS: usize = 50;

impl WebhookAdmin {
    /// → its URL, when it names one.
    pub(super) fn check(&self, change: &WebhookChange) -> Result<Option<WebhookUrl>, WebhookError> {
        let mut faults = Vec::new();
        let url = change.url.as_ref().and_then(|url| self.read_url(url).map_err(|fault| faults.push(fault)).ok());
        faults.extend(change.events.iter().flatten().flat_map(|events| faults_of_events(events)));
        faults.extend(change.accounts.iter().flatten().flat_map(|accounts| self.faults_of_accounts(accounts)));
        let description = change.description.iter().flatten();
        if description.clone().any(|text| text.chars().count() > MAX_DESCRIPTION) {
            faults.push(fault("/description", "too_long", format!("{MAX_DESCRIPTION} characters at most")));
        }
        if faults.is_empty() { Ok(url) } else { Err(WebhookError::Invalid(faults)) }
    }

    fn read_url(&self, text: &str) -> Result<WebhookUrl, FieldError> {
        let url = WebhookUrl::parse(text).map_err(|problem| fault("/url", "url", problem.to_string()))?;
        if url.is_plainly_forbidden(self.inner.doors.client.reach()) {
            let cure = "the operator can open its network with webhooks.allow_cidrs";
            return Err(fault("/url", "forbidden_address", format!("{url} is not a public address: {cure}")));
        }
        Ok(url)
    }

    fn faults_of_accounts(&self, names: &[String]) -> Vec<FieldError> {
        let table = self.inner.doors.accounts.table();
        let unknown = names.iter().enumerate().filter(|(_, name)| !table.contains_key(*name));
        let mut faults: Vec<_> = unknown
            .map(|(index, name)| {
                fault(&format!("/accounts/{index}"), "unknown_account", format!("there is no account {name:?}"))
            })
            .collect();
        if names.is_empty() {
            faults.push(fault("/accounts", "empty", "names nothing; leave it out (or null) for every account"));
        }
        faults.extend(too_many("/accounts", names));
        faults
    }
}

fn faults_of_events(patterns: &[String]) -> Vec<FieldError> {
    let is_wrong = |text: &str| !KindPattern::parse(text).is_some_and(|pattern| pattern.can_fit());
    let wrong = patterns.iter().enumerate().filter(|(_, text)| is_wrong(text));
    let mut faults: Vec<_> = wrong
        .map(|(index, text)| {
            let detail = format!("{text:?} is no type of event; write \"message.sent\", \"message.*\" or \"*\"");
            fault(&format!("/events/{index}"), "event_type", detail)
        })
        .collect();
    if patterns.is_empty() {
        faults.push(fault("/events", "empty", "names nothing; leave it out (or null) for every event"));
    }
    faults.extend(too_many("/events", patterns));
    faults
}

fn too_many(path: &str, items: &[String]) -> Option<FieldError> {
    (items.len() > MAX_ITEMS).then(|| fault(path, "too_many", format!("{MAX_ITEMS} at most")))
}

pub(super) fn fault(path: &str, code: &'static str, detail: impl Into<String>) -> FieldError {
    FieldError { path: path.to_owned(), code, detail: detail.into() }
}
