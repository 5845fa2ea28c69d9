//! Station 7b: keep what WeChat said, let it take effect, and answer.

use super::verify::Verified;
use crate::store;
use crate::wechat::tree::Format;

/// The answer to WeChat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bare word `success`, text/plain.
    Success,
    /// A passive reply, sealed if need be.
    Reply { body: String, format: Format },
}

#[derive(Clone)]
pub struct Receive {}

impl Receive {
    /// Stored first, then answered. An error means: not kept, so it must not be acknowledged.
    pub async fn take(&self, _verified: Verified) -> Result<Answer, store::Error> {
        todo!()
    }
}
