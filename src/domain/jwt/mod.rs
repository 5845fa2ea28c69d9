//! JSON Web Tokens (RFC 7519): from a token's text to whom it speaks for. Signature first, then what it claims.
//!
//! The codec is `jsonwebtoken`, the cryptography ring (`crypto`). Times are checked here, against the caller's clock.

mod crypto;
mod keys;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::{Deserialize, Deserializer};

use super::caller::Scope;
use super::clock::Timestamp;
pub use keys::Keys;

/// A longer token is refused unread.
pub const MAX_BYTES: usize = 8 * 1024;
const MAX_CLIENT_CHARS: usize = 128;

/// How tokens are signed: one way, and no other is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// As the header `alg` and the configuration write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    const fn of_codec(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// What a token has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub algorithm: Algorithm,
    /// `iss` has to be this; `None`: anything.
    pub issuer: Option<String>,
    /// `aud` has to name this; `None`: a token that names any audience is refused.
    pub audience: Option<String>,
    /// How far another clock may be from ours.
    pub leeway: Duration,
}

/// Whom a token speaks for, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `sub`
    pub client: String,
    pub scopes: Vec<Scope>,
    /// `None`: every account.
    pub accounts: Option<Vec<String>>,
    /// `exp`, and the leeway behind it: from then on the token is refused.
    pub expires_at: Timestamp,
}

/// Why a token was refused: for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the token is too long")]
    TooLong,
    #[error("the token cannot be read")]
    Malformed,
    #[error("the token is signed by another algorithm")]
    Algorithm,
    #[error("the token has critical headers")]
    Critical,
    #[error("the token names no key of ours")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("iss is wrong or missing")]
    Issuer,
    #[error("aud is wrong or missing")]
    Audience,
    #[error("exp or sub is missing")]
    Incomplete,
    #[error("sub is not a client's name")]
    Subject,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970; a fraction is legal.
    exp: f64,
    nbf: Option<f64>,
    #[serde(default)]
    scope: String,
    #[serde(default, deserialize_with = "present")]
    accounts: Option<Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Text(String),
    List(Vec<String>),
}

/// Missing means "every account", so `null` must not mean the same.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Names>, D::Error> {
    Names::deserialize(deserializer).map(Some)
}

impl Rules {
    /// A token's text → whom it speaks for at this moment.
    pub fn verify(&self, keys: &Keys, token: &str, now: Timestamp) -> Result<Grant, Refusal> {
        if token.len() > MAX_BYTES {
            return Err(Refusal::TooLong);
        }
        // `none` and whatever else the codec does not know cannot be read.
        let header = decode_header(token).map_err(|_| Refusal::Malformed)?;
        if header.alg != self.algorithm.of_codec() {
            return Err(Refusal::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let key = keys.find(header.kid.as_deref()).ok_or(Refusal::UnknownKey)?;
        let claims = decode::<Claims>(token, key, &self.validation()).map_err(|error| refusal(error.kind()))?.claims;
        self.check_times(&claims, now)?;
        if !is_client(&claims.sub) {
            return Err(Refusal::Subject);
        }
        // Later than anything can be told: never.
        let exp = Duration::try_from_secs_f64(claims.exp).unwrap_or(Duration::MAX);
        Ok(Grant {
            client: claims.sub,
            scopes: claims.scope.split_whitespace().filter_map(Scope::parse).collect(),
            accounts: claims.accounts.map(Names::into_list),
            expires_at: Timestamp::default().plus(exp).plus(self.leeway),
        })
    }

    /// The codec would compare times with the system's clock, and takes an issuer that is missing for a right one.
    fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.algorithm.of_codec());
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let (now, leeway) = (Duration::from_millis(now.as_millis().max(0).unsigned_abs()), self.leeway.as_secs_f64());
        if now.as_secs_f64() >= claims.exp + leeway {
            return Err(Refusal::Expired);
        }
        if claims.nbf.is_some_and(|nbf| now.as_secs_f64() + leeway < nbf) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }
}

impl Names {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            Self::List(names) => names,
        }
    }
}

fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::InvalidIssuer => Refusal::Issuer,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::MissingRequiredClaim(name) if name == "iss" => Refusal::Issuer,
        ErrorKind::MissingRequiredClaim(name) if name == "aud" => Refusal::Audience,
        ErrorKind::MissingRequiredClaim(_) => Refusal::Incomplete,
        _ => Refusal::Malformed,
    }
}

/// It becomes a column, a field of views and of the log.
fn is_client(name: &str) -> bool {
    (1..=MAX_CLIENT_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}
