//! Every error code of the API: one closed list that feeds the answers, the pages under `/problems`, the OpenAPI
//! document and the table in the docs.

use http::StatusCode;

/// What went wrong, as callers read it. The text of a code never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    MalformedRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    PayloadTooLarge,
    RequestTimeout,
    AlreadySending,
    IdempotencyInProgress,
    AccountConflict,
    WebhookConflict,
    InvalidMessage,
    InvalidAccount,
    InvalidWebhook,
    UnknownAccount,
    UnknownUser,
    IdempotencyMismatch,
    WouldExpire,
    RecipientRefused,
    MessageRefused,
    AccountRefused,
    DeliveryFailed,
    RateLimited,
    Overloaded,
    StorageUnavailable,
    TokenUnavailable,
    ShuttingDown,
    Internal,
}

/// What is told about a code.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    pub text: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    pub cause: &'static str,
    pub cure: &'static str,
    /// The same request may succeed later without a change.
    pub retryable: bool,
}

impl Code {
    pub const ALL: [Self; 29] = [
        Self::MalformedRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::PayloadTooLarge,
        Self::RequestTimeout,
        Self::AlreadySending,
        Self::IdempotencyInProgress,
        Self::AccountConflict,
        Self::WebhookConflict,
        Self::InvalidMessage,
        Self::InvalidAccount,
        Self::InvalidWebhook,
        Self::UnknownAccount,
        Self::UnknownUser,
        Self::IdempotencyMismatch,
        Self::WouldExpire,
        Self::RecipientRefused,
        Self::MessageRefused,
        Self::AccountRefused,
        Self::DeliveryFailed,
        Self::RateLimited,
        Self::Overloaded,
        Self::StorageUnavailable,
        Self::TokenUnavailable,
        Self::ShuttingDown,
        Self::Internal,
    ];

    pub const fn as_str(self) -> &'static str {
        self.meaning().text
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    pub const fn status(self) -> StatusCode {
        self.meaning().status
    }

