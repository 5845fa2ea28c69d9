//! Reads a body whole: so many bytes, so much time, and no more.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::error::{ApiError, Code};

/// What a body may be.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    pub time: Duration,
    /// A body that is not here when this fires is not waited for: nothing of its request has begun.
    pub stopping: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TimedOut,
    /// The connection broke.
    Broken,
    /// The gateway stops.
    Stopping,
}

impl BodyError {
    pub(super) fn refuse(self, limits: &BodyLimits) -> ApiError {
        match self {
            Self::TooLarge => ApiError::new(Code::PayloadTooLarge, format!("the body may have {} bytes", limits.bytes)),
            Self::TimedOut => ApiError::new(Code::RequestTimeout, "the body did not arrive in time"),
            Self::Broken => ApiError::new(Code::MalformedRequest, "the body broke off"),
            Self::Stopping => ApiError::new(Code::ShuttingDown, "the gateway stops, and the body had not arrived"),
        }
    }
}

/// A body that says beforehand that it is too large is not read at all.
pub(super) async fn read(body: Body, limits: &BodyLimits) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if announced > limits.bytes as u64 {
        return Err(BodyError::TooLarge);
    }
    tokio::select! {
        biased;
        read = tokio::time::timeout(limits.time, collect(body, limits.bytes)) => {
            read.unwrap_or(Err(BodyError::TimedOut))
        }
        () = limits.stopping.cancelled() => Err(BodyError::Stopping),
    }
}

async fn collect(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue; // trailers
        };
        if first.len() + all.len() + data.len() > limit {
            return Err(BodyError::TooLarge);
        }
        // Most bodies come in one piece: that one is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn limits() -> BodyLimits {
        BodyLimits { bytes: 8, time: Duration::from_secs(60), stopping: CancellationToken::new() }
    }

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn pieces_are_put_together_up_to_the_limit() {
        assert_eq!(read(chunks(&["ab", "cd", "efgh"]), &limits()).await.unwrap(), "abcdefgh");
        assert_eq!(read(chunks(&[]), &limits()).await.unwrap(), "");
        assert_eq!(read(chunks(&["abcdefgh", "i"]), &limits()).await, Err(BodyError::TooLarge));
        assert_eq!(read(Body::from("abcdefghi"), &limits()).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn a_stalled_body_is_given_up() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let limits = BodyLimits { time: Duration::ZERO, ..limits() };
        assert_eq!(read(stalled, &limits).await, Err(BodyError::TimedOut));
    }

    #[tokio::test]
    async fn a_body_that_is_not_here_is_not_waited_for_when_the_gateway_stops() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let limits = limits();
        limits.stopping.cancel();
        assert_eq!(read(stalled, &limits).await, Err(BodyError::Stopping));
        assert_eq!(read(chunks(&["ab"]), &limits).await.unwrap(), "ab", "one that is here is read");
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error() {
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(read(broken, &limits()).await, Err(BodyError::Broken));
    }
}
