//! Calls whose answer is read: to back ends.

use super::{OutsideCall, OutsideClient, OutsideFault};

/// What came back, with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    pub status: u16,
    /// `None`: longer than was asked for.
    pub body: Option<Vec<u8>>,
}

impl OutsideClient {
    /// As [`Self::post`], and the body of a 2xx answer is read.
    pub async fn ask(&self, call: OutsideCall, limit_bytes: usize) -> Result<ReadAnswer, OutsideFault> {
        let mut response = self.send(call).await?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        if !response.status().is_success() {
            return Ok(ReadAnswer { status, body: Some(body) });
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| OutsideFault::of(&error))? {
            if body.len() + chunk.len() > limit_bytes {
                return Ok(ReadAnswer { status, body: None });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(ReadAnswer { status, body: Some(body) })
    }
}
