//! Signed requests, in two steps: what can be said before the body is read, and the proof.
//!
//! The nonce is remembered when everything else is right, so nobody can use up somebody else's.

use std::net::IpAddr;

use super::ring::{self, Entry};
use super::{Access, AccessError, Form, nonces};
use crate::domain::caller::{Caller, Signing};
use crate::domain::signed::{SignedContent, SignedHead, SignedHeaders};
use crate::store::Allowance;

/// A request whose head is in order. Nothing is proven: its body may be read now, within its limit.
pub struct Signer {
    head: SignedHead,
    /// The keys that may have signed it: they work, and have a secret.
    keys: Vec<Entry>,
    from: Option<IpAddr>,
}

impl Access {
    /// Refuses what no body could make right: a malformed head, a time out of the window, a key that cannot sign.
    pub async fn screen(&self, headers: SignedHeaders<'_>, from: Option<IpAddr>) -> Result<Signer, AccessError> {
        let refuse = |reason: &'static str| Err(self.refuse(Form::Signed, &reason, from));
        let now = self.inner.clock.now();
        let Some(head) = SignedHead::parse(headers) else {
            return refuse("a header has not the form that it must have");
        };
        if !head.is_fresh(now) {
            return refuse("the timestamp is too far from our clock");
        }
        let found = self.inner.ring.find(&head.key_id, now).await?;
        let works = |entry: &&Entry| ring::fault_of(&entry.key, now).is_none();
        let signs = |entry: &&Entry| matches!(entry.key.signing, Signing::With(_));
        let keys: Vec<Entry> = found.iter().filter(works).filter(signs).cloned().collect();
        if keys.is_empty() {
            return refuse("no key of this id works and can sign");
        }
        Ok(Signer { head, keys, from })
    }

    /// The whole of the request → the caller, once.
    pub async fn prove(&self, signer: Signer, content: SignedContent<'_>) -> Result<Caller, AccessError> {
        let Signer { head, keys, from } = signer;
        let signed = |entry: &&Entry| match &entry.key.signing {
            Signing::With(secret) => head.is_of(secret, content),
            Signing::Not | Signing::Lost => false,
        };
        let Some(entry) = keys.iter().find(signed) else {
            return Err(self.refuse(Form::Signed, &"the signature is wrong", from));
        };
        let now = self.inner.clock.now();
        // Reading the body took its time.
        if !head.is_fresh(now) {
            return Err(self.refuse(Form::Signed, &"the body came too late", from));
        }
        let mut allowance = Allowance::default();
        match self.inner.nonces.remember(&mut allowance, head.nonce_id(), head.signed_at, now).await {
            nonces::Verdict::First => {
                let waited = Allowance::WHOLE.saturating_sub(allowance.left());
                Ok(Caller { waited, ..entry.caller(now) })
            }
            nonces::Verdict::Again => Err(self.refuse(Form::Signed, &"the nonce was used before", from)),
            nonces::Verdict::NoRoom => Err(AccessError::NoRoom),
        }
    }
}
