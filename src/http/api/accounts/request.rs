//! The bodies that make and change an account → [`AccountChange`].

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::relay::{self, RelayView};
use crate::domain::account::{AccountChange, CallbackMode, Patch, RepliesChange, SecretField, TextsChange, TokenApi};
use crate::domain::relay::RelayOptions;
use crate::domain::secret::Secret;
use crate::domain::state::OnUnknown;
use crate::http::error::ApiError;
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{FromJson, Json, push};

/// A new account: its name and its fields.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "name": "branch", "app_id": "wx0123456789abcdef", "app_secret": "as-the-console-shows-it", "token": "atoken1",
    "encoding_aes_key": "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "templates": {"order_paid": "TPL"}
}))]
pub struct NewAccount {
    /// 1 to 64 of a-z 0-9 - _; the callback URL is /wechat/{name}.
    #[schema(example = "shop")]
    pub name: String,
    #[serde(flatten)]
    #[schema(inline)]
    pub fields: AccountFields,
}

/// As in `[accounts.<name>]` of the configuration. What is left out stays as it is (or is the default); null clears.
#[derive(Debug, Default, ToSchema)]
#[schema(example = json!({"token": "atoken2", "templates": {"order_paid": "TPL", "old": null}}))]
pub struct AccountFields {
    /// Cannot be changed.
    #[schema(value_type = Option<String>, example = "wx0123456789abcdef")]
    pub app_id: Patch<String>,
    #[schema(value_type = Option<String>, format = Password)]
    pub app_secret: Patch<Secret>,
    /// Of the callback URL: 3 to 32 letters and digits.
    #[schema(value_type = Option<String>, format = Password)]
    pub token: Patch<Secret>,
    /// 43 letters and digits.
    #[schema(value_type = Option<String>, format = Password)]
    pub encoding_aes_key: Patch<Secret>,
    #[schema(value_type = Option<String>, format = Password)]
    pub previous_token: Patch<Secret>,
    #[schema(value_type = Option<String>, format = Password)]
    pub previous_encoding_aes_key: Patch<Secret>,
    #[schema(value_type = Option<CallbackMode>)]
    pub mode: Patch<CallbackMode>,
    #[schema(value_type = Option<TokenApi>)]
    pub token_api: Patch<TokenApi>,
    /// Null: `wechat.base_url`.
    #[schema(value_type = Option<String>, example = "https://api.weixin.qq.com")]
    pub base_url: Patch<String>,
    #[schema(value_type = Option<OnUnknown>)]
    pub on_unknown: Patch<OnUnknown>,
    /// Messages a day at most; null: what WeChat allows.
    #[schema(value_type = Option<u64>, example = 90000)]
    pub daily_quota: Patch<u64>,
    #[schema(value_type = Option<String>, example = "22:00-08:00")]
    pub quiet_hours: Patch<String>,
    /// Null: Asia/Shanghai.
    #[schema(value_type = Option<String>, example = "Asia/Shanghai")]
    pub quiet_hours_zone: Patch<String>,
    /// Short name → WeChat's template id; null takes one out.
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub templates: TextsChange,
    #[schema(value_type = Option<RepliesFields>)]
    pub replies: Patch<RepliesChange>,
    /// Null: none.
    #[schema(value_type = Option<RelayView>)]
    pub relay: Patch<RelayOptions>,
}

/// Answers to what users write.
#[derive(Debug, Default, ToSchema)]
pub struct RepliesFields {
    pub subscribe: Option<String>,
    /// Exact text → answer; null takes one out.
    pub keywords: Option<BTreeMap<String, Option<String>>>,
    pub default: Option<String>,
}

impl FromJson for NewAccount {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let Some(mut fields) = Fields::open(json, "", &mut faults) else {
            faults.check()?;
            return Err(ApiError::internal());
        };
        let name = fields.string("name", &mut faults).unwrap_or_default();
        let read = AccountFields::read(&mut fields, &mut faults);
        fields.close(&mut faults);
        faults.check()?;
        Ok(Self { name, fields: read })
    }
}

impl FromJson for AccountFields {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let read = Fields::open(json, "", &mut faults).map(|mut fields| {
            let read = Self::read(&mut fields, &mut faults);
            fields.close(&mut faults);
            read
        });
        faults.check()?;
        Ok(read.unwrap_or_default())
    }
}

impl AccountFields {
    fn read(fields: &mut Fields, faults: &mut Faults) -> Self {
        let mut secret = |name| text(fields, name, faults).map(|text| text.map(Secret::new));
        let [app_secret, token, encoding_aes_key, previous_token, previous_encoding_aes_key] =
            SecretField::ALL.map(|field| secret(field.as_str()));
        Self {
            app_id: text(fields, "app_id", faults),
            app_secret,
            token,
            encoding_aes_key,
            previous_token,
            previous_encoding_aes_key,
            mode: choice(fields, "mode", &CallbackMode::ALL.map(CallbackMode::as_str), CallbackMode::parse, faults),
            token_api: choice(fields, "token_api", &TokenApi::ALL.map(TokenApi::as_str), TokenApi::parse, faults),
            base_url: text(fields, "base_url", faults),
            on_unknown: choice(fields, "on_unknown", &["retry", "hold"], OnUnknown::parse, faults),
            daily_quota: number(fields, "daily_quota", faults),
            quiet_hours: text(fields, "quiet_hours", faults),
            quiet_hours_zone: text(fields, "quiet_hours_zone", faults),
            templates: texts(fields, "templates", faults),
            replies: replies(fields, faults),
            relay: relay::read(fields, faults),
        }
    }

