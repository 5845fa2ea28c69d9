//! Messages as callers see them, and which status an outcome gets.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::attempt::{Attempt, HistoryEntry};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, MessageId};
use crate::domain::message::Message;
use crate::domain::state::{Lane, OnUnknown, State};
use crate::http::error::{ApiError, Code};
use crate::http::limits::LimitView;
use crate::services::accept::{Rehearsal, Warning};

/// A receipt that has not come after this time will hardly come.
const RECEIPT_DUE: Duration = Duration::from_secs(24 * 3600);

/// The answer to a send.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "message_id": "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "state": "sent", "account": "shop",
    "touser": "oABCD1234567890abcdefghijklmn", "errcode": 0, "errmsg": "ok", "msgid": "3487542469355618313",
    "attempts": 1, "warnings": []
}))]
pub struct SentView {
    #[schema(value_type = String)]
    pub message_id: MessageId,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    pub account: String,
    pub touser: String,
    /// Of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errmsg: Option<String>,
    /// WeChat's id of the push: 64 bits, so a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msgid: Option<String>,
    /// How many there were.
    pub attempts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<MessageId>,
    /// What WeChat takes but the caller may not mean.
    pub warnings: Vec<Warning>,
}

/// One message with everything that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView {
    #[schema(value_type = String, example = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub message_id: MessageId,
    pub state: State,
    /// Why it is in this state, when there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    pub account: String,
    pub client: String,
    pub touser: String,
    pub template_id: String,
    pub client_msg_id: String,
    pub priority: Lane,
    pub on_unknown: OnUnknown,
    /// Of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errmsg: Option<String>,
    /// WeChat's id of the push: 64 bits, so a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "3487542469355618313")]
    pub msgid: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// It is `sent`, and 24 h later there is still no receipt.
    pub receipt_overdue: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub batch_id: Option<BatchId>,
    pub attempts: Vec<Attempt>,
    pub history: Vec<HistoryEntry>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageList {
    /// Newest first.
    pub data: Vec<MessageView>,
    /// For `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

/// What a send would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct RehearsalView {
    /// Always true.
    pub dry_run: bool,
    /// The exact JSON that WeChat would get.
    #[schema(value_type = Object)]
    pub wechat_body: Box<RawValue>,
    pub warnings: Vec<Warning>,
    /// The limits as they stand; a dry run takes nothing from them.
    pub limits: Vec<LimitView>,
    /// How the account's token stands: `ready`, `missing` (none was asked for yet) or `failing`.
    pub token: String,
    /// When it would be sent, when not at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// Why so late: `quiet_hours`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<&'static str>,
}

impl SentView {
    pub fn of(message: Message, warnings: Vec<Warning>) -> Self {
        let last = message.attempts.last();
        Self {
            message_id: message.id,
            state: message.state,
            state_reason: message.state_reason,
            account: message.account,
            touser: message.touser.as_str().to_owned(),
            errcode: last.and_then(|attempt| attempt.errcode),
            errmsg: last.and_then(|attempt| attempt.errmsg.clone()),
            msgid: message.msgid,
            attempts: message.attempts.len(),
            next_attempt_at: message.next_attempt_at,
            retry_of: message.retry_of,
            warnings,
        }
    }
}

impl MessageView {
    pub fn of(message: Message, now: Timestamp) -> Self {
        let receipt_overdue = is_receipt_overdue(&message, now);
        let last = message.attempts.last();
        Self {
            message_id: message.id,
            state: message.state,
            state_reason: message.state_reason,
            account: message.account,
            client: message.client,
            touser: message.touser.as_str().to_owned(),
            template_id: message.template_id,
            client_msg_id: message.client_msg_id,
            priority: message.lane,
            on_unknown: message.on_unknown,
            errcode: last.and_then(|attempt| attempt.errcode),
            errmsg: last.and_then(|attempt| attempt.errmsg.clone()),
            msgid: message.msgid,
            created_at: message.created_at,
            updated_at: message.updated_at,
            send_at: message.send_at,
            expires_at: message.expires_at,
            next_attempt_at: message.next_attempt_at,
            receipt_overdue,
            metadata: message.metadata.and_then(|text| RawValue::from_string(text).ok()),
            retry_of: message.retry_of,
            batch_id: message.batch_id,
            attempts: message.attempts,
            history: message.history,
        }
    }
}

fn is_receipt_overdue(message: &Message, now: Timestamp) -> bool {
    let sent = message.history.iter().rev().find(|entry| entry.state == State::Sent);
    let sent_at = sent.map_or(message.updated_at, |entry| entry.at);
    message.state == State::Sent && now.since(sent_at) > RECEIPT_DUE
}

impl RehearsalView {
    pub fn of(rehearsal: Rehearsal) -> Result<Self, ApiError> {
        // The service made this text itself: if it is no JSON, the fault is ours.
        let wechat_body = RawValue::from_string(rehearsal.wechat_body).map_err(|_| ApiError::internal())?;
        Ok(Self {
            dry_run: true,
            wechat_body,
            warnings: rehearsal.warnings,
            limits: rehearsal.limits.iter().map(LimitView::of).collect(),
            token: rehearsal.token,
            send_at: rehearsal.send_at,
            state_reason: rehearsal.wait_reason,
        })
    }
}