    pub const fn meaning(self) -> Meaning {
        match self {
            Self::MalformedRequest => Meaning {
                text: "malformed_request",
                status: StatusCode::BAD_REQUEST,
                title: "The request cannot be read",
                cause: "The body is not JSON, a field is unknown, doubled or of the wrong type, or a query parameter or header is not legal.",
                cure: "Correct what `errors` names; each entry has the place as a JSON pointer.",
                retryable: false,
            },
            Self::Unauthenticated => Meaning {
                text: "unauthenticated",
                status: StatusCode::UNAUTHORIZED,
                title: "No valid key, token or signature",
                cause: "None came, or it is unknown, wrong, expired or revoked; of a signed request: its time is more than 300 seconds off, or its nonce was used before.",
                cure: "Send a valid key in `Authorization: Bearer wxg_…`; `wxgate key create` makes one. A signed request is signed anew for every try; compare your clock with the header `Date` of this answer.",
                retryable: false,
            },
            Self::Forbidden => Meaning {
                text: "forbidden",
                status: StatusCode::FORBIDDEN,
                title: "The key does not allow this",
                cause: "The key lacks the scope, or is not meant for this account or template.",
                cure: "Use another key, or ask the operator to widen this one.",
                retryable: false,
            },
            Self::NotFound => Meaning {
                text: "not_found",
                status: StatusCode::NOT_FOUND,
                title: "There is no such thing",
                cause: "The path is unknown, or the id belongs to nothing that this key may see.",
                cure: "Check the path and the id.",
                retryable: false,
            },
            Self::MethodNotAllowed => Meaning {
                text: "method_not_allowed",
                status: StatusCode::METHOD_NOT_ALLOWED,
                title: "The path exists, but not for this method",
                cause: "For example a GET where only POST is served.",
                cure: "Use a method that the header `Allow` names.",
                retryable: false,
            },
            Self::UnsupportedMediaType => Meaning {
                text: "unsupported_media_type",
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                title: "The body is not declared as JSON",
                cause: "The header `Content-Type` is missing or is not `application/json`, or the body is compressed.",
                cure: "Send `Content-Type: application/json`, in UTF-8, without a `Content-Encoding`.",
                retryable: false,
            },
            Self::PayloadTooLarge => Meaning {
                text: "payload_too_large",
                status: StatusCode::PAYLOAD_TOO_LARGE,
                title: "The body is too large",
                cause: "The body has more bytes than `server.body_limit` allows.",
                cure: "Send less in one request.",
                retryable: false,
            },
            Self::RequestTimeout => Meaning {
                text: "request_timeout",
                status: StatusCode::REQUEST_TIMEOUT,
                title: "The body did not arrive in time",
                cause: "The connection stalled while the body was read. Nothing was done.",
                cure: "Send the request again, on a new connection.",
                retryable: true,
            },
            Self::AlreadySending => Meaning {
                text: "already_sending",
                status: StatusCode::CONFLICT,
                title: "The state of the message does not allow this",
                cause: "Only messages that wait can be canceled; only messages that ended without success can be retried; only unknown ones can be resolved.",
                cure: "Read the message: `GET /v1/messages/{id}`.",
                retryable: false,
            },
            Self::IdempotencyInProgress => Meaning {
                text: "idempotency_in_progress",
                status: StatusCode::CONFLICT,
                title: "The same request is being accepted",
                cause: "Another request with this idempotency key has not been answered yet.",
                cure: "Send it again after the time in `Retry-After`.",
                retryable: true,
            },
            Self::AccountConflict => Meaning {
                text: "account_conflict",
                status: StatusCode::CONFLICT,
                title: "The account clashes with what is there",
                cause: "The name or the `app_id` is taken, the account stands in the configuration, or messages of it are under way; `detail` tells which.",
                cure: "Take another name, change the configuration, or wait until its messages have ended.",
                retryable: false,
            },
            Self::WebhookConflict => Meaning {
                text: "webhook_conflict",
                status: StatusCode::CONFLICT,
                title: "The webhook does not allow this now",
                cause: "It stands in the configuration, is being rotated already, or its secret cannot be opened; or the delivery is pending; `detail` tells which.",
                cure: "Change the configuration, drop the old secret, or wait.",
                retryable: false,
            },
            Self::InvalidMessage => Meaning {
                text: "invalid_message",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The message is not valid",
                cause: "The request can be read, but the message breaks a rule. Nothing was stored.",
                cure: "Correct what `errors` names.",
                retryable: false,
            },
            Self::InvalidAccount => Meaning {
                text: "invalid_account",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The account is not valid",
                cause: "It can be read, but breaks a rule of the configuration.",
                cure: "Correct what `errors` names; each entry has the place as a JSON pointer.",
                retryable: false,
            },
            Self::InvalidWebhook => Meaning {
                text: "invalid_webhook",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The webhook is not valid",
                cause: "It can be read, but its URL, secret, events or accounts break a rule.",
                cure: "Correct what `errors` names; each entry has the place as a JSON pointer.",
                retryable: false,
            },
            Self::UnknownAccount => Meaning {
                text: "unknown_account",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The account is not known",
                cause: "`account` names none that this key may use, or it is missing and more than one is possible.",
                cure: "Name one of the configured accounts.",
                retryable: false,
            },
            Self::UnknownUser => Meaning {
                text: "unknown_user",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The user id is not bound",
                cause: "No openid of this account is bound to `user_id`.",
                cure: "Bind it with `PUT /v1/accounts/{account}/users/{openid}`, or send `touser`.",
                retryable: false,
            },
            Self::IdempotencyMismatch => Meaning {
                text: "idempotency_mismatch",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The idempotency key was used for another message",
                cause: "The same key came before with another body; `message_id` is the message of that request.",
                cure: "Use a new key for a new message, and the same body for a repeat.",
                retryable: false,
            },
            Self::WouldExpire => Meaning {
                text: "would_expire",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "The message would expire before it could be sent",
                cause: "`expires_at` lies in the past, before `send_at`, or before the end of the account's quiet hours.",
                cure: "Send a later `expires_at`, or none.",
                retryable: false,
            },
            Self::RecipientRefused => Meaning {
                text: "recipient_refused",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "WeChat refuses this recipient",
                cause: "The user does not follow the account, has blocked it, or the openid is of another account. With a `message_id`, WeChat said so now, and the message is `rejected`; without one it has said so before, and nothing was stored.",
                cure: "Do not send to this recipient again before they follow the account. Until something says that they can be reached, sends to them are refused: `GET /v1/accounts/{account}/suppressions` lists them, `DELETE …/{openid}` lets WeChat be asked again.",
                retryable: false,
            },
            Self::MessageRefused => Meaning {
                text: "message_refused",
                status: StatusCode::UNPROCESSABLE_ENTITY,
                title: "WeChat refuses this message",
                cause: "The template, its keywords, the link or the mini program is wrong. The message is `rejected`.",
                cure: "Compare `upstream.errcode` with WeChat's list, and correct the message.",
                retryable: false,
            },
            Self::AccountRefused => Meaning {
                text: "account_refused",
                status: StatusCode::BAD_GATEWAY,
                title: "WeChat refuses the account",
                cause: "The secret is wrong, our address is not on the account's IP list, or a permission is missing.",
                cure: "The operator of the gateway has to act; `wxgate doctor` names the fault. Retry after that.",
                retryable: false,
            },
            Self::DeliveryFailed => Meaning {
                text: "delivery_failed",
                status: StatusCode::BAD_GATEWAY,
                title: "The message was given up",
                cause: "The retries were used up, or the message expired or was canceled, while the caller waited. Nothing more will be sent.",
                cure: "Read the message for its attempts; `POST /v1/messages/{id}/retry` sends it again.",
                retryable: true,
            },
            Self::RateLimited => Meaning {
                text: "rate_limited",
                status: StatusCode::TOO_MANY_REQUESTS,
                title: "Too many requests",
                cause: "The limit that `reason` names was met. Nothing was stored. `auth_failures`: too many wrong keys, tokens or signatures came from this address; right ones are taken at any time. `account_quota`: the account may send nothing more today.",
                cure: "Send it again after the time in `Retry-After`.",
                retryable: true,
            },
            Self::Overloaded => Meaning {
                text: "overloaded",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The gateway has too much to do",
                cause: "Too many requests are under way, or the disk cannot keep up. Nothing was stored.",
                cure: "Send it again after the time in `Retry-After`.",
                retryable: true,
            },
            Self::StorageUnavailable => Meaning {
                text: "storage_unavailable",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The store cannot be used",
                cause: "The disk is full, or the database is away. Nothing was stored.",
                cure: "Send it again after the time in `Retry-After`. The operator finds the cause in the log.",
                retryable: true,
            },
            Self::TokenUnavailable => Meaning {
                text: "token_unavailable",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "There is no access_token at the moment",
                cause: "WeChat did not answer when it was asked for a token.",
                cure: "Ask again after the time in `Retry-After`.",
                retryable: true,
            },
            Self::ShuttingDown => Meaning {
                text: "shutting_down",
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The gateway is shutting down",
                cause: "It was told to stop and takes nothing new. Nothing was stored.",
                cure: "Send it again after the time in `Retry-After`, on a new connection.",
                retryable: true,
            },
            Self::Internal => Meaning {
                text: "internal",
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "Something went wrong in the gateway",
                cause: "A fault of the gateway itself.",
                cure: "Send it again with the same `Idempotency-Key`; if it stays, tell the operator the `request_id`.",
                retryable: true,
            },
        }
    }
}

/// The table of all codes for the docs, in Markdown.
pub fn render_table() -> String {
    let mut table = String::from("| code | status | retry | meaning |\n| --- | --- | --- | --- |\n");
    for code in Code::ALL {
        let Meaning { text, status, cause, retryable, .. } = code.meaning();
        let retry = if retryable { "yes" } else { "no" };
        table.push_str(&format!("| `{text}` | {} | {retry} | {cause} |\n", status.as_u16()));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_read_back() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert_eq!(Code::ALL[index] as usize, index, "{code:?} stands at its place");
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
        assert_eq!(Code::Internal as usize + 1, Code::ALL.len());
    }

    #[test]
    fn the_table_has_a_line_for_each_code() {
        let table = render_table();
        assert_eq!(table.lines().count(), Code::ALL.len() + 2);
        assert!(table.contains("| `recipient_refused` | 422 | no |"));
    }
}