    pub fn into_change(self) -> AccountChange {
        let secrets =
            [self.app_secret, self.token, self.encoding_aes_key, self.previous_token, self.previous_encoding_aes_key];
        let named = SecretField::ALL.into_iter().zip(secrets);
        AccountChange {
            app_id: self.app_id,
            secrets: named.filter_map(|(field, secret)| Some((field, secret?))).collect(),
            mode: self.mode,
            token_api: self.token_api,
            base_url: self.base_url,
            on_unknown: self.on_unknown,
            daily_quota: self.daily_quota,
            quiet_hours: self.quiet_hours,
            quiet_hours_zone: self.quiet_hours_zone,
            templates: self.templates,
            replies: self.replies,
            relay: self.relay,
        }
    }
}

/// An empty text is as good as null, as it is in the configuration.
fn text(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> Patch<String> {
    match fields.patch(name)? {
        Json::Null => Some(None),
        Json::String(text) => Some(Some(text).filter(|text| !text.is_empty())),
        other => {
            wrong_type(faults, &fields.path_of(name), "a string or null", &other);
            None
        }
    }
}

fn number(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> Patch<u64> {
    let value = fields.patch(name)?;
    match &value {
        Json::Null => return Some(None),
        Json::Number(digits) => {
            if let Ok(number) = digits.parse() {
                return Some(Some(number));
            }
        }
        _ => {}
    }
    wrong_type(faults, &fields.path_of(name), "a whole number or null", &value);
    None
}

fn choice<T>(
    fields: &mut Fields,
    name: &'static str,
    words: &[&str],
    parse: impl FnOnce(&str) -> Option<T>,
    faults: &mut Faults,
) -> Patch<T> {
    if fields.is_null(name) {
        fields.take(name);
        return Some(None);
    }
    fields.choice(name, words, parse, faults).map(Some)
}

fn texts(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> TextsChange {
    let members = match fields.patch(name)? {
        Json::Null => return Some(None),
        Json::Object(members) => members,
        other => {
            wrong_type(faults, &fields.path_of(name), "an object or null", &other);
            return None;
        }
    };
    let mut texts = BTreeMap::new();
    for (key, value) in members {
        let text = match value {
            Json::Null => None,
            Json::String(text) => Some(text),
            other => {
                let mut path = fields.path_of(name);
                push(&mut path, &key);
                wrong_type(faults, &path, "a string or null", &other);
                continue;
            }
        };
        texts.insert(key, text);
    }
    Some(Some(texts))
}

fn replies(fields: &mut Fields, faults: &mut Faults) -> Patch<RepliesChange> {
    if fields.is_null("replies") {
        fields.take("replies");
        return Some(None);
    }
    let mut inner = fields.object("replies", faults)?;
    let replies = RepliesChange {
        subscribe: text(&mut inner, "subscribe", faults),
        keywords: texts(&mut inner, "keywords", faults),
        default: text(&mut inner, "default", faults),
    };
    inner.close(faults);
    Some(Some(replies))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let error = AccountFields::from_json(Json::parse(text).unwrap()).unwrap_err();
        error.errors().iter().map(|fault| fault.path.clone()).collect()
    }

    #[test]
    fn what_is_not_named_is_told_from_null() {
        let json = r#"{"token":null,"app_secret":"s","mode":null,"templates":{"a":null,"b":"TPL"},"base_url":"",
            "replies":{"default":"hi"}}"#;
        let change = AccountFields::from_json(Json::parse(json).unwrap()).unwrap().into_change();
        let expected = AccountChange {
            secrets: [(SecretField::AppSecret, Some(Secret::new("s"))), (SecretField::Token, None)].into(),
            mode: Some(None),
            base_url: Some(None),
            templates: Some(Some([("a".to_owned(), None), ("b".to_owned(), Some("TPL".to_owned()))].into())),
            replies: Some(Some(RepliesChange { default: Some(Some("hi".to_owned())), ..Default::default() })),
            ..AccountChange::default()
        };
        assert_eq!(change, expected);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let text =
            r#"{"app_id":7,"mode":"open","templates":{"a/b":[]},"replies":{"x":1},"app_secret_file":"/etc/passwd"}"#;
        assert_eq!(faults(text), ["/app_id", "/mode", "/templates/a~1b", "/replies/x", "/app_secret_file"]);
        assert_eq!(faults("[]"), [""]);
    }
}