/// The status of a message that was kept: 200 WeChat has it, 202 it is under way, a problem: nothing more will be sent.
pub fn status_of(message: &Message) -> Result<StatusCode, ApiError> {
    match message.state {
        State::Sent | State::Delivered | State::Undelivered => Ok(StatusCode::OK),
        State::Scheduled | State::Queued | State::Sending | State::Unknown => Ok(StatusCode::ACCEPTED),
        State::Rejected => Err(ApiError::of_message(refusal(message), message)),
        State::Failed | State::Expired | State::Canceled => Err(ApiError::of_message(Code::DeliveryFailed, message)),
    }
}

/// A rejected message names its code in `state_reason`.
fn refusal(message: &Message) -> Code {
    match message.state_reason.as_deref().and_then(Code::parse) {
        Some(code @ (Code::RecipientRefused | Code::AccountRefused)) => code,
        _ => Code::MessageRefused,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::attempt::AttemptOutcome;
    use crate::domain::secret::Openid;

    pub(in crate::http::api) fn message(state: State) -> Message {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Message {
            id: MessageId::parse("msg_01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
            account: "shop".to_owned(),
            client: "orders".to_owned(),
            touser: Openid::parse("oABC").unwrap(),
            template_id: "TPL".to_owned(),
            body: "{}".to_owned(),
            client_msg_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
            lane: Lane::Normal,
            on_unknown: OnUnknown::Retry,
            state,
            state_reason: None,
            msgid: Some("3487542469355618313".to_owned()),
            created_at: at,
            updated_at: at,
            send_at: None,
            expires_at: at.plus(RECEIPT_DUE),
            next_attempt_at: None,
            metadata: Some(r#"{"order":"7"}"#.to_owned()),
            retry_of: None,
            batch_id: None,
            attempts: vec![Attempt {
                at,
                duration_ms: 41,
                errcode: Some(0),
                errmsg: Some("ok".to_owned()),
                rid: None,
                outcome: AttemptOutcome::Accepted,
            }],
            history: vec![HistoryEntry { state, at, reason: None }],
        }
    }

    #[test]
    fn the_answer_to_a_send_is_as_promised() {
        let view = SentView::of(message(State::Sent), Vec::new());
        insta::assert_json_snapshot!(view, @r#"
        {
          "message_id": "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV",
          "state": "sent",
          "account": "shop",
          "touser": "oABC",
          "errcode": 0,
          "errmsg": "ok",
          "msgid": "3487542469355618313",
          "attempts": 1,
          "warnings": []
        }
        "#);
    }

    #[test]
    fn a_view_has_attempts_history_and_metadata() {
        let message = message(State::Sent);
        let now = message.updated_at;
        let view = serde_json::to_value(MessageView::of(message.clone(), now)).unwrap();
        assert_eq!(view["attempts"][0]["duration_ms"], 41);
        assert_eq!(view["history"][0]["state"], "sent");
        assert_eq!(view["metadata"], serde_json::json!({"order": "7"}));
        assert_eq!((&view["msgid"], &view["receipt_overdue"]), (&"3487542469355618313".into(), &false.into()));
        let later = MessageView::of(message, now.plus(RECEIPT_DUE + Duration::from_secs(1)));
        assert!(later.receipt_overdue);
    }

    #[test]
    fn every_state_has_its_status() {
        for state in State::ALL {
            let status = status_of(&message(state)).map_err(|error| error.code());
            let expected = match state {
                State::Sent | State::Delivered | State::Undelivered => Ok(StatusCode::OK),
                State::Rejected => Err(Code::MessageRefused),
                State::Failed | State::Expired | State::Canceled => Err(Code::DeliveryFailed),
                _ => Ok(StatusCode::ACCEPTED),
            };
            assert_eq!(status, expected, "{state:?}");
        }
        for code in [Code::RecipientRefused, Code::MessageRefused, Code::AccountRefused] {
            let rejected = Message { state_reason: Some(code.as_str().to_owned()), ..message(State::Rejected) };
            assert_eq!(status_of(&rejected).unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_rejected_message_tells_what_wechat_said() {
        let mut rejected = message(State::Rejected);
        rejected.state_reason = Some("recipient_refused".to_owned());
        rejected.attempts[0].errcode = Some(43004);
        rejected.attempts[0].errmsg = Some("require subscribe".to_owned());
        let text = status_of(&rejected).unwrap_err().render("r");
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["message_id"], "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(problem["upstream"]["errcode"], 43004);
        assert_eq!(problem["detail"], "the message is rejected: 43004 require subscribe");
    }

    #[test]
    fn a_rehearsal_embeds_the_body_as_it_is() {
        let rehearsal = Rehearsal {
            wechat_body: r#"{"touser":"o","n":12.30}"#.to_owned(),
            warnings: Vec::new(),
            limits: Vec::new(),
            token: "ready".to_owned(),
            send_at: None,
            wait_reason: None,
        };
        let text = serde_json::to_string(&RehearsalView::of(rehearsal).unwrap()).unwrap();
        let expected =
            r#"{"dry_run":true,"wechat_body":{"touser":"o","n":12.30},"warnings":[],"limits":[],"token":"ready"}"#;
        assert_eq!(text, expected);
    }
}
