//! How much an account may still send today. WeChat counts by the day of Beijing; when it says that the day's quota is used
//! up, and its own figures do not deny it, nothing of the account is sent before the next day, and then one message first.
//!
//! What is known comes from WeChat (`openapi/quota/get`), read beside the road, and from counting on from there. Failing to
//! read it changes nothing.

mod book;
mod read;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use self::book::{Book, Told};
pub use self::read::QuotaReader;
use crate::domain::account::Account;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event;
use crate::services::accounts::Accounts;
use crate::services::announce::announce;
use crate::services::verdict::next_quota_day;
use crate::store;

/// "The day's quota is used up", on any API.
pub const USED_UP: i64 = 45009;
/// So long a reading is good enough to tell whether a refusal is meant for the whole account.
const FRESH: Duration = Duration::from_secs(10);
/// How often it is read when nothing happens.
const HOURLY: Duration = Duration::from_secs(3600);
/// How long a batch waits for a reading, and how old one may be for it.
const PATIENCE: Duration = Duration::from_secs(2);
const RECENT: Duration = Duration::from_secs(60);
/// From so many messages on, a batch is worth a reading.
const BIG_BATCH: usize = 100;
/// Another message may probe when the first has said nothing for so long.
const PROBE_AGAIN: Duration = Duration::from_secs(30);

/// The quotas of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    accounts: Accounts,
    reader: QuotaReader,
    parks: Arc<dyn store::Parks>,
    events: Arc<dyn store::Raise>,
    clock: Arc<dyn Clock>,
    /// Never held across an await.
    lines: Mutex<HashMap<Arc<str>, Line>>,
}

#[derive(Default)]
struct Line {
    book: Book,
    /// Nothing is sent before this; afterwards one message probes.
    parked_until: Option<Timestamp>,
    probed_at: Option<Timestamp>,
    /// When it was last tried to read the quota.
    tried_at: Option<Timestamp>,
    /// It is parked, and WeChat has not been heard about what is left.
    is_doubtful: bool,
}

/// How an account stands, for metrics and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaStanding {
    pub account: Arc<str>,
    pub is_parked: bool,
    /// `None`: not known.
    pub remaining: Option<u64>,
}

