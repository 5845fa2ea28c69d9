//! Signed requests: checked before their handler, because the signature covers the body. What comes out is a request with
//! its body in memory and the proof beside it; [`Allowed`](super::extract::caller::Allowed) looks for that.
//!
//! Others pass untouched: who they are is seen by the handler's first extractor. A route that this does not stand before
//! takes no signed request at all.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::body::{self, BodyLimits};
use super::context::RequestContext;
use super::error::ApiError;
use super::extract::caller::{Proven, signed_headers};
use crate::domain::signed::SignedContent;
use crate::services::access::Access;

pub(super) async fn prove(
    State(access): State<Access>,
    State(limits): State<BodyLimits>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(headers) = signed_headers(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let from = RequestContext::client_of(request.extensions());
    let signer = access.screen(headers, from).await?;
    let (mut parts, body) = request.into_parts();
    let bytes = body::read(body, &limits).await.map_err(|error| error.refuse(&limits))?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let content = SignedContent { method: parts.method.as_str(), target, body: &bytes };
    let caller = access.prove(signer, content).await?;
    parts.extensions.insert(Proven(caller));
    Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await)
}
