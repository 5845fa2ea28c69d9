//! The state of the model: accounts, followers, tokens, messages, faults. One lock holds it all, and never across an await.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use serde_json::Value;

use super::calendar::{Count, day};
use super::config::{CallbackTarget, SandboxAccount, SandboxConfig, Settings};
use super::faults::Faults;
use super::taken::Taken;
use super::tokens::Tokens;
use crate::domain::clock::Timestamp;

/// How many refused requests are kept for rid/get.
const KEPT_REQUESTS: usize = 1_000;
/// How many chat lines are kept for the page.
const KEPT_CHAT: usize = 2_000;

/// A person, as one account knows them.
#[derive(Clone, Debug, Serialize)]
pub struct Follower {
    pub openid: String,
    pub following: bool,
    pub blacklisted: bool,
    pub since: Timestamp,
    /// Customer-service messages that may still be sent, and until when.
    #[serde(skip)]
    pub(super) window: Option<(Timestamp, u32)>,
}

/// One line of the conversation between a person and the account.
#[derive(Clone, Debug, Serialize)]
pub struct ChatLine {
    pub openid: String,
    /// `user` or `account`.
    pub from: &'static str,
    pub text: String,
    pub at: Timestamp,
}

/// A refused request, as rid/get tells it. Without token and secret.
#[derive(Clone, Debug)]
pub(super) struct RequestRecord {
    pub(super) rid: String,
    pub(super) account: Option<String>,
    pub(super) request: Value,
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) config: SandboxAccount,
    pub(super) target: Option<CallbackTarget>,
    pub(super) users: BTreeMap<String, Follower>,
    pub(super) used: Count,
    pub(super) clears: Count,
    pub(super) failed_pushes: u32,
    pub(super) silent_until: Option<Timestamp>,
}

impl Account {
    fn new(config: SandboxAccount) -> Self {
        Self {
            target: config.callback.clone(),
            config,
            users: BTreeMap::new(),
            used: Count::default(),
            clears: Count::default(),
            failed_pushes: 0,
            silent_until: None,
        }
    }

    /// The person, made a follower now when nobody spoke of them before.
    pub(super) fn user(&mut self, openid: &str, now: Timestamp) -> &mut Follower {
        self.users.entry(openid.to_owned()).or_insert_with(|| Follower {
            openid: openid.to_owned(),
            following: true,
            blacklisted: false,
            since: now,
            window: None,
        })
    }

    /// Counts a template send against the daily quota; `false` when it is used up.
    pub(super) fn use_quota(&mut self, now: Timestamp) -> bool {
        self.used.take(day(now), self.config.daily_quota)
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) accounts: BTreeMap<String, Account>,
    /// The account of control calls that name none.
    pub(super) default_account: String,
    pub(super) settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) taken: Taken,
    pub(super) faults: Faults,
    pub(super) chat: VecDeque<ChatLine>,
    pub(super) requests: VecDeque<RequestRecord>,
    /// Receipts that wait for `deliver_receipts`.
    pub(super) receipts: VecDeque<super::receipts::Receipt>,
    /// Receipts whose time has not come, or that are being posted.
    pub(super) receipts_under_way: usize,
    /// Receipts that were never acknowledged.
    pub(super) lost_receipts: VecDeque<super::receipts::Receipt>,
    pub(super) in_flight: HashMap<String, u32>,
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) rng: StdRng,
    next_msgid: i64,
}

impl World {
    pub(super) fn new(config: &SandboxConfig) -> Self {
        let mut rng = config.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        // Far above 2^53, and another range with each start, so that old receipts never fit new messages.
        let next_msgid = rng.random_range(3_000_000_000_000_000_000..4_000_000_000_000_000_000_i64);
        let accounts = config.accounts.iter().map(|account| (account.app_id.clone(), Account::new(account.clone())));
        Self {
            accounts: accounts.collect(),
            default_account: config.accounts.first().map(|account| account.app_id.clone()).unwrap_or_default(),
            settings: config.settings.clone(),
            tokens: Tokens::default(),
            taken: Taken::new(config.keep_messages),
            faults: Faults::default(),
            chat: VecDeque::new(),
            requests: VecDeque::new(),
            receipts: VecDeque::new(),
            receipts_under_way: 0,
            lost_receipts: VecDeque::new(),
            in_flight: HashMap::new(),
            calls: BTreeMap::new(),
            rng,
            next_msgid,
        }
    }

    /// As after the start. Targets and settings stay; so do the ids' and tokens' sources, for nothing may come twice.
    pub(super) fn reset(&mut self, config: &SandboxConfig) {
        let mut fresh = Self::new(config);
        for (app_id, account) in &mut fresh.accounts {
            account.target = self.accounts.get(app_id).and_then(|old| old.target.clone());
        }
        fresh.settings = self.settings.clone();
        fresh.in_flight = std::mem::take(&mut self.in_flight);
        fresh.receipts_under_way = self.receipts_under_way;
        std::mem::swap(&mut fresh.rng, &mut self.rng);
        fresh.next_msgid = self.next_msgid;
        *self = fresh;
    }

    /// A 64-bit id, never given twice.
    pub(super) fn new_msgid(&mut self) -> i64 {
        self.next_msgid += self.rng.random_range(1..1_000);
        self.next_msgid
    }

    /// Three hex groups; the first is the time.
    pub(super) fn new_rid(&mut self, now: Timestamp) -> String {
        let (a, b): (u32, u32) = (self.rng.random(), self.rng.random());
        format!("{:08x}-{a:08x}-{b:08x}", now.as_seconds() & 0xffff_ffff)
    }

    pub(super) fn token_lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.settings.token_lifetime_s))
    }

    /// The named account, or the default one.
    pub(super) fn account(&mut self, app_id: Option<&str>) -> Option<&mut Account> {
        let app_id = app_id.unwrap_or(&self.default_account);
        self.accounts.get_mut(app_id)
    }

    pub(super) fn say(&mut self, openid: &str, from: &'static str, text: &str, now: Timestamp) {
        if self.chat.len() >= KEPT_CHAT {
            self.chat.pop_front();
        }
        self.chat.push_back(ChatLine { openid: openid.to_owned(), from, text: text.to_owned(), at: now });
    }

    pub(super) fn record(&mut self, record: RequestRecord) {
        if self.requests.len() >= KEPT_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(record);
    }
}
