//! Users of an account: list, look up, bind to a business user id, tag, forget.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::messages::time_of;
use crate::domain::clock::Timestamp;
use crate::domain::user::{User, UserFilter, UserKey, is_tag};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed, Read};
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::http::extract::page;
use crate::http::extract::path::Texts;
use crate::http::extract::query::Query;
use crate::services::users::{UserRequest, Users};

/// A person that the account has seen.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "account": "shop", "openid": "oABCD1234567890abcdefghijklmn", "user_id": "customer-7", "tags": ["vip"], "subscribed": true,
    "first_seen_at": "2026-01-31T08:00:00.012Z", "last_seen_at": "2026-02-01T09:30:00.500Z"
}))]
pub struct UserView {
    pub account: String,
    pub openid: String,
    pub user_id: Option<String>,
    pub tags: Vec<String>,
    /// Null: never told.
    pub subscribed: Option<bool>,
    #[schema(value_type = String, format = DateTime)]
    pub first_seen_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
}

/// One page of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserList {
    /// By openid; with `seen_after`, by `last_seen_at`.
    pub data: Vec<UserView>,
    /// For `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            account: user.account,
            openid: user.openid.as_str().to_owned(),
            user_id: user.user_id,
            tags: user.tags.as_slice().to_vec(),
            subscribed: user.subscribed,
            first_seen_at: user.first_seen_at,
            last_seen_at: user.last_seen_at,
        }
    }
}

/// What is to be otherwise: what is not named stays, and one of the two is named.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[schema(example = json!({"user_id": "customer-7", "tags": ["vip"]}))]
pub struct UserChangeRequest {
    /// Which business user id the openid belongs to, 1–128 characters; null unbinds.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<Option<String>>,
    /// Instead of those that the user has: at most 20, each of 1–32 characters.
    pub tags: Option<Vec<String>>,
}

impl FromJson for UserChangeRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut request = Self { user_id: None, tags: None };
        if let Some(mut fields) = Fields::open(json, "", &mut faults) {
            request.user_id = user_id(&mut fields, &mut faults);
            request.tags = tags(&mut fields, &mut faults);
            fields.close(&mut faults);
        }
        faults.check()?;
        if request.user_id.is_none() && request.tags.is_none() {
            let mut faults = Faults::default();
            faults.malformed("", "required", "name user_id, tags, or both");
            faults.check()?;
        }
        Ok(request)
    }
}

/// Here null has a meaning of its own.
fn user_id(fields: &mut Fields, faults: &mut Faults) -> Option<Option<String>> {
    match fields.patch("user_id")? {
        Json::Null => Some(None),
        Json::String(text) => Some(Some(text)),
        other => {
            wrong_type(faults, "/user_id", "a string or null", &other);
            None
        }
    }
}

fn tags(fields: &mut Fields, faults: &mut Faults) -> Option<Vec<String>> {
    let items = match fields.patch("tags")? {
        Json::Array(items) => items,
        other => {
            wrong_type(faults, "/tags", "an array of strings", &other);
            return None;
        }
    };
    let mut tags = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Json::String(text) => tags.push(text),
            other => wrong_type(faults, &format!("/tags/{index}"), "a string", &other),
        }
    }
    Some(tags)
}

