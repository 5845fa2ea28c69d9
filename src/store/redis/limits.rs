//! `SharedLimits`: one string a bucket.
//!
//! | key | value | forgotten |
//! | --- | --- | --- |
//! | `<prefix>limit:<name>` | when the bucket will be full again, and when that was written: µs since 1970, by Redis' clock | when it is full |

use std::time::Duration;

use async_trait::async_trait;

use super::link::Link;
use super::script::Script;
use crate::domain::limit::Rate;
use crate::store::limits::{BucketStanding, LimitVerb, SharedAsk, SharedLimits};
use crate::store::{Allowance, Error};

/// GCRA. Keys: the buckets. Arguments, for each ask: verb, how long it may wait, how many buckets; then for each bucket the time
/// that one takes, and how far that pace may be run ahead of. → for each bucket: taken (1, 0), wait, time until it is full.
/// All times in whole µs: as doubles they are exact. What a clock wrote that was set back since, or is no bucket of ours,
/// counts as full.
const ASK: Script = Script(
    "local time = redis.call('TIME')
     local now = time[1] * 1000000 + time[2]
     local function full_at(key)
       local kept = redis.pcall('GET', key)
       if type(kept) ~= 'string' then return now end
       local full, written = string.match(kept, '^(%d+) (%d+)$')
       if not full or tonumber(written) > now + 2000000 then return now end
       return math.max(tonumber(full), now)
     end
     local answer, arg, bucket = {}, 1, 1
     while arg <= #ARGV do
       local verb, within, count = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
       arg = arg + 3
       local fulls, waits, longest = {}, {}, 0
       for i = 1, count do
         fulls[i] = full_at(KEYS[bucket + i - 1])
         waits[i] = math.max(fulls[i] - tonumber(ARGV[arg + 2 * i - 1]) - now, 0)
         longest = math.max(longest, waits[i])
       end
       local all = (verb == 'take' and longest == 0) or (verb == 'reserve' and longest < within)
       for i = 1, count do
         local key, pace, full = KEYS[bucket + i - 1], tonumber(ARGV[arg + 2 * i - 2]), fulls[i]
         local taken = all or (verb == 'observe' and waits[i] == 0)
         if taken then full = full + pace end
         if verb == 'back' then full = math.max(full - pace, now) end
         if full > now and full ~= fulls[i] then
           redis.call('SET', key, string.format('%.0f %.0f', full, now), 'PX', math.ceil((full - now) / 1000))
         elseif full ~= fulls[i] then
           redis.call('DEL', key)
         end
         answer[#answer + 1] = taken and 1 or 0
         answer[#answer + 1] = waits[i]
         answer[#answer + 1] = full - now
       end
       arg, bucket = arg + 2 * count, bucket + count
     end
     return answer",
);

/// The buckets of all nodes that use this Redis and prefix.
pub struct RedisLimits {
    link: Link,
}

impl RedisLimits {
    /// No I/O.
    pub fn new(link: Link) -> Self {
        Self { link }
    }
}

#[async_trait]
impl SharedLimits for RedisLimits {
    async fn ask(&self, allowance: &mut Allowance, asks: &[SharedAsk]) -> Result<Vec<Vec<BucketStanding>>, Error> {
        let buckets = || asks.iter().flat_map(|ask| &ask.buckets);
        let keys: Vec<String> = buckets().map(|bucket| self.link.key(format_args!("limit:{}", bucket.name))).collect();
        let mut call = ASK.of_all(&keys);
        for ask in asks {
            let (verb, within) = words(ask.verb);
            call.arg(verb).arg(micros(within)).arg(ask.buckets.len());
            for bucket in &ask.buckets {
                let (pace, ahead) = pace(&bucket.rate);
                call.arg(pace).arg(ahead);
            }
        }
        let numbers: Vec<u64> =
            self.link.run(allowance, |mut conn| async move { call.query_async(&mut conn).await }).await?;
        if numbers.len() != keys.len() * 3 {
            let reason = "Redis: its answer about the limits is not one of ours".to_owned();
            return Err(Error::Unavailable { reason });
        }
        let mut standings = numbers.chunks_exact(3).map(standing);
        Ok(asks.iter().map(|ask| standings.by_ref().take(ask.buckets.len()).collect()).collect())
    }
}

fn words(verb: LimitVerb) -> (&'static str, Duration) {
    match verb {
        LimitVerb::Take => ("take", Duration::ZERO),
        LimitVerb::Reserve { within } => ("reserve", within),
        LimitVerb::Observe => ("observe", Duration::ZERO),
        LimitVerb::Look => ("look", Duration::ZERO),
        LimitVerb::GiveBack => ("back", Duration::ZERO),
    }
}

/// The time of one, and that of the burst but for one.
fn pace(rate: &Rate) -> (u64, u64) {
    let pace = micros(rate.pace());
    (pace, pace.saturating_mul(u64::from(rate.burst.get() - 1)))
}

fn standing(numbers: &[u64]) -> BucketStanding {
    let span = |number: Option<&u64>| Duration::from_micros(number.copied().unwrap_or(0));
    BucketStanding { is_taken: numbers.first() == Some(&1), wait: span(numbers.get(1)), full_in: span(numbers.get(2)) }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
