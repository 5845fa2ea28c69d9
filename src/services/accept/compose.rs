//! From what a caller asks for to a message that is good in itself.

use super::{Accept, AcceptError, ENDPOINT, FieldError, SendInput, Warning, check};
use crate::domain::account::Account;
use crate::domain::caller::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::ids::MessageId;
use crate::domain::message::{IdempotencyKey, NewMessage};
use crate::domain::secret::Openid;
use crate::store::Accepted;
use crate::wechat::send::{TemplateMessage, template_body};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A send that has passed every check.
pub(super) struct Checked {
    pub(super) message: NewMessage,
    /// A hash of what the person would read.
    pub(super) content: u64,
    pub(super) warnings: Vec<Warning>,
}

impl Accept {
    pub(super) async fn check(&self, caller: &Caller, input: SendInput) -> Result<Checked, AcceptError> {
        let account = self.account_for(caller, &input)?;
        let template_id = account.templates.get(&input.template_id).unwrap_or(&input.template_id).clone();
        if !caller.may_use_template(&input.template_id) && !self.may_use_template(caller, &account.name, &template_id) {
            return Err(AcceptError::Forbidden {
                detail: format!("the key may not use template {}", input.template_id),
            });
        }
        let mut errors = Vec::new();
        check::content(&input, &mut errors);
        let mut warnings = input.warnings.clone();
        let openid = self.recipient(caller, &account, &input, &mut errors, &mut warnings).await?;
        let now = self.clock.now();
        let times = match check::times(&input, self.default_ttl, now) {
            Ok(times) => Some(times),
            Err(check::TimesError::Invalid(error)) => {
                errors.push(error);
                None
            }
            Err(check::TimesError::WouldExpire(detail)) if errors.is_empty() => {
                return Err(AcceptError::WouldExpire { detail });
            }
            Err(check::TimesError::WouldExpire(_)) => None,
        };
        match (openid, times) {
            (Some(touser), Some(times)) if errors.is_empty() => {
                warnings.extend(check::warnings(&input));
                if input.strict && !warnings.is_empty() {
                    return Err(AcceptError::Invalid(warnings.into_iter().map(FieldError::from).collect()));
                }
                let content = content_hash(&input, &template_id);
                let message = new_message(caller, &account, input, touser, template_id, times, now);
                Ok(Checked { message, content, warnings })
            }
            _ => Err(AcceptError::Invalid(errors)),
        }
    }

    /// The named account; else the one that the key leaves; else the only one.
    pub(super) fn account_for(&self, caller: &Caller, input: &SendInput) -> Result<Arc<Account>, AcceptError> {
        let found = match (&input.account, caller.accounts.as_deref()) {
            (Some(name), _) => self.accounts.look_up(name),
            (None, Some([one])) => self.accounts.look_up(one),
            (None, _) => self.accounts.only(),
        };
        if let Some(account) = found
            && caller.may_use_account(&account.name)
        {
            return Ok(account);
        }
        match &input.account {
            Some(name) => Err(AcceptError::UnknownAccount { detail: format!("there is no account {name:?}") }),
            None => Err(AcceptError::UnknownAccount {
                detail: "name the account: neither the key nor the configuration leaves exactly one".to_owned(),
            }),
        }
    }

    pub(super) async fn recipient(
        &self,
        caller: &Caller,
        account: &Account,
        input: &SendInput,
        errors: &mut Vec<FieldError>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<Openid>, AcceptError> {
        match (&input.touser, &input.user_id) {
            (Some(text), None) => Ok(check::openid(text, errors)),
            (None, Some(user_id)) => {
                if !check::user_id(user_id, errors) {
                    return Ok(None);
                }
                let Some(user) = self.users.by_user_id(&account.name, user_id).await? else {
                    // A repeat gets its message as ever, whoever is bound to what since.
                    let earlier = self.receiver_of_the_first(caller, input).await?;
                    return earlier.map(Some).ok_or_else(|| AcceptError::UnknownUser {
                        detail: format!("no user of account {} is bound to this user_id", account.name),
                    });
                };
                if user.subscribed == Some(false) {
                    let detail = "this person has left the account: WeChat will probably refuse (43004)".to_owned();
                    warnings.push(Warning { path: "/user_id".to_owned(), code: "unsubscribed", detail });
                }
                Ok(Some(user.openid))
            }
            _ => {
                errors.push(FieldError {
                    path: "/touser".to_owned(),
                    code: "missing",
                    detail: "name the recipient: either touser (openid) or user_id".to_owned(),
                });
                Ok(None)
            }
        }
    }

    /// To whom the request with this key was sent when it came first.
    async fn receiver_of_the_first(&self, caller: &Caller, input: &SendInput) -> Result<Option<Openid>, AcceptError> {
        let Some(key) = idempotency_of(caller, input) else { return Ok(None) };
        match self.outbox.known(&key).await? {
            Some(Accepted::Replay { message_id }) => {
                Ok(self.messages.look_up(message_id).await?.map(|message| message.touser))
            }
            Some(Accepted::Mismatch { message_id }) => Err(AcceptError::IdempotencyMismatch { message_id }),
            Some(Accepted::New) | None => Ok(None),
        }
    }
}

fn idempotency_of(caller: &Caller, input: &SendInput) -> Option<IdempotencyKey> {
    let key = input.idempotency_key.clone().or_else(|| input.client_msg_id.clone())?;
    let (client, body_hash) = (caller.client.clone(), input.body_hash.clone());
    Some(IdempotencyKey { client, endpoint: ENDPOINT, key, body_hash })
}

/// Of what the person would read; the same in every process.
pub(super) fn content_hash(input: &SendInput, template_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (template_id, &input.data, &input.url, &input.miniprogram).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn new_message(
    caller: &Caller,
    account: &Account,
    input: SendInput,
    touser: Openid,
    template_id: String,
    times: check::Times,
    now: Timestamp,
) -> NewMessage {
    let id = input.message_id.unwrap_or_else(|| MessageId::generate(now));
    let idempotency = idempotency_of(caller, &input);
    let client_msg_id = input.client_msg_id.clone().unwrap_or_else(|| id.body());
    let data: Vec<_> = input.data.into_iter().map(|(name, keyword)| (name, keyword.value, keyword.color)).collect();
    let program = input.miniprogram.as_ref();
    let body = template_body(&TemplateMessage {
        touser: touser.as_str(),
        template_id: &template_id,
        url: input.url.as_deref(),
        miniprogram: program.map(|program| (program.appid.as_str(), program.pagepath.as_deref())),
        client_msg_id: &client_msg_id,
        data: &data,
    });
    NewMessage {
        id,
        account: account.name.clone(),
        client: caller.client.as_str().into(),
        touser,
        template_id,
        body,
        client_msg_id,
        lane: input.lane,
        on_unknown: input.on_unknown.unwrap_or(account.on_unknown),
        created_at: now,
        send_at: times.send_at,
        wait_reason: None,
        expires_at: times.expires_at,
        metadata: metadata_text(&input.metadata),
        retry_of: None,
        batch_id: input.batch_id,
        idempotency,
        trace: input.trace,
    }
}

pub(super) fn metadata_text(metadata: &[(String, String)]) -> Option<String> {
    if metadata.is_empty() {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> =
        metadata.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    Some(serde_json::Value::Object(object).to_string())
}
