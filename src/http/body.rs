//! Reads a body whole: so many bytes, so much time, and no more.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    pub bytes: usize,
    pub time: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    TimedOut,
    /// The connection broke.
    Broken,
}

/// A body that says beforehand that it is too large is not read at all.
pub(super) async fn read(body: Body, limits: BodyLimits) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if announced > limits.bytes as u64 {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(limits.time, collect(body, limits.bytes)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::TimedOut),
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

    const LIMITS: BodyLimits = BodyLimits { bytes: 8, time: Duration::from_secs(60) };

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk.as_bytes()))).collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn pieces_are_put_together_up_to_the_limit() {
        assert_eq!(read(chunks(&["ab", "cd", "efgh"]), LIMITS).await.unwrap(), "abcdefgh");
        assert_eq!(read(chunks(&[]), LIMITS).await.unwrap(), "");
        assert_eq!(read(chunks(&["abcdefgh", "i"]), LIMITS).await, Err(BodyError::TooLarge));
        assert_eq!(read(Body::from("abcdefghi"), LIMITS).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn a_stalled_body_is_given_up() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let limits = BodyLimits { time: Duration::ZERO, ..LIMITS };
        assert_eq!(read(stalled, limits).await, Err(BodyError::TimedOut));
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error() {
        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]));
        assert_eq!(read(broken, LIMITS).await, Err(BodyError::Broken));
    }
}
