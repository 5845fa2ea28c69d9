//! `SharedNonces`: one string a nonce.
//!
//! | key | value | forgotten |
//! | --- | --- | --- |
//! | `<prefix>nonce:<32 hex digits>` | nothing that matters | after `hold` |

use std::time::Duration;

use async_trait::async_trait;

use super::link::Link;
use crate::config::store::RedisConfig;
use crate::domain::signed::NonceId;
use crate::store::{Error, SharedNonces};

/// The nonces of all nodes that use this Redis and prefix.
pub struct RedisNonces {
    link: Link,
    prefix: String,
}

impl RedisNonces {
    /// No I/O. `Unavailable` when the URL is none.
    pub fn new(config: &RedisConfig) -> Result<Self, Error> {
        Ok(Self { link: Link::new(config)?, prefix: config.prefix.clone() })
    }
}

#[async_trait]
impl SharedNonces for RedisNonces {
    async fn remember(&self, nonce: NonceId, hold: Duration) -> Result<bool, Error> {
        let mut set = redis::cmd("SET");
        // Redis refuses a life of 0 ms.
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1);
        set.arg(format!("{}nonce:{}", self.prefix, hex::encode(nonce.0))).arg(1).arg("NX").arg("PX").arg(hold);
        self.link.run(|mut conn| async move { set.query_async(&mut conn).await }).await
    }
}
