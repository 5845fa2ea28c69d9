//! `SharedNonces`: one string a nonce.
//!
//! | key | value | forgotten |
//! | --- | --- | --- |
//! | `<prefix>nonce:<32 hex digits>` | nothing that matters | after `hold` |

use std::time::Duration;

use async_trait::async_trait;

use super::link::Link;
use crate::domain::signed::NonceId;
use crate::store::{Allowance, Error, SharedNonces};

/// The nonces of all nodes that use this Redis and prefix.
pub struct RedisNonces {
    link: Link,
}

impl RedisNonces {
    /// No I/O.
    pub fn new(link: Link) -> Self {
        Self { link }
    }
}

#[async_trait]
impl SharedNonces for RedisNonces {
    async fn remember(&self, allowance: &mut Allowance, nonce: NonceId, hold: Duration) -> Result<bool, Error> {
        let mut set = redis::cmd("SET");
        // Redis refuses a life of 0 ms.
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1);
        set.arg(self.link.key(format_args!("nonce:{}", hex::encode(nonce.0)))).arg(1).arg("NX").arg("PX").arg(hold);
        Ok(self.link.run(allowance, |mut conn| async move { set.query_async(&mut conn).await }).await?)
    }
}