/// People that the account has seen.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/users", operation_id = "list_users", tag = "users", security(("key" = ["read"])),
    params(
        ("account" = String, Path,), ("user_id" = Option<String>, Query,), ("tag" = Option<String>, Query,),
        ("subscribed" = Option<bool>, Query,),
        ("seen_after" = Option<String>, Query, description = "RFC 3339: seen then or later. The list is by `last_seen_at` then."),
        ("limit" = Option<u32>, Query, description = "1–200, default 50"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page, by openid; with `seen_after`, by `last_seen_at`.", body = UserList, headers(("Link" = String, description = "The next page (RFC 8288)."))),
        (status = 400, description = "A parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Read>,
    State(users): State<Users>,
    Texts(account): Texts<String>,
    uri: Uri,
    mut query: Query,
) -> Result<Response, ApiError> {
    let filter = filter(&mut query);
    let is_by_time = filter.seen_after.is_some();
    let wanted =
        page::take(&mut query, |key| UserKey::parse(key).is_some_and(|key| key.seen_at.is_some() == is_by_time));
    query.close()?;
    let found = users.list(&caller, &account, filter, wanted).await?;
    let next_cursor = found.next.as_deref().map(page::cursor);
    let path = format!("/v1/accounts/{account}/users");
    let link = next_cursor.as_deref().map(|cursor| page::next_link(&path, uri.query().unwrap_or_default(), cursor));
    let data = found.items.into_iter().map(UserView::from).collect();
    let mut response = axum::Json(UserList { data, next_cursor }).into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn filter(query: &mut Query) -> UserFilter {
    let flag = |text: &str| text.parse::<bool>().ok();
    UserFilter {
        user_id: query.text("user_id"),
        tag: query.parsed("tag", "a tag of 1–32 characters", |text| is_tag(text).then(|| text.to_owned())),
        subscribed: query.parsed("subscribed", "true or false", flag),
        seen_after: query.parsed("seen_after", "an RFC 3339 time such as 2026-01-31T08:00:00Z", time_of),
    }
}

/// One user.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/users/{openid}", operation_id = "read_user", tag = "users", security(("key" = ["read"])),
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

/// Bind an openid to a business user id, and tag it.
#[utoipa::path(
    put, path = "/v1/accounts/{account}/users/{openid}", operation_id = "change_user", tag = "users", security(("key" = ["admin"])),
    params(("account" = String, Path,), ("openid" = String, Path,)),
    request_body = UserChangeRequest,
    responses(
        (status = 200, description = "The user as it is now.", body = UserView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_message`: the user id or a tag is not legal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    Allowed(caller, _): Allowed<Admin>,
    State(users): State<Users>,
    Texts((account, openid)): Texts<(String, String)>,
    ApiJson { value: request, .. }: ApiJson<UserChangeRequest>,
) -> Result<axum::Json<UserView>, ApiError> {
    let UserChangeRequest { user_id, tags } = request;
    Ok(axum::Json(users.change(&caller, &account, &openid, UserRequest { user_id, tags }).await?.into()))
}

/// Forget what is known of a person here. Messages, callbacks and events stay as long as `[retention]` says.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}/users/{openid}", operation_id = "forget_user", tag = "users", security(("key" = ["admin"])),
    params(("account" = String, Path,), ("openid" = String, Path,)),
    responses(
        (status = 204, description = "Forgotten: the user id, the tags, when they were seen, and that WeChat has refused them."),
        (status = 404, description = "Never seen, or not for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn forget(
    Allowed(caller, _): Allowed<Admin>,
    State(users): State<Users>,
    Texts((account, openid)): Texts<(String, String)>,
) -> Result<StatusCode, ApiError> {
    users.forget(&caller, &account, &openid).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_something_and_null_unbinds() {
        let read = |text: &str| UserChangeRequest::from_json(Json::parse(text).unwrap()).ok();
        let tags = Some(vec!["a".to_owned()]);
        let bound = Some(Some("u7".to_owned()));
        for (text, user_id, tags) in [
            (r#"{"user_id":"u7"}"#, bound.clone(), None),
            (r#"{"user_id":null}"#, Some(None), None),
            (r#"{"tags":["a"]}"#, None, tags.clone()),
            (r#"{"tags":["a"],"user_id":"u7"}"#, bound, tags),
            (r#"{"tags":[]}"#, None, Some(Vec::new())),
        ] {
            assert_eq!(read(text), Some(UserChangeRequest { user_id, tags }), "{text}");
        }
        for wrong in [
            "{}",
            r#"{"user_id":7}"#,
            r#"{"userid":"u"}"#,
            r#"{"user_id":"u","x":1}"#,
            "[]",
            r#"{"tags":null}"#,
            r#"{"tags":["a",1]}"#,
            r#"{"tags":"a"}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn filters_are_read_and_checked() {
        let mut query = Query::parse("subscribed=true&tag=vip&user_id=u7&seen_after=2026-01-31T08:00:00Z").unwrap();
        let read = filter(&mut query);
        assert_eq!(
            (read.subscribed, read.tag.as_deref(), read.user_id.as_deref()),
            (Some(true), Some("vip"), Some("u7"))
        );
        assert!(read.seen_after.is_some() && query.close().is_ok());
        for wrong in ["subscribed=yes", "tag=%20a", "seen_after=today", "seen=x"] {
            let mut query = Query::parse(wrong).unwrap();
            filter(&mut query);
            assert!(query.close().is_err(), "{wrong}");
        }
    }
}
