//! Users of an account: look up, and bind to a business user id.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::clock::Timestamp;
use crate::domain::user::User;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed, Read};
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::http::extract::path::Texts;
use crate::services::users::Users;

/// A person that the account has seen.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    pub account: String,
    pub openid: String,
    pub user_id: Option<String>,
    /// Null: never told.
    pub subscribed: Option<bool>,
    #[schema(value_type = String, format = DateTime)]
    pub first_seen_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            account: user.account,
            openid: user.openid.as_str().to_owned(),
            user_id: user.user_id,
            subscribed: user.subscribed,
            first_seen_at: user.first_seen_at,
            last_seen_at: user.last_seen_at,
        }
    }
}

/// Which business user id the openid belongs to.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[schema(example = json!({"user_id": "customer-7"}))]
pub struct BindRequest {
    /// Null unbinds.
    #[schema(required)]
    pub user_id: Option<String>,
}

impl FromJson for BindRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        // Here null has a meaning of its own, and a missing member has not.
        let user_id = match json {
            Json::Object(mut members) => {
                let index = members.iter().position(|(name, _)| name == "user_id");
                let member = index.map(|index| members.swap_remove(index).1);
                let mut rest = Fields::open(Json::Object(members), "", &mut faults);
                if let Some(fields) = rest.as_mut() {
                    fields.take("user_id");
                }
                rest.into_iter().for_each(|fields| fields.close(&mut faults));
                member
            }
            other => {
                wrong_type(&mut faults, "", "an object", &other);
                None
            }
        };
        let user_id = match user_id {
            Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text),
            Some(other) => {
                wrong_type(&mut faults, "/user_id", "a string or null", &other);
                None
            }
            None => {
                faults.malformed("/user_id", "required", "user_id is missing");
                None
            }
        };
        faults.check()?;
        Ok(Self { user_id })
    }
}

/// One user.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/users/{openid}", tag = "users", security(("key" = ["read"])),
    params(("account" = String, Path,), ("openid" = String, Path,)),
    responses(
        (status = 200, description = "The user.", body = UserView),
        (status = 404, description = "Never seen, or not for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look_up(
    Allowed(caller, _): Allowed<Read>,
    State(users): State<Users>,
    Texts((account, openid)): Texts<(String, String)>,
) -> Result<axum::Json<UserView>, ApiError> {
    Ok(axum::Json(users.look_up(&caller, &account, &openid).await?.into()))
}

/// Bind an openid to a business user id.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/users/{openid}", tag = "users", security(("key" = ["admin"])),
    params(("account" = String, Path,), ("openid" = String, Path,)),
    request_body = BindRequest,
    responses(
        (status = 200, description = "The user as it is now.", body = UserView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_message`: the user id is not legal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn bind(
    Allowed(caller, _): Allowed<Admin>,
    State(users): State<Users>,
    Texts((account, openid)): Texts<(String, String)>,
    ApiJson { value: request, .. }: ApiJson<BindRequest>,
) -> Result<axum::Json<UserView>, ApiError> {
    Ok(axum::Json(users.bind(&caller, &account, &openid, request.user_id.as_deref()).await?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_a_text_or_null_and_never_missing() {
        let read = |text: &str| BindRequest::from_json(Json::parse(text).unwrap()).ok();
        assert_eq!(read(r#"{"user_id":"u7"}"#), Some(BindRequest { user_id: Some("u7".to_owned()) }));
        assert_eq!(read(r#"{"user_id":null}"#), Some(BindRequest { user_id: None }));
        for wrong in ["{}", r#"{"user_id":7}"#, r#"{"userid":"u"}"#, r#"{"user_id":"u","x":1}"#, "[]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
