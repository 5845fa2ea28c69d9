//! Accounts at run time: list, make, change, delete; and their tokens.

mod relay;
pub mod request;
pub mod token;
pub mod view;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use self::request::{AccountFields, NewAccount};
use self::view::{AccountList, AccountView, DeletedAccount};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Admin, Allowed};
use crate::http::extract::json::ApiJson;
use crate::http::extract::path::Texts;
use crate::http::extract::query::Query;
use crate::services::accounts::Register;

/// The accounts that this key may see, by name.
#[utoipa::path(
    get, path = "/v1/accounts", operation_id = "list_accounts", tag = "accounts", security(("key" = ["admin"])),
    responses((status = 200, description = "All of them, those of the configuration too.", body = AccountList)),
)]
pub async fn list(
    Allowed(caller, _): Allowed<Admin>,
    State(register): State<Register>,
    query: Query,
) -> Result<axum::Json<AccountList>, ApiError> {
    query.close()?;
    let data = register.list(&caller).await?.into_iter().map(AccountView::from).collect();
    Ok(axum::Json(AccountList { data }))
}

/// Make an account.
///
/// It can send at once, and its callbacks are taken; every node of a cluster knows it within a second. Secrets are kept sealed
/// and never come back.
#[utoipa::path(
    post, path = "/v1/accounts", operation_id = "create_account", tag = "accounts", security(("key" = ["admin"])),
    request_body = NewAccount,
    responses(
        (status = 201, description = "The account.", body = AccountView, headers(("Location" = String, description = "The account."))),
        (status = 403, description = "`forbidden`: the key is bound to other accounts.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`account_conflict`: the name or the `app_id` is taken.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_account`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    Allowed(caller, _): Allowed<Admin>,
    State(register): State<Register>,
    ApiJson { value: request, .. }: ApiJson<NewAccount>,
) -> Result<Response, ApiError> {
    let known = register.create(&caller, &request.name, &request.fields.into_change()).await?;
    let location = HeaderValue::from_str(&format!("/v1/accounts/{}", known.name()));
    let mut response = (StatusCode::CREATED, axum::Json(AccountView::from(known))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// One account.
#[utoipa::path(
    get, path = "/v1/accounts/{account}", operation_id = "read_account", tag = "accounts", security(("key" = ["admin"])),
    params(("account" = String, Path, description = "Name of the account")),
    responses(
        (status = 200, description = "The account.", body = AccountView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look_up(
    Allowed(caller, _): Allowed<Admin>,
    State(register): State<Register>,
    Texts(account): Texts<String>,
) -> Result<axum::Json<AccountView>, ApiError> {
    Ok(axum::Json(register.look_up(&caller, &account).await?.into()))
}

/// Change an account.
///
/// A JSON merge patch (RFC 7396): what is not named stays, null clears, `templates` and `replies` are merged key by key. A new
/// `token` or `encoding_aes_key` moves the old one to `previous_…`, so that WeChat's console can follow in its own time.
#[utoipa::path(
    patch, path = "/v1/accounts/{account}", operation_id = "change_account", tag = "accounts", security(("key" = ["admin"])),
    params(("account" = String, Path, description = "Name of the account")),
    request_body = AccountFields,
    responses(
        (status = 200, description = "The account as it is now.", body = AccountView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`account_conflict`: it stands in the configuration.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_account`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn change(
    Allowed(caller, _): Allowed<Admin>,
    State(register): State<Register>,
    Texts(account): Texts<String>,
    ApiJson { value: request, .. }: ApiJson<AccountFields>,
) -> Result<axum::Json<AccountView>, ApiError> {
    Ok(axum::Json(register.change(&caller, &account, &request.into_change()).await?.into()))
}

/// Delete an account.
///
/// Its messages, users and callbacks stay. Refused while messages of it are under way, unless `force`: then they wait for an
/// account of this name, until they expire.
#[utoipa::path(
    delete, path = "/v1/accounts/{account}", operation_id = "delete_account", tag = "accounts", security(("key" = ["admin"])),
    params(("account" = String, Path, description = "Name of the account"), ("force" = Option<bool>, Query, description = "Also while messages of it are under way.")),
    responses(
        (status = 200, description = "It is deleted.", body = DeletedAccount),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`account_conflict`: messages of it are under way, or it stands in the configuration.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    Allowed(caller, _): Allowed<Admin>,
    State(register): State<Register>,
    Texts(account): Texts<String>,
    mut query: Query,
) -> Result<axum::Json<DeletedAccount>, ApiError> {
    let force = query.parsed("force", "true or false", |text| text.parse().ok()).unwrap_or(false);
    query.close()?;
    let waiting_messages = register.delete(&caller, &account, force).await?;
    Ok(axum::Json(DeletedAccount { name: account, waiting_messages }))
}
