//! The model itself: what tests and the control API hold in their hands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::calendar::day;
use super::config::{CallbackTarget, SandboxConfig, Settings};
use super::faults::{ArmedFault, Fault};
use super::taken::TakenMessage;
use super::tokens::TokenCalls;
use super::world::{ChatLine, Follower, World};
use crate::domain::clock::{Clock, Timestamp};

/// How many callbacks are posted at the same time.
const PARALLEL_POSTS: usize = 64;

/// A model of WeChat. Clones share one world.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    config: SandboxConfig,
    world: Mutex<World>,
    clock: Arc<dyn Clock>,
    /// `None` when no client could be built: callbacks then tell so.
    http: Option<reqwest::Client>,
    posts: Semaphore,
}

/// What the control API may do to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserChange {
    Follow,
    Unfollow,
    Blacklist,
    Unblacklist,
}

/// The calls of one API that are under way; ends with the drop.
pub(super) struct InFlight {
    sandbox: Sandbox,
    path: String,
    pub(super) count: u32,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.sandbox.with(|world, _| {
            if let Some(count) = world.in_flight.get_mut(&self.path) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    world.in_flight.remove(&self.path);
                }
            }
        });
    }
}

impl Sandbox {
    pub fn new(config: SandboxConfig, clock: Arc<dyn Clock>) -> Self {
        // Another part of the process may have chosen a provider already: that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().ok();
        let world = Mutex::new(World::new(&config));
        Self(Arc::new(Inner { config, world, clock, http, posts: Semaphore::new(PARALLEL_POSTS) }))
    }