impl Quotas {
    pub fn new(
        accounts: Accounts,
        reader: QuotaReader,
        parks: Arc<dyn store::Parks>,
        events: Arc<dyn store::Raise>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Arc::new(Inner { accounts, reader, parks, events, clock, lines: Mutex::default() }))
    }

    /// Takes over what the store knows: from before a restart, and from other nodes.
    pub async fn catch_up(&self) -> Result<(), store::Error> {
        let kept = self.0.parks.list().await?;
        let mut lines = self.0.lines();
        for account in self.0.accounts.table().values() {
            let until = kept.iter().find(|(name, _)| **name == *account.name).map(|(_, until)| *until);
            let line = lines.entry(account.name.clone()).or_default();
            if line.parked_until != until {
                line.parked_until = until;
                line.probed_at = None;
                line.is_doubtful = until.is_some();
            }
        }
        Ok(())
    }

    /// How many messages of the account may go now, as far as its quota goes.
    pub fn room(&self, account: &Arc<str>, now: Timestamp) -> usize {
        let lines = self.0.lines();
        let Some(line) = lines.get(account) else { return usize::MAX };
        match line.parked_until {
            None => usize::MAX,
            Some(until) if now < until => 0,
            Some(_) => usize::from(line.probed_at.is_none_or(|at| now.since(at) >= PROBE_AGAIN || now < at)),
        }
    }

    /// A message of the account goes out.
    pub fn goes(&self, account: &Arc<str>, now: Timestamp) {
        if let Some(line) = self.0.lines().get_mut(account).filter(|line| line.parked_until.is_some()) {
            line.probed_at = Some(now);
        }
    }

    /// Until when nothing of the account is sent.
    pub fn parked_until(&self, account: &str, now: Timestamp) -> Option<Timestamp> {
        self.0.lines().get(account)?.parked_until.filter(|until| now < *until)
    }

    /// WeChat has answered a send of the account with this code.
    pub async fn answered(&self, account: &Account, errcode: i64) {
        if errcode == USED_UP {
            return self.refused(account).await;
        }
        let now = self.0.clock.now();
        let day = next_quota_day(now);
        let (is_back, is_spent) = {
            let mut lines = self.0.lines();
            let line = lines.entry(account.name.clone()).or_default();
            let is_back = line.parked_until.is_some_and(|until| now >= until);
            if is_back {
                line.parked_until = None;
                line.probed_at = None;
            }
            if errcode == 0 {
                line.book.count(day);
            }
            self.0.tell(account, line, now);
            (is_back, line.parked_until.is_none() && line.book.is_own_spent(account.daily_quota, day))
        };
        if is_spent {
            self.park(account, day).await;
        } else if is_back {
            tracing::info!(account.id = &*account.name, "quota.back: a new day has begun, the account sends again");
            kept(account, self.0.parks.unpark(&account.name).await);
        }
    }

    /// Reads what has not been read for an hour, beside the road, of accounts that have a token; sooner, where an account is
    /// parked and nobody knows whether it has to be. → how many.
    pub fn refresh_due(&self) -> usize {
        let now = self.0.clock.now();
        let is_due = |account: &&Arc<Account>| {
            let (tried_at, pause) = match self.0.lines().get(&account.name) {
                Some(line) => (line.tried_at, if line.is_doubtful { FRESH } else { HOURLY }),
                None => (None, HOURLY),
            };
            tried_at.is_none_or(|at| now.since(at) >= pause || now < at) && self.0.reader.can_read(&account.name)
        };
        let due: Vec<Arc<Account>> = self.0.accounts.table().values().filter(is_due).cloned().collect();
        for account in &due {
            let (this, account) = (self.clone(), account.clone());
            self.0.lines().entry(account.name.clone()).or_default().tried_at = Some(now);
            tokio::spawn(async move { this.read(&account).await });
        }
        due.len()
    }

    /// How many too many a batch of so many messages would be today, as far as is known.
    pub async fn short_of(&self, account: &str, messages: usize) -> Option<u64> {
        let account = self.0.accounts.look_up(account)?;
        if messages >= BIG_BATCH && !self.has_read_within(&account, RECENT) && self.0.reader.can_read(&account.name) {
            // It goes on beside, when it takes longer.
            let (this, account) = (self.clone(), account.clone());
            let reading = tokio::spawn(async move { this.read(&account).await });
            let _ = tokio::time::timeout(PATIENCE, reading).await;
        }
        let now = self.0.clock.now();
        let remaining = self.0.lines().get(&account.name).and_then(|line| line.remaining(&account, now));
        // Nothing was counted yet: all of it is there.
        let remaining = remaining.or(account.daily_quota)?;
        u64::try_from(messages).ok()?.checked_sub(remaining).filter(|short| *short > 0)
    }

    pub fn standings(&self) -> Vec<QuotaStanding> {
        let now = self.0.clock.now();
        let lines = self.0.lines();
        let standing = |account: &Arc<Account>| {
            let line = lines.get(&account.name);
            QuotaStanding {
                account: account.name.clone(),
                is_parked: line.is_some_and(|line| line.parked_until.is_some()),
                remaining: line.map_or(account.daily_quota, |line| line.remaining(account, now)),
            }
        };
        self.0.accounts.table().values().map(standing).collect()
    }

    /// 45009. It has been seen with quota left: WeChat's own figure decides whether the account is meant.
    async fn refused(&self, account: &Account) {
        if !self.has_read_within(account, FRESH) {
            self.read(account).await;
        }
        let now = self.0.clock.now();
        let is_left = {
            let mut lines = self.0.lines();
            let line = lines.entry(account.name.clone()).or_default();
            line.probed_at = None;
            line.is_doubtful = !line.book.is_read_within(now, FRESH);
            line.book.has_surely_some(now, FRESH)
        };
        match is_left {
            true => tracing::info!(
                account.id = &*account.name,
                wechat.errcode = USED_UP,
                "WeChat says that the quota is used up, and also that some is left: this message alone waits"
            ),
            false => self.park(account, next_quota_day(now)).await,
        }
    }

    async fn park(&self, account: &Account, until: Timestamp) {
        {
            let mut lines = self.0.lines();
            let line = lines.entry(account.name.clone()).or_default();
            line.probed_at = None;
            if line.parked_until == Some(until) {
                return;
            }
            line.parked_until = Some(until);
            self.0.tell(account, line, self.0.clock.now());
        }
        kept(account, self.0.parks.park(&account.name, until).await);
    }

    async fn read(&self, account: &Account) {
        let now = self.0.clock.now();
        self.0.lines().entry(account.name.clone()).or_default().tried_at = Some(now);
        let Some((limit, used)) = self.0.reader.read(account).await else { return };
        let day = next_quota_day(now);
        let is_back = {
            let mut lines = self.0.lines();
            let line = lines.entry(account.name.clone()).or_default();
            line.book.read(limit, used, now, day);
            line.is_doubtful = false;
            // Somebody has cleared it, or it could not be read when it was parked.
            let is_back = line.parked_until.is_some_and(|until| now < until)
                && line.book.has_surely_some(now, FRESH)
                && !line.book.is_own_spent(account.daily_quota, day);
            if is_back {
                line.parked_until = None;
                line.probed_at = None;
            }
            self.0.tell(account, line, now);
            is_back
        };
        if is_back {
            tracing::info!(
                account.id = &*account.name,
                "quota.back: WeChat says that some is left, the account sends again"
            );
            kept(account, self.0.parks.unpark(&account.name).await);
        }
    }

    fn has_read_within(&self, account: &Account, span: Duration) -> bool {
        let now = self.0.clock.now();
        self.0.lines().get(&account.name).is_some_and(|line| line.book.is_read_within(now, span))
    }
}

impl Inner {
    /// Once a day each.
    fn tell(&self, account: &Account, line: &mut Line, now: Timestamp) {
        let day = next_quota_day(now);
        let remaining = line.remaining(account, now);
        let limit = line.book.limit(account.daily_quota, day);
        let kind = match line.book.tell(remaining, limit, day) {
            Some(Told::Exhausted) => {
                tracing::warn!(
                    account.id = &*account.name,
                    until = %day,
                    "quota.exhausted: the day's quota is used up; messages of this account wait"
                );
                event::QUOTA_EXHAUSTED
            }
            Some(Told::Low) => {
                tracing::warn!(
                    account.id = &*account.name,
                    remaining,
                    limit,
                    "quota.low: no more than a tenth of the day's quota is left"
                );
                event::QUOTA_LOW
            }
            None => return,
        };
        let data = json!({ "remaining": remaining, "limit": limit, "until": day.to_string() });
        announce(&self.events, &account.name, kind, now, &data);
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// `None`: nobody has said how much there is.
    fn remaining(&self, account: &Account, now: Timestamp) -> Option<u64> {
        match self.parked_until {
            Some(until) if now < until => Some(0),
            _ => self.book.remaining(account.daily_quota, next_quota_day(now)),
        }
    }
}

/// It holds in this process all the same.
fn kept(account: &Account, result: Result<(), store::Error>) {
    if let Err(error) = result {
        tracing::debug!(account.id = &*account.name, %error, "that an account waits for its quota is not kept");
    }
}
