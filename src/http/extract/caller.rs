//! Who calls: the key or token in `Authorization: Bearer`, or the proof of a signed request; and the scope that a route
//! asks for.

use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use url::form_urlencoded;

use crate::domain::audit::Origin;
use crate::domain::caller::{Caller, Scope};
use crate::domain::signed::SignedHeaders;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, Code};
use crate::services::access::Access;

pub(crate) const X_WXGATE_KEY: HeaderName = HeaderName::from_static("x-wxgate-key");
pub(crate) const X_WXGATE_TIMESTAMP: HeaderName = HeaderName::from_static("x-wxgate-timestamp");
pub(crate) const X_WXGATE_NONCE: HeaderName = HeaderName::from_static("x-wxgate-nonce");
pub(crate) const X_WXGATE_SIGNATURE: HeaderName = HeaderName::from_static("x-wxgate-signature");

/// A caller whose key has the scope `S`. It stands before the body in a handler, so that nobody else's body is read.
pub struct Allowed<S>(pub Caller, pub PhantomData<S>);

/// In the extensions of a request whose signature was right. Only the check itself puts it there.
#[derive(Clone)]
pub(in crate::http) struct Proven(pub(in crate::http) Caller);

/// A scope as a type.
pub trait Needs {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("The scope `", stringify!($name), "`.")]
            pub struct $name;

            impl Needs for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )*
    };
}

needs!(Send Read Token Admin);

impl Caller {
    /// 403 unless the key has the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.may(scope) {
            return Ok(());
        }
        Err(ApiError::new(Code::Forbidden, format!("this key lacks the scope {}", scope.as_str())))
    }
}

impl<N: Needs, S> FromRequestParts<S> for Allowed<N>
where
    S: std::marker::Sync,
    Access: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        refuse_secrets_in(&parts.uri)?;
        let mut caller = match parts.extensions.remove::<Proven>() {
            Some(Proven(caller)) => caller,
            None => {
                let from = RequestContext::client_of(&parts.extensions);
                Access::from_ref(state).authenticate(bearer(&parts.headers)?, from).await?
            }
        };
        caller.require(N::SCOPE)?;
        if let Some(context) = parts.extensions.get::<RequestContext>() {
            caller.origin = Origin { request_id: Some(context.request_id.clone()), remote: context.client };
        }
        Ok(Self(caller, PhantomData))
    }
}

pub(super) fn refuse(detail: &str) -> ApiError {
    ApiError::new(Code::Unauthenticated, detail)
}

/// URLs end up in the logs and histories of everything that they pass.
pub(super) fn refuse_secrets_in(uri: &Uri) -> Result<(), ApiError> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    for (name, value) in pairs {
        if name == "access_token" || value.trim_start().starts_with("wxg_") {
            return Err(refuse(
                "the URL holds a key or token: it is not taken there, and whoever keeps a log of URLs has it now; \
                 revoke it, and send the next one in the header Authorization",
            ));
        }
    }
    Ok(())
}

/// The one Bearer credential of the request.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refuse("the header Authorization: Bearer wxg_… is missing"))?;
    if values.next().is_some() {
        return Err(refuse("there is more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| refuse("the Authorization header is not legal"))?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() => Ok(key.trim()),
        _ => Err(refuse("only Authorization: Bearer wxg_… (or a token) is taken")),
    }
}

const SIGNED: [HeaderName; 4] = [X_WXGATE_KEY, X_WXGATE_TIMESTAMP, X_WXGATE_NONCE, X_WXGATE_SIGNATURE];

/// It has at least one of the four headers.
pub(in crate::http) fn is_signed(headers: &HeaderMap) -> bool {
    SIGNED.iter().any(|name| headers.contains_key(name))
}

/// The four headers of a signed request; `None` when it has none of them. Each comes once, and without an `Authorization`.
pub(in crate::http) fn signed_headers(headers: &HeaderMap) -> Result<Option<SignedHeaders<'_>>, ApiError> {
    if !is_signed(headers) {
        return Ok(None);
    }
    if headers.contains_key(AUTHORIZATION) {
        return Err(refuse("a signed request has no Authorization header: send one or the other"));
    }
    let [key, timestamp, nonce, signature] = SIGNED.each_ref().map(|name| only(headers, name));
    match (key, timestamp, nonce, signature) {
        (Some(key), Some(timestamp), Some(nonce), Some(signature)) => {
            Ok(Some(SignedHeaders { key, timestamp, nonce, signature }))
        }
        _ => Err(refuse(
            "a signed request has X-Wxgate-Key, X-Wxgate-Timestamp, X-Wxgate-Nonce and X-Wxgate-Signature, each once",
        )),
    }
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.map(HeaderValue::to_str)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn one_bearer_key_is_taken_and_nothing_else() {
        assert_eq!(bearer(&headers(&["Bearer wxg_a_b"])).unwrap(), "wxg_a_b");
        assert_eq!(bearer(&headers(&["bearer  wxg_a_b "])).unwrap(), "wxg_a_b");
        for wrong in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["wxg_a_b"], &["Bearer a", "Bearer b"]] {
            assert_eq!(bearer(&headers(wrong)).unwrap_err().code(), Code::Unauthenticated, "{wrong:?}");
        }
    }

    #[test]
    fn a_signed_request_has_four_headers_each_once() {
        let all =
            [("x-wxgate-key", "k"), ("x-wxgate-timestamp", "1"), ("x-wxgate-nonce", "n"), ("x-wxgate-signature", "s")];
        let of = |pairs: &[(&str, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(signed_headers(&of(&[])).unwrap().is_none());
        let map = of(&all);
        let read = signed_headers(&map).unwrap().unwrap();
        assert_eq!((read.key, read.timestamp, read.nonce, read.signature), ("k", "1", "n", "s"));
        for (at, pair) in all.iter().enumerate() {
            let mut fewer = all.to_vec();
            fewer.remove(at);
            assert!(signed_headers(&of(&fewer)).is_err(), "without {}", pair.0);
            assert!(signed_headers(&of(&[&all[..], &[*pair]].concat())).is_err(), "twice {}", pair.0);
        }
        assert!(signed_headers(&of(&[&all[..], &[("authorization", "Bearer wxg_a_b")]].concat())).is_err());
    }

    #[test]
    fn a_secret_in_the_url_is_refused() {
        for wrong in
            ["/x?key=wxg_a_b", "/x?a=1&access_token=y", "/x?access%5Ftoken=", "/x?whatever=%77xg_a_b", "/x?k=+wxg_"]
        {
            assert!(refuse_secrets_in(&wrong.parse().unwrap()).is_err(), "{wrong}");
        }
        for right in ["/x", "/x?", "/x?account=shop&template_id=a_wxg_b", "/x?key=1"] {
            assert!(refuse_secrets_in(&right.parse().unwrap()).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_scope_that_the_key_lacks_is_forbidden() {
        let caller = |scopes: Vec<Scope>| Caller {
            client: "c".to_owned(),
            key_id: "c".to_owned(),
            scopes,
            accounts: None,
            templates: None,
            valid_until: None,
            origin: Origin::default(),
            waited: std::time::Duration::ZERO,
        };
        assert!(caller(vec![Scope::Send]).require(Scope::Send).is_ok());
        assert!(caller(vec![Scope::Admin]).require(Scope::Send).is_ok());
        assert_eq!(caller(vec![Scope::Send]).require(Scope::Read).unwrap_err().code(), Code::Forbidden);
    }
}
