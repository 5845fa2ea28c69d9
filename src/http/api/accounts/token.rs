//! `GET /v1/accounts/{account}/token`: the access_token, for programs of the house that call WeChat themselves.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::clock::Clock;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::caller::{Allowed, Token};
use crate::http::extract::path::Texts;
use crate::services::tokens::Tokens;

/// An access_token to use now.
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    pub access_token: String,
    /// Seconds.
    #[schema(example = 6800)]
    pub expires_in: u64,
    /// Grows whenever the token changes.
    #[schema(example = 42)]
    pub generation: i64,
}

/// The access_token of an account.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/token", operation_id = "read_token", tag = "accounts", security(("key" = ["token"])),
    params(("account" = String, Path, description = "Name of the account")),
    responses(
        (status = 200, description = "A token that is valid now.", body = TokenView),
        (status = 404, description = "There is no such account for this key.", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "`account_refused`: WeChat gives no token.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`token_unavailable`: there is none at the moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn token(
    Allowed(caller, _): Allowed<Token>,
    State(tokens): State<Tokens>,
    State(clock): State<Arc<dyn Clock>>,
    Texts(account): Texts<String>,
) -> Result<axum::Json<TokenView>, ApiError> {
    if !caller.may_use_account(&account) {
        return Err(ApiError::not_found());
    }
    let token = tokens.current(&account).await?;
    let view = TokenView {
        access_token: token.token.expose().to_owned(),
        expires_in: token.expires_at.since(clock.now()).as_secs(),
        generation: token.generation,
    };
    Ok(axum::Json(view))
}
