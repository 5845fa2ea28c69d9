//! Tokens: one engine per account.

use crate::domain::clock::Timestamp;
use crate::domain::token::AccessToken;

/// How an account's token stands: for `/ready`, `dry_run` and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// `ready`, `missing`, `failing`.
    pub state: &'static str,
    pub expires_at: Option<Timestamp>,
    pub generation: Option<i64>,
    /// Why the last refresh failed.
    pub problem: Option<String>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("unknown account")]
    UnknownAccount,
    /// The account is at fault: an operator must act.
    #[error("WeChat refused to give a token: {errcode} {errmsg}")]
    Refused { errcode: i64, errmsg: String, rid: Option<String> },
    #[error("{reason}")]
    Unavailable { reason: String },
}

#[derive(Clone)]
pub struct Tokens {}

impl Tokens {
    /// A token to use now; waits for a refresh that is under way.
    pub async fn current(&self, _account: &str) -> Result<AccessToken, TokenError> {
        todo!()
    }

    pub fn status(&self, _account: &str) -> Option<TokenStatus> {
        todo!()
    }
}