    /// Runs under the lock. Nothing in here may wait.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let now = self.0.clock.now();
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut world, now)
    }

    pub(super) fn http(&self) -> Option<&reqwest::Client> {
        self.0.http.as_ref()
    }

    /// `None` never happens: the semaphore is not closed.
    pub(super) async fn post_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.0.posts.acquire().await.ok()
    }

    pub(super) fn enter(&self, path: &str) -> InFlight {
        let count = self.with(|world, _| {
            let count = world.in_flight.entry(path.to_owned()).or_default();
            *count += 1;
            *count
        });
        InFlight { sandbox: self.clone(), path: path.to_owned(), count }
    }

    /// Heading of the page.
    pub fn title(&self) -> &str {
        &self.0.config.title
    }

    /// Appids, in order.
    pub fn accounts(&self) -> Vec<String> {
        self.with(|world, _| world.accounts.keys().cloned().collect())
    }

    /// The messages taken, oldest first, as many as are kept.
    pub fn messages(&self) -> Vec<TakenMessage> {
        self.with(|world, _| world.taken.list().cloned().collect())
    }

    pub fn messages_to(&self, openid: &str) -> Vec<TakenMessage> {
        self.with(|world, _| world.taken.list().filter(|message| message.openid == openid).cloned().collect())
    }

    /// How many messages were taken since the start, kept or not.
    pub fn message_count(&self) -> u64 {
        self.with(|world, _| world.taken.count())
    }

    /// How often this person's phone really showed a push.
    pub fn deliveries_to(&self, openid: &str) -> usize {
        let count = self.with(|world, _| world.taken.deliveries().get(openid).copied().unwrap_or(0));
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// How often phones showed the message with this `client_msg_id`. Exact for the last two million ids.
    pub fn deliveries_of(&self, client_msg_id: &str) -> usize {
        usize::try_from(self.with(|world, _| world.taken.deliveries_of(client_msg_id))).unwrap_or(usize::MAX)
    }

    /// Openid → how often the phone showed a push.
    pub fn deliveries(&self) -> BTreeMap<String, u64> {
        self.with(|world, _| world.taken.deliveries().iter().map(|(openid, count)| (openid.clone(), *count)).collect())
    }

    /// Switches a fault on; its id.
    pub fn set_fault(&self, fault: Fault) -> u64 {
        self.with(|world, now| world.faults.arm(fault, now))
    }

    /// `false` when there is none with this id.
    pub fn remove_fault(&self, id: u64) -> bool {
        self.with(|world, _| world.faults.disarm(id))
    }

    /// How many were switched off.
    pub fn clear_faults(&self) -> usize {
        self.with(|world, _| world.faults.clear())
    }

    pub fn faults(&self) -> Vec<ArmedFault> {
        self.with(|world, _| world.faults.list())
    }

    /// All tokens so far are expired (42001); how many slots were emptied.
    pub fn expire_tokens(&self) -> usize {
        self.with(|world, now| world.tokens.expire(None, now))
    }

    /// All tokens so far are refused with 40001; the next normal fetch gives a new one.
    pub fn revoke_tokens(&self) -> usize {
        self.with(|world, now| world.tokens.revoke(None, now))
    }

    /// All tokens so far are refused with 40001, and `stable_token` goes on giving the refused one until it is forced.
    pub fn refuse_tokens(&self) -> usize {
        self.with(|world, _| world.tokens.refuse(None))
    }

    /// How often tokens were asked for, over all accounts.
    pub fn token_calls(&self) -> TokenCalls {
        self.with(|world, _| world.tokens.calls(None))
    }

    pub fn token_calls_of(&self, app_id: &str) -> TokenCalls {
        self.with(|world, _| world.tokens.calls(Some(app_id)))
    }

    /// How often this API path was called.
    pub fn calls(&self, path: &str) -> u64 {
        self.with(|world, _| world.calls.get(path).copied().unwrap_or(0))
    }

    /// `None`: the default account. `false`: no such account.
    pub fn change_user(&self, account: Option<&str>, openid: &str, change: UserChange) -> bool {
        self.with(|world, now| {
            let Some(account) = world.account(account) else { return false };
            let user = account.user(openid, now);
            match change {
                UserChange::Follow => user.following = true,
                UserChange::Unfollow => user.following = false,
                UserChange::Blacklist => user.blacklisted = true,
                UserChange::Unblacklist => user.blacklisted = false,
            }
            true
        })
    }

    pub fn follow(&self, openid: &str) {
        self.change_user(None, openid, UserChange::Follow);
    }

    pub fn unfollow(&self, openid: &str) {
        self.change_user(None, openid, UserChange::Unfollow);
    }

    pub fn blacklist(&self, openid: &str) {
        self.change_user(None, openid, UserChange::Blacklist);
    }

    /// The persons that somebody spoke of. Everybody else is a follower.
    pub fn users(&self, account: Option<&str>) -> Vec<Follower> {
        self.with(|world, _| world.account(account).map(|account| account.users.values().cloned().collect()))
            .unwrap_or_default()
    }

    /// Openids that follow the default account, as far as they are known.
    pub fn followers(&self) -> Vec<String> {
        let users = self.users(None).into_iter();
        users.filter(|user| user.following && !user.blacklisted).map(|user| user.openid).collect()
    }

    /// The conversation with this person, or with all.
    pub fn chat(&self, openid: Option<&str>) -> Vec<ChatLine> {
        let of_person = |line: &&ChatLine| openid.is_none_or(|openid| line.openid == openid);
        self.with(|world, _| world.chat.iter().filter(of_person).cloned().collect())
    }

    pub fn callback_target(&self, account: Option<&str>) -> Option<CallbackTarget> {
        self.with(|world, _| world.account(account)?.target.clone())
    }

    /// `false`: no such account.
    pub fn set_callback_target(&self, account: Option<&str>, target: Option<CallbackTarget>) -> bool {
        self.with(|world, _| world.account(account).map(|account| account.target = target)).is_some()
    }

    pub fn settings(&self) -> Settings {
        self.with(|world, _| world.settings.clone())
    }

    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        self.with(|world, _| change(&mut world.settings));
    }

    /// How many template sends of today are used up; the daily quota itself stands in the account's configuration.
    pub fn set_quota_used(&self, account: Option<&str>, used: u64) -> bool {
        self.with(|world, now| world.account(account).map(|account| account.used.set(day(now), used))).is_some()
    }

    /// Everything as after the start, except where callbacks go and the settings.
    pub fn reset(&self) {
        self.with(|world, _| world.reset(&self.0.config));
    }
}
