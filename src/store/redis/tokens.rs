//! `SharedTokens`: one hash a token, one string a lock.
//!
//! | key | value | forgotten |
//! | --- | --- | --- |
//! | `<prefix>token:<account>:<app id>` | hash: `generation`, `sealed`, `fetched_at`, `expires_at`, `forced_at`, `forced_today` | when the token expires |
//! | `<prefix>token-lock:<account>:<app id>` | who holds the right to refresh | after `hold` |

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::link::Link;
use crate::config::store::RedisConfig;
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;
use crate::domain::token::AccessToken;
use crate::store::tokens::{RefreshLock, row_name};
use crate::store::{Error, SharedTokens};

/// Key: the token's. Arguments: generation, expiry in ms since 1970, then fields and values. → 1 published, 0 a newer one stays.
static PUBLISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local kept = redis.call('HGET', KEYS[1], 'generation')
         if kept and tonumber(kept) > tonumber(ARGV[1]) then return 0 end
         redis.call('DEL', KEYS[1])
         redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'expires_at', ARGV[2], unpack(ARGV, 3))
         redis.call('PEXPIREAT', KEYS[1], ARGV[2])
         return 1",
    )
});

/// Key: the lock's. Argument: its holder.
static UNLOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// The shared tokens of all nodes that use this Redis and prefix.
pub struct RedisTokens {
    link: Link,
    prefix: String,
    sealer: Sealer,
}

impl RedisTokens {
    /// No I/O. `Unavailable` when the URL is none.
    pub fn new(config: &RedisConfig, sealer: Sealer) -> Result<Self, Error> {
        Ok(Self { link: Link::new(config)?, prefix: config.prefix.clone(), sealer })
    }

    fn key(&self, kind: &str, account: &str, app_id: &str) -> String {
        format!("{}{kind}:{account}:{app_id}", self.prefix)
    }
}

#[async_trait]
impl SharedTokens for RedisTokens {
    async fn load(&self, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
        let key = self.key("token", account, app_id);
        let fields: HashMap<String, String> = self
            .link
            .run(|mut conn| async move { redis::cmd("HGETALL").arg(key).query_async(&mut conn).await })
            .await?;
        if fields.is_empty() {
            return Ok(None);
        }
        self.read(account, &fields)
    }

    async fn publish(&self, account: &str, app_id: &str, token: &AccessToken) -> Result<bool, Error> {
        let sealed = self
            .sealer
            .seal(&token.token, &row_name(account))
            .map_err(|_| Error::Unavailable { reason: "the token cannot be sealed: check secrets.key".to_owned() })?;
        let mut call = PUBLISH.key(self.key("token", account, app_id));
        call.arg(token.generation).arg(token.expires_at.as_millis());
        call.arg("sealed").arg(sealed);
        call.arg("fetched_at").arg(token.fetched_at.as_millis());
        call.arg("forced_today").arg(token.forced_today);
        if let Some(at) = token.forced_at {
            call.arg("forced_at").arg(at.as_millis());
        }
        self.link.run(|mut conn| async move { call.invoke_async(&mut conn).await }).await
    }

    async fn lock(&self, account: &str, app_id: &str, hold: Duration) -> Result<Option<RefreshLock>, Error> {
        let lock = RefreshLock {
            key: self.key("token-lock", account, app_id),
            holder: hex::encode(rand::random::<[u8; 16]>()),
        };
        let mut set = redis::cmd("SET");
        // Redis refuses a life of 0 ms.
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1);
        set.arg(&lock.key).arg(&lock.holder).arg("NX").arg("PX").arg(hold);
        let taken: bool = self.link.run(|mut conn| async move { set.query_async(&mut conn).await }).await?;
        Ok(taken.then_some(lock))
    }

    async fn unlock(&self, lock: RefreshLock) -> Result<(), Error> {
        let mut call = UNLOCK.key(lock.key);
        call.arg(lock.holder);
        self.link.run(|mut conn| async move { call.invoke_async(&mut conn).await }).await
    }

    async fn ping(&self) -> Result<(), Error> {
        let pong: String =
            self.link.run(|mut conn| async move { redis::cmd("PING").query_async(&mut conn).await }).await?;
        match pong.as_str() {
            "PONG" => Ok(()),
            _ => Err(Error::Unavailable { reason: "what answers at redis.url is not Redis".to_owned() }),
        }
    }
}

impl RedisTokens {
    /// `None` when it was sealed under another key.
    fn read(&self, account: &str, fields: &HashMap<String, String>) -> Result<Option<AccessToken>, Error> {
        let corrupt = |column| Error::Corrupt { table: "redis token", column, row: account.to_owned() };
        let number = |column| -> Result<i64, Error> {
            fields.get(column).and_then(|text| text.parse().ok()).ok_or_else(|| corrupt(column))
        };
        let sealed = fields.get("sealed").ok_or_else(|| corrupt("sealed"))?;
        let Ok(token) = self.sealer.open(sealed, &row_name(account)) else { return Ok(None) };
        Ok(Some(AccessToken {
            token,
            generation: number("generation")?,
            fetched_at: Timestamp::from_millis(number("fetched_at")?),
            expires_at: Timestamp::from_millis(number("expires_at")?),
            forced_at: fields
                .contains_key("forced_at")
                .then(|| number("forced_at"))
                .transpose()?
                .map(Timestamp::from_millis),
            forced_today: u32::try_from(number("forced_today")?).map_err(|_| corrupt("forced_today"))?,
        }))
    }
}
