//! Who watches events: a caller like any other, or the bearer of a ticket in the URL (`?ticket=wxt_…`).

use axum::extract::{FromRef, FromRequestParts};
use http::header::{AUTHORIZATION, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::caller::{Allowed, Read, refuse, refuse_secrets_in};
use super::query::Query;
use crate::domain::caller::Caller;
use crate::domain::event::EventFilter;
use crate::http::context::RequestContext;
use crate::http::error::ApiError;
use crate::services::access::Access;

const TICKET: &str = "ticket";

/// Whoever may see events, and the rest of the query.
pub struct Watcher {
    pub caller: Caller,
    /// What a ticket shows; `None`: the query says it.
    pub filter: Option<EventFilter>,
    pub query: Query,
    /// The web origin whose pages the ticket is for.
    pub web_origin: Option<HeaderValue>,
}

impl<S> FromRequestParts<S> for Watcher
where
    S: Send + Sync,
    Access: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let mut query = Query::from_request_parts(parts, state).await;
        let ticket = query.as_mut().ok().and_then(|query| query.text(TICKET));
        let Some(ticket) = ticket else {
            let Allowed(caller, _) = Allowed::<Read>::from_request_parts(parts, state).await?;
            return Ok(Self { caller, filter: None, query: query?, web_origin: None });
        };
        refuse_secrets_in(&parts.uri)?;
        if parts.headers.contains_key(AUTHORIZATION) {
            return Err(refuse("a request with a ticket has no Authorization header: send one or the other"));
        }
        let from = RequestContext::client_of(&parts.extensions);
        let admitted = Access::from_ref(state).admit_ticket(&ticket, from).await?;
        let web_origin = admitted.web_origin.and_then(|origin| HeaderValue::from_str(&origin).ok());
        check_origin(&parts.headers, web_origin.as_ref())?;
        Ok(Self { caller: admitted.caller, filter: Some(admitted.filter), query: query?, web_origin })
    }
}

/// Browsers say whose page it is; a ticket for the pages of one origin is no good for another's.
fn check_origin(headers: &HeaderMap, wanted: Option<&HeaderValue>) -> Result<(), ApiError> {
    match (headers.get(ORIGIN), wanted) {
        (Some(page), Some(wanted)) if page != wanted => Err(refuse("the ticket was made for pages of another origin")),
        _ => Ok(()),
    }
}
