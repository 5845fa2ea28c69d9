//! `SharedTokens`: one hash a token, one string a lock.
//!
//! | key | value | forgotten |
//! | --- | --- | --- |
//! | `<prefix>token:<account>:<app id>` | hash: `generation`, `sealed`, `fetched_at`, `expires_at`, `forced_at`, `forced_today` | when the token expires |
//! | `<prefix>token-lock:<account>:<app id>` | who holds the right to refresh | after `hold` |

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::link::{Link, Unanswered};
use super::script::Script;
use crate::domain::clock::Timestamp;
use crate::domain::seal::Sealer;
use crate::domain::token::AccessToken;
use crate::store::tokens::{RefreshLock, row_name};
use crate::store::{Allowance, Error, SharedTokens};

/// Key: the token's. Arguments: generation, expiry in ms since 1970, then fields and values. → 1 published, 0 a newer one stays.
/// What is no token of ours gives way.
const PUBLISH: Script = Script(
    "local kept = tonumber(redis.pcall('HGET', KEYS[1], 'generation'))
     if kept and kept > tonumber(ARGV[1]) then return 0 end
     redis.call('DEL', KEYS[1])
     redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'expires_at', ARGV[2], unpack(ARGV, 3))
     redis.call('PEXPIREAT', KEYS[1], ARGV[2])
     return 1",
);

/// Key: the lock's. Argument: its holder.
const UNLOCK: Script =
    Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0");

/// The shared tokens of all nodes that use this Redis and prefix.
pub struct RedisTokens {
    link: Link,
    sealer: Sealer,
}

impl RedisTokens {
    /// No I/O.
    pub fn new(link: Link, sealer: Sealer) -> Self {
        Self { link, sealer }
    }

    fn key(&self, kind: &str, account: &str, app_id: &str) -> String {
        self.link.key(format_args!("{kind}:{account}:{app_id}"))
    }

    /// Beside the road, once Redis answers again: a lock that nobody gives back keeps the other nodes waiting.
    fn give_back_later(&self, lock: RefreshLock) {
        let link = self.link.clone();
        tokio::spawn(async move {
            let hold = lock.hold;
            let given_back = async {
                link.recovered().await;
                give_back(&link, &mut Allowance::default(), lock).await
            };
            // Then Redis has forgotten it.
            let _ = tokio::time::timeout(hold, given_back).await;
        });
    }
}

async fn give_back(link: &Link, allowance: &mut Allowance, lock: RefreshLock) -> Result<(), Unanswered> {
    let mut call = UNLOCK.of(lock.key);
    call.arg(lock.holder);
    link.run(allowance, |mut conn| async move { call.query_async(&mut conn).await }).await
}

#[async_trait]
impl SharedTokens for RedisTokens {
    async fn load(&self, allowance: &mut Allowance, account: &str, app_id: &str) -> Result<Option<AccessToken>, Error> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.key("token", account, app_id));
        let fields: HashMap<String, String> =
            self.link.run(allowance, |mut conn| async move { get.query_async(&mut conn).await }).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        self.read(account, &fields)
    }

    async fn publish(
        &self,
        allowance: &mut Allowance,
        account: &str,
        app_id: &str,
        token: &AccessToken,
    ) -> Result<bool, Error> {
        let sealed = self
            .sealer
            .seal(&token.token, &row_name(account))
            .map_err(|_| Error::Unavailable { reason: "the token cannot be sealed: check secrets.key".to_owned() })?;
        let mut call = PUBLISH.of(self.key("token", account, app_id));
        call.arg(token.generation).arg(token.expires_at.as_millis());
        call.arg("sealed").arg(sealed);
        call.arg("fetched_at").arg(token.fetched_at.as_millis());
        call.arg("forced_today").arg(token.forced_today);
        if let Some(at) = token.forced_at {
            call.arg("forced_at").arg(at.as_millis());
        }
        Ok(self.link.run(allowance, |mut conn| async move { call.query_async(&mut conn).await }).await?)
    }

    async fn lock(
        &self,
        allowance: &mut Allowance,
        account: &str,
        app_id: &str,
        hold: Duration,
    ) -> Result<Option<RefreshLock>, Error> {
        let lock = RefreshLock {
            key: self.key("token-lock", account, app_id),
            holder: hex::encode(rand::random::<[u8; 16]>()),
            hold,
        };
        let mut set = redis::cmd("SET");
        // Redis refuses a life of 0 ms.
        let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1);
        set.arg(&lock.key).arg(&lock.holder).arg("NX").arg("PX").arg(hold);
        let taken = self.link.run(allowance, |mut conn| async move { set.query_async::<bool>(&mut conn).await }).await;
        match taken {
            Ok(taken) => Ok(taken.then_some(lock)),
            Err(unanswered) => {
                if unanswered.was_asked {
                    self.give_back_later(lock);
                }
                Err(unanswered.into())
            }
        }
    }

    async fn unlock(&self, allowance: &mut Allowance, lock: RefreshLock) -> Result<(), Error> {
        let given_back = give_back(&self.link, allowance, lock.clone()).await;
        if given_back.is_err() {
            self.give_back_later(lock);
        }
        Ok(given_back?)
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
