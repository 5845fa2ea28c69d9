//! What a request changes of an account, in the manner of a JSON merge patch (RFC 7396): what is not named stays, null clears,
//! tables are merged key by key.

use std::collections::BTreeMap;

use super::{AccountSettings, CallbackMode, SecretField, TokenApi};
use crate::domain::relay::RelayOptions;
use crate::domain::secret::Secret;
use crate::domain::state::OnUnknown;

/// Not named; null; a value.
pub type Patch<T> = Option<Option<T>>;
/// Of a table of texts: null clears it, or one of its keys.
pub type TextsChange = Patch<BTreeMap<String, Option<String>>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    pub app_id: Patch<String>,
    /// Those that are named.
    pub secrets: BTreeMap<SecretField, Option<Secret>>,
    pub mode: Patch<CallbackMode>,
    pub token_api: Patch<TokenApi>,
    pub base_url: Patch<String>,
    pub on_unknown: Patch<OnUnknown>,
    pub daily_quota: Patch<u64>,
    pub quiet_hours: Patch<String>,
    pub quiet_hours_zone: Patch<String>,
    pub templates: TextsChange,
    pub replies: Patch<RepliesChange>,
    /// As a whole.
    pub relay: Patch<RelayOptions>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepliesChange {
    pub subscribe: Patch<String>,
    pub keywords: TextsChange,
    pub default: Patch<String>,
}

impl AccountChange {
    /// What comes of it. A new `token` or `encoding_aes_key` moves the old one to `previous_…`, and one that is cleared
    /// takes its previous one along, unless the change names that itself.
    pub fn apply(&self, before: &AccountSettings) -> AccountSettings {
        let mut after = before.clone();
        patch(&mut after.app_id, &self.app_id);
        for (field, secret) in &self.secrets {
            let old = before.secrets.get(*field);
            after.secrets.set(*field, secret.clone());
            let Some(previous) = field.previous().filter(|previous| !self.secrets.contains_key(previous)) else {
                continue;
            };
            match (old, secret) {
                (Some(old), Some(new)) if old != new => after.secrets.set(previous, Some(old.clone())),
                (_, None) => after.secrets.set(previous, None),
                _ => {}
            }
        }
        let options = &mut after.options;
        patch(&mut options.mode, &self.mode);
        patch(&mut options.token_api, &self.token_api);
        set(&mut options.base_url, &self.base_url);
        patch(&mut options.on_unknown, &self.on_unknown);
        set(&mut options.daily_quota, &self.daily_quota);
        set(&mut options.quiet_hours, &self.quiet_hours);
        set(&mut options.quiet_hours_zone, &self.quiet_hours_zone);
        merge(&mut options.templates, &self.templates);
        match &self.replies {
            None => {}
            Some(None) => options.replies = Default::default(),
            Some(Some(replies)) => {
                for (text, change) in [
                    (&mut options.replies.subscribe, &replies.subscribe),
                    (&mut options.replies.default, &replies.default),
                ] {
                    set(text, change);
                }
                merge(&mut options.replies.keywords, &replies.keywords);
            }
        }
        set(&mut options.relay, &self.relay);
        after
    }
}

impl AccountSettings {
    /// The names of the fields in which `after` differs.
    pub fn differences(&self, after: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.options, &after.options);
        let options = [
            ("app_id", self.app_id != after.app_id),
            ("mode", old.mode != new.mode),
            ("token_api", old.token_api != new.token_api),
            ("base_url", old.base_url != new.base_url),
            ("on_unknown", old.on_unknown != new.on_unknown),
            ("daily_quota", old.daily_quota != new.daily_quota),
            ("quiet_hours", old.quiet_hours != new.quiet_hours),
            ("quiet_hours_zone", old.quiet_hours_zone != new.quiet_hours_zone),
            ("templates", old.templates != new.templates),
            ("replies", old.replies != new.replies),
            ("relay", old.relay != new.relay),
        ];
        let secrets =
            SecretField::ALL.map(|field| (field.as_str(), self.secrets.get(field) != after.secrets.get(field)));
        options.into_iter().chain(secrets).filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

fn patch<T: Clone + Default>(value: &mut T, change: &Patch<T>) {
    if let Some(change) = change {
        *value = change.clone().unwrap_or_default();
    }
}

fn set<T: Clone>(value: &mut Option<T>, change: &Patch<T>) {
    if let Some(change) = change {
        value.clone_from(change);
    }
}

fn merge(texts: &mut BTreeMap<String, String>, change: &TextsChange) {
    match change {
        None => {}
        Some(None) => texts.clear(),
        Some(Some(change)) => {
            for (name, text) in change {
                match text {
                    Some(text) => texts.insert(name.clone(), text.clone()),
                    None => texts.remove(name),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(secrets: &[(SecretField, &str)]) -> AccountSettings {
        let mut settings = AccountSettings::default();
        secrets.iter().for_each(|(field, text)| settings.secrets.set(*field, Some(Secret::new(*text))));
        settings
    }

    fn change(secrets: &[(SecretField, Option<&str>)]) -> AccountChange {
        let secrets = secrets.iter().map(|(field, text)| (*field, text.map(Secret::new))).collect();
        AccountChange { secrets, ..AccountChange::default() }
    }

    #[test]
    fn a_new_token_keeps_the_old_one_beside_it() {
        use SecretField::{EncodingAesKey, PreviousEncodingAesKey, PreviousToken, Token};
        let before = with(&[(Token, "one"), (EncodingAesKey, "k1")]);
        let rotated = change(&[(Token, Some("two"))]).apply(&before);
        assert_eq!(rotated, with(&[(Token, "two"), (PreviousToken, "one"), (EncodingAesKey, "k1")]));
        assert_eq!(before.differences(&rotated), ["token", "previous_token"]);
        // The same once more is no rotation: the previous one would be lost.
        assert_eq!(change(&[(Token, Some("two"))]).apply(&rotated), rotated);
        let given = change(&[(Token, Some("three")), (PreviousToken, None)]).apply(&rotated);
        assert_eq!(given, with(&[(Token, "three"), (EncodingAesKey, "k1")]));
        let both = change(&[(EncodingAesKey, Some("k2"))]).apply(&rotated);
        assert_eq!(both.secrets.get(PreviousEncodingAesKey), Some(&Secret::new("k1")));
        assert_eq!(change(&[(Token, None)]).apply(&rotated), with(&[(EncodingAesKey, "k1")]));
    }

    #[test]
    fn tables_are_merged_and_null_clears() {
        let texts = |pairs: &[(&str, Option<&str>)]| {
            Some(Some(pairs.iter().map(|(name, text)| ((*name).to_owned(), text.map(str::to_owned))).collect()))
        };
        let mut settings = AccountSettings::default();
        settings.options.mode = CallbackMode::Plain;
        let change = AccountChange {
            templates: texts(&[("a", Some("1")), ("b", Some("2"))]),
            replies: Some(Some(RepliesChange { default: Some(Some("hi".to_owned())), ..Default::default() })),
            ..AccountChange::default()
        };
        let one = change.apply(&settings);
        let change = AccountChange {
            templates: texts(&[("a", None), ("c", Some("3"))]),
            mode: Some(None),
            ..AccountChange::default()
        };
        let two = change.apply(&one);
        assert_eq!(two.options.templates.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!((two.options.mode, two.options.replies.default.as_deref()), (CallbackMode::Safe, Some("hi")));
        let three = AccountChange { templates: Some(None), replies: Some(None), ..AccountChange::default() };
        assert_eq!(three.apply(&two), AccountSettings::default());
    }
}
