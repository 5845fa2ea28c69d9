//! The bodies that make, change and rotate a webhook.

use utoipa::ToSchema;

use crate::domain::account::Patch;
use crate::domain::secret::Secret;
use crate::http::error::ApiError;
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{FromJson, Json, push};
use crate::services::webhooks::admin::{NewWebhook, WebhookChange};

/// A new webhook.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"url": "https://crm.example.com/wechat", "events": ["message.*", "user.subscribed"], "accounts": ["shop"]}))]
pub struct NewWebhookRequest {
    /// http or https, to a public address, without user and password.
    #[schema(example = "https://crm.example.com/wechat")]
    pub url: String,
    /// `whsec_` and 24 to 64 bytes in base64. Left out: one is made.
    #[schema(value_type = Option<String>, format = Password)]
    pub secret: Option<Secret>,
    /// Types, or how they begin. Left out: all.
    #[schema(example = json!(["message.*"]))]
    pub events: Option<Vec<String>>,
    /// Only of these accounts. Left out: of all, and of none.
    pub accounts: Option<Vec<String>>,
    pub description: Option<String>,
}

/// What is left out stays as it is; null clears.
#[derive(Debug, Default, ToSchema)]
#[schema(example = json!({"enabled": true, "events": null}))]
pub struct WebhookFields {
    pub url: Option<String>,
    #[schema(value_type = Option<Vec<String>>)]
    pub events: Patch<Vec<String>>,
    #[schema(value_type = Option<Vec<String>>)]
    pub accounts: Patch<Vec<String>>,
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// Only null: the secret before signs no more.
    #[schema(value_type = Option<String>)]
    pub previous_secret: bool,
    /// A disabled webhook is told nothing. What it misses waits for it, as long as events are kept.
    pub enabled: Option<bool>,
    /// With `"enabled": true`: what it has missed is passed by.
    #[schema(value_type = Option<bool>)]
    pub skip_missed: bool,
}

#[derive(Debug, Default, ToSchema)]
pub struct RotateRequest {
    /// `whsec_` and 24 to 64 bytes in base64. Left out: one is made.
    #[schema(value_type = Option<String>, format = Password)]
    pub secret: Option<Secret>,
}

impl FromJson for NewWebhookRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut request = None;
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            if fields.is_missing("url") {
                faults.malformed("/url", "required", "is missing");
            }
            request = Some(Self {
                url: fields.string("url", &mut faults).unwrap_or_default(),
                secret: fields.string("secret", &mut faults).map(Secret::new),
                events: strings(&mut fields, "events", &mut faults).flatten(),
                accounts: strings(&mut fields, "accounts", &mut faults).flatten(),
                description: fields.string("description", &mut faults),
            });
            fields.close(&mut faults);
        }
        faults.check()?;
        request.ok_or_else(ApiError::internal)
    }
}

impl NewWebhookRequest {
    pub fn into_new(self) -> NewWebhook {
        NewWebhook {
            url: self.url,
            secret: self.secret,
            events: self.events,
            accounts: self.accounts,
            description: self.description.filter(|text| !text.is_empty()),
        }
    }
}

impl FromJson for WebhookFields {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut read = Self::default();
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            for (name, path) in [("url", "/url"), ("enabled", "/enabled"), ("skip_missed", "/skip_missed")] {
                if fields.is_null(name) {
                    faults.malformed(path, "type", "cannot be null");
                }
            }
            read = Self {
                url: fields.string("url", &mut faults),
                events: strings(&mut fields, "events", &mut faults),
                accounts: strings(&mut fields, "accounts", &mut faults),
                description: description(&mut fields, &mut faults),
                previous_secret: previous_secret(&mut fields, &mut faults),
                enabled: fields.boolean("enabled", &mut faults),
                skip_missed: fields.boolean("skip_missed", &mut faults).unwrap_or_default(),
            };
            if read.skip_missed && read.enabled != Some(true) {
                faults.malformed("/skip_missed", "choice", "goes with \"enabled\": true");
            }
            fields.close(&mut faults);
        }
        faults.check()?;
        Ok(read)
    }
}

impl WebhookFields {
    pub fn into_change(self) -> WebhookChange {
        WebhookChange {
            url: self.url,
            events: self.events,
            accounts: self.accounts,
            description: self.description,
            drop_previous: self.previous_secret,
            enabled: self.enabled,
            skip_missed: self.skip_missed,
        }
    }
}

impl FromJson for RotateRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut secret = None;
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            secret = fields.string("secret", &mut faults).map(Secret::new);
            fields.close(&mut faults);
        }
        faults.check()?;
        Ok(Self { secret })
    }
}

/// A list of strings, or null.
pub(super) fn strings(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> Patch<Vec<String>> {
    let path = fields.path_of(name);
    let items = match fields.patch(name)? {
        Json::Null => return Some(None),
        Json::Array(items) => items,
        other => {
            wrong_type(faults, &path, "a list of strings", &other);
            return None;
        }
    };
    let mut texts = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Json::String(text) = item else {
            let mut path = path.clone();
            push(&mut path, &index.to_string());
            wrong_type(faults, &path, "a string", &item);
            continue;
        };
        texts.push(text);
    }
    Some(Some(texts))
}

/// An empty text is as good as null.
fn description(fields: &mut Fields, faults: &mut Faults) -> Patch<String> {
    if fields.is_null("description") {
        fields.take("description");
        return Some(None);
    }
    fields.string("description", faults).map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn previous_secret(fields: &mut Fields, faults: &mut Faults) -> bool {
    match fields.patch("previous_secret") {
        None => false,
        Some(Json::Null) => true,
        Some(_) => {
            let detail = "can only be null, which drops it; POST …/rotate gives a webhook another secret";
            faults.malformed(fields.path_of("previous_secret"), "type", detail);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::Code;

    fn change(text: &str) -> Result<WebhookFields, ApiError> {
        WebhookFields::from_json(Json::parse(text).unwrap())
    }

    #[test]
    fn what_is_left_out_stays_and_null_clears() {
        let read = change(r#"{"events":null,"accounts":["a"],"description":"","previous_secret":null}"#).unwrap();
        assert_eq!((read.events, read.accounts), (Some(None), Some(Some(vec!["a".to_owned()]))));
        assert_eq!((read.description, read.previous_secret, read.enabled), (Some(None), true, None));
        let read = change("{}").unwrap();
        assert_eq!((read.events, read.description, read.previous_secret), (None, None, false));
    }

    #[test]
    fn faults_are_named_with_their_places() {
        for (text, path) in [
            (r#"{"url":null}"#, "/url"),
            (r#"{"enabled":null}"#, "/enabled"),
            (r#"{"enabled":"yes"}"#, "/enabled"),
            (r#"{"events":"message.*"}"#, "/events"),
            (r#"{"events":["a",1]}"#, "/events/1"),
            (r#"{"previous_secret":"whsec_x"}"#, "/previous_secret"),
            (r#"{"skip_missed":true}"#, "/skip_missed"),
            (r#"{"skip_missed":true,"enabled":false}"#, "/skip_missed"),
            (r#"{"evnts":[]}"#, "/evnts"),
            ("[]", ""),
        ] {
            let error = change(text).unwrap_err();
            assert_eq!((error.code(), error.errors()[0].path.as_str()), (Code::MalformedRequest, path), "{text}");
        }
        for text in ["{}", r#"{"url":null}"#] {
            let error = NewWebhookRequest::from_json(Json::parse(text).unwrap()).unwrap_err();
            assert_eq!((error.errors().len(), error.errors()[0].path.as_str()), (1, "/url"));
        }
    }
}
