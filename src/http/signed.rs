//! Signed requests: checked before their handler, because the signature covers the body. What comes out is a request with
//! its body in memory and the proof beside it; [`Allowed`](super::extract::caller::Allowed) looks for that.
//!
//! Others pass untouched: who they are is seen by the handler's first extractor. A route that this does not stand before
//! takes no signed request at all.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{FromRef, Request};
use axum::response::{IntoResponse, Response};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::body::{self, BodyLimits};
use super::context::RequestContext;
use super::error::ApiError;
use super::extract::caller::{Proven, is_signed, signed_headers};
use super::state::HttpState;
use crate::domain::signed::SignedContent;

/// Laid over the routes that take signed requests. One that is not signed costs a look at its headers.
#[derive(Clone)]
pub(super) struct Prove {
    state: HttpState,
}

impl Prove {
    pub(super) fn new(state: HttpState) -> Self {
        Self { state }
    }
}

impl<S> Layer<S> for Prove {
    type Service = Proving<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Proving { inner, state: self.state.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Proving<S> {
    inner: S,
    state: HttpState,
}

type Answer = Result<Response, Infallible>;

impl<S> Service<Request> for Proving<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if !is_signed(request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        // The one that was asked whether it is ready.
        let waiting = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, waiting);
        let state = self.state.clone();
        Either::Right(Box::pin(async move {
            match prove(&state, request).await {
                Ok(request) => inner.call(request).await,
                Err(error) => Ok(error.into_response()),
            }
        }))
    }
}

async fn prove(state: &HttpState, request: Request) -> Result<Request, ApiError> {
    let Some(headers) = signed_headers(request.headers())? else { return Ok(request) };
    let from = RequestContext::client_of(request.extensions());
    let signer = state.access.screen(headers, from).await?;
    let limits = BodyLimits::from_ref(state);
    let (mut parts, body) = request.into_parts();
    let bytes = body::read(body, &limits).await.map_err(|error| error.refuse(&limits))?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let content = SignedContent { method: parts.method.as_str(), target, body: &bytes };
    let caller = state.access.prove(signer, content).await?;
    parts.extensions.insert(Proven(caller));
    Ok(Request::from_parts(parts, Body::from(bytes)))
}
