//! Station 7a: is this really WeChat, and what does it say? No I/O: keys, signature, decryption.
//!
//! Order of checks: account, freshness, `Encrypt` taken out by a strict parser, signature, decryption, appid, content.
//! A signature over `token, timestamp, nonce` alone does not cover the body ("Message push" page), so an encrypted body is
//! believed only by `msg_signature`, and an account in safe mode takes nothing else.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::account::{Account, CallbackKeys, CallbackMode};
use crate::domain::clock::{Clock, Timestamp};
use crate::services::accounts::Accounts;
use crate::wechat::crypt::{self, EncodingAesKey};
use crate::wechat::envelope;
use crate::wechat::inbound::Inbound;
use crate::wechat::signature;

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
pub struct Verify {
    pub accounts: Accounts,
    pub clock: Arc<dyn Clock>,
    /// How far `timestamp` may be from now; zero: not checked.
    pub freshness: Duration,
}

impl Verify {
    /// The account of `/wechat/{name}`; of `/wechat` when there is one account.
    pub fn account(&self, name: Option<&str>) -> Result<Arc<Account>, VerifyError> {
        let found = match name {
            Some(name) => self.accounts.look_up(name),
            None => self.accounts.only(),
        };
        found.filter(|account| account.callback.is_some()).ok_or(VerifyError::UnknownAccount)
    }

    /// The console's check of the URL: → the `echostr` to answer with.
    pub fn check_url(&self, account: &Account, query: &CallbackQuery) -> Result<String, VerifyError> {
        let keys = keys_of(account)?;
        self.check_freshness(query)?;
        signed_by(keys, &query.signature, &[&query.timestamp, &query.nonce])?;
        if query.echostr.is_empty() {
            return Err(VerifyError::Unparsable { reason: "echostr is missing" });
        }
        Ok(query.echostr.clone())
    }

    pub fn open(&self, account: Arc<Account>, query: &CallbackQuery, body: &[u8]) -> Result<Verified, VerifyError> {
        let keys = keys_of(&account)?;
        self.check_freshness(query)?;
        let is_aes = query.encrypt_type == "aes";
        if keys.mode == CallbackMode::Safe && !is_aes {
            return Err(VerifyError::Refused { reason: "plaintext to an account in safe mode" });
        }
        if !is_aes {
            // Before parsing: only what is signed is read at all.
            signed_by(keys, &query.signature, &[&query.timestamp, &query.nonce])?;
        }
        let envelope = envelope::parse(body).map_err(|_| unparsable())?;
        match envelope.encrypt {
            Some(encrypt) if is_aes => {
                let (token_index, key_index, plain) = decrypt(&account, keys, query, &encrypt)?;
                let inbound = Inbound::parse(&plain).map_err(|_| unparsable())?;
                let seal = ReplySeal { token_index, key_index, nonce: query.nonce.clone() };
                Ok(Verified { account, body: plain, inbound, seal: Some(seal) })
            }
            Some(_) => Err(VerifyError::Refused { reason: "an encrypted body without encrypt_type=aes" }),
            None if is_aes => Err(VerifyError::Refused { reason: "encrypt_type=aes without Encrypt" }),
            None => {
                let inbound = Inbound::from_node(envelope.root, envelope.format);
                Ok(Verified { account, body: body.to_vec(), inbound, seal: None })
            }
        }
    }

    fn check_freshness(&self, query: &CallbackQuery) -> Result<(), VerifyError> {
        if self.freshness.is_zero() {
            return Ok(());
        }
        let stale = VerifyError::Refused { reason: "the timestamp is missing or too far from now" };
        let seconds: i64 = query.timestamp.parse().map_err(|_| stale)?;
        let (said, now) = (Timestamp::from_seconds(seconds), self.clock.now());
        let apart = said.since(now).max(now.since(said));
        if apart > self.freshness { Err(stale) } else { Ok(()) }
    }
}

fn keys_of(account: &Account) -> Result<&CallbackKeys, VerifyError> {
    account.callback.as_ref().ok_or(VerifyError::UnknownAccount)
}

fn unparsable() -> VerifyError {
    VerifyError::Unparsable { reason: "the body cannot be read" }
}

/// → which token signed it. Every token is tried, so that the time taken says nothing.
fn signed_by(keys: &CallbackKeys, given: &str, rest: &[&str]) -> Result<usize, VerifyError> {
    let mut found = None;
    for (index, token) in keys.tokens.iter().enumerate() {
        let mut parts = vec![token.expose()];
        parts.extend_from_slice(rest);
        if signature::verify(given, &parts) && found.is_none() {
            found = Some(index);
        }
    }
    found.ok_or(VerifyError::Refused { reason: "the signature is wrong" })
}

fn decrypt(
    account: &Account,
    keys: &CallbackKeys,
    query: &CallbackQuery,
    encrypt: &str,
) -> Result<(usize, usize, Vec<u8>), VerifyError> {
    let token_index = signed_by(keys, &query.msg_signature, &[&query.timestamp, &query.nonce, encrypt])?;
    for (key_index, key) in keys.aes_keys.iter().enumerate() {
        let Ok(key) = EncodingAesKey::parse(key.expose()) else { continue };
        if let Ok(plain) = crypt::decrypt(&key, encrypt, &account.app_id) {
            return Ok((token_index, key_index, plain));
        }
    }
    Err(VerifyError::Refused { reason: "it cannot be decrypted for this account" })
}
