//! Station 7a: is this really WeChat, and what does it say? No I/O: keys, signature, decryption.

use std::sync::Arc;

use crate::domain::account::Account;
use crate::wechat::inbound::Inbound;

/// The query of a callback, as received. Missing parameters are empty.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct CallbackQuery {
    pub signature: String,
    pub timestamp: String,
    pub nonce: String,
    pub echostr: String,
    pub openid: String,
    pub encrypt_type: String,
    pub msg_signature: String,
}

/// A callback that is WeChat's, opened.
#[derive(Clone, Debug)]
pub struct Verified {
    pub account: Arc<Account>,
    /// The plain body.
    pub body: Vec<u8>,
    pub inbound: Inbound,
    /// How a reply has to be sealed; `None`: it stays plain.
    pub seal: Option<ReplySeal>,
}

/// Which of the account's keys opened the callback: the reply is sealed with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplySeal {
    pub token_index: usize,
    pub key_index: usize,
    pub nonce: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The account takes no callbacks, or there is no such account.
    #[error("unknown account")]
    UnknownAccount,
    /// Wrong, missing or stale signature; plaintext to a safe account; another appid inside.
    #[error("{reason}")]
    Refused { reason: &'static str },
    #[error("{reason}")]
    Unparsable { reason: &'static str },
}

#[derive(Clone)]
pub struct Verify {}

impl Verify {
    /// The account of `/wechat/{name}`; of `/wechat` when there is one account.
    pub fn account(&self, _name: Option<&str>) -> Result<Arc<Account>, VerifyError> {
        todo!()
    }

    /// The console's check of the URL: → the `echostr` to answer with.
    pub fn check_url(&self, _account: &Account, _query: &CallbackQuery) -> Result<String, VerifyError> {
        todo!()
    }

    pub fn open(&self, _account: Arc<Account>, _query: &CallbackQuery, _body: &[u8]) -> Result<Verified, VerifyError> {
        todo!()
    }
}
