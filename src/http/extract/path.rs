//! An id in the path. What cannot be an id is an id of nothing: 404, not 400.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::domain::ids::{BatchId, MessageId};
use crate::http::error::ApiError;

/// The `{id}` of a message.
pub struct MessagePath(pub MessageId);

impl<S: Send + Sync> FromRequestParts<S> for MessagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Texts(text) = Texts::<String>::from_request_parts(parts, state).await?;
        MessageId::parse(&text).map(Self).ok_or_else(ApiError::not_found)
    }
}

/// The `{id}` of a batch.
pub struct BatchPath(pub BatchId);

impl<S: Send + Sync> FromRequestParts<S> for BatchPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Texts(text) = Texts::<String>::from_request_parts(parts, state).await?;
        BatchId::parse(&text).map(Self).ok_or_else(ApiError::not_found)
    }
}

/// The texts of the path, in order: one `String`, or a tuple of them.
pub struct Texts<T>(pub T);

impl<T, S> FromRequestParts<S> for Texts<T>
where
    T: serde::de::DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(texts)| Self(texts)).map_err(|_| ApiError::not_found())
    }
}
