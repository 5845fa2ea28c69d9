//! Who calls: the key in `Authorization: Bearer`, and the scope that a route asks for.

use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::domain::caller::{Caller, Scope};
use crate::http::error::{ApiError, Code};
use crate::services::access::Access;

/// A caller whose key has the scope `S`. It stands before the body in a handler, so that nobody else's body is read.
pub struct Allowed<S>(pub Caller, pub PhantomData<S>);

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
        let bearer = bearer(&parts.headers)?;
        let caller = Access::from_ref(state).authenticate(bearer).await?;
        caller.require(N::SCOPE)?;
        Ok(Self(caller, PhantomData))
    }
}

/// The one Bearer credential of the request.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let refuse = |detail: &str| ApiError::new(Code::Unauthenticated, detail);
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refuse("the header Authorization: Bearer wxg_… is missing"))?;
    if values.next().is_some() {
        return Err(refuse("there is more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| refuse("the Authorization header is not legal"))?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty() => Ok(key.trim()),
        _ => Err(refuse("only Authorization: Bearer wxg_… is taken")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
    fn a_scope_that_the_key_lacks_is_forbidden() {
        let caller = |scopes: Vec<Scope>| Caller {
            client: "c".to_owned(),
            key_id: "c".to_owned(),
            scopes,
            accounts: None,
            templates: None,
        };
        assert!(caller(vec![Scope::Send]).require(Scope::Send).is_ok());
        assert!(caller(vec![Scope::Admin]).require(Scope::Send).is_ok());
        assert_eq!(caller(vec![Scope::Send]).require(Scope::Read).unwrap_err().code(), Code::Forbidden);
    }
}
