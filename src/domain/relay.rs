//! Relaying callbacks to back ends of the operator's: who gets what, whose answer counts, and what came of it.

mod state;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::state::RelayState;
use super::secret::Secret;

/// Milliseconds from WeChat's request to our answer, unless said otherwise. WeChat gives up after 5 s.
const TIMEOUT_MS: u64 = 4_500;

/// `accounts.<name>.relay`. Serialized without what is secret and without who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayOptions {
    /// The back end that answers what no `reply` route takes.
    pub url: Option<String>,
    pub timeout_ms: u64,
    pub late_reply: LateReply,
    pub routes: Vec<RelayRoute>,
    /// What requests are signed with; `None`: the account's token.
    #[serde(skip)]
    pub token: Option<Secret>,
    /// From the configuration file: its URLs may lead into the operator's own network.
    #[serde(skip)]
    pub is_operators: bool,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            url: None,
            timeout_ms: TIMEOUT_MS,
            late_reply: LateReply::Drop,
            routes: Vec::new(),
            token: None,
            is_operators: false,
        }
    }
}

/// A rule. Every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayRoute {
    pub url: String,
    pub mode: RouteMode,
    /// Values of `MsgType`; a callback fits when its type stands here or its event in `events`.
    pub types: Vec<String>,
    /// Values of `Event`, whatever their case.
    pub events: Vec<String>,
    pub openids: Vec<String>,
    /// This share of all people, always the same ones; a higher share includes a lower one.
    pub percent: Option<u8>,
    /// `None`: the relay's.
    pub timeout_ms: Option<u64>,
    /// `None`: the relay's.
    #[serde(skip)]
    pub token: Option<Secret>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteMode {
    /// Its answer is the answer to WeChat.
    #[default]
    Reply,
    /// Its answer means nothing.
    Copy,
}

impl RouteMode {
    pub const ALL: [Self; 2] = [Self::Reply, Self::Copy];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Copy => "copy",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What becomes of an answer that comes when WeChat has been answered already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LateReply {
    #[default]
    Drop,
    /// A customer-service message, once.
    Custom,
}

impl LateReply {
    pub const ALL: [Self; 2] = [Self::Drop, Self::Custom];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Custom => "custom",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|late| late.as_str() == text)
    }
}

/// What of a callback decides where it goes.
#[derive(Clone, Copy)]
pub struct Traits<'a> {
    pub msg_type: &'a str,
    pub event: Option<&'a str>,
    /// The sender; of a notice of the platform no person.
    pub openid: &'a str,
}

/// Where a callback goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whose answer counts.
    pub owner: Option<Target>,
    /// Each URL once.
    pub copies: Vec<Target>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub timeout: Duration,
    /// `None`: the account's token.
    pub token: Option<Secret>,
    /// May lead into the operator's own network.
    pub is_operators: bool,
}

impl RelayOptions {
    /// The first `reply` route that fits owns the callback, else `url`. Of the `copy` routes each one that fits gets it.
    pub fn plan(&self, account: &str, traits: Traits<'_>) -> Plan {
        let mut plan = Plan::default();
        for route in self.routes.iter().filter(|route| route.fits(account, traits)) {
            let target = || Target {
                url: route.url.clone(),
                timeout: Duration::from_millis(route.timeout_ms.unwrap_or(self.timeout_ms)),
                token: route.token.clone().or_else(|| self.token.clone()),
                is_operators: self.is_operators,
            };
            match route.mode {
                RouteMode::Reply if plan.owner.is_none() => plan.owner = Some(target()),
                RouteMode::Copy if plan.copies.iter().all(|copy| copy.url != route.url) => plan.copies.push(target()),
                RouteMode::Reply | RouteMode::Copy => {}
            }
        }
        if plan.owner.is_none() {
            plan.owner = self.url.clone().map(|url| Target {
                url,
                timeout: Duration::from_millis(self.timeout_ms),
                token: self.token.clone(),
                is_operators: self.is_operators,
            });
        }
        plan
    }

    /// Every URL, once.
    pub fn urls(&self) -> Vec<&str> {
        let mut urls: Vec<&str> =
            self.url.iter().map(String::as_str).chain(self.routes.iter().map(|route| &*route.url)).collect();
        urls.sort_unstable();
        urls.dedup();
        urls
    }
}

impl RelayRoute {
    fn fits(&self, account: &str, traits: Traits<'_>) -> bool {
        let is_any_kind = self.types.is_empty() && self.events.is_empty();
        let is_type = self.types.iter().any(|kind| kind.eq_ignore_ascii_case(traits.msg_type));
        let is_event = traits.event.is_some_and(|event| self.events.iter().any(|own| own.eq_ignore_ascii_case(event)));
        (is_any_kind || is_type || is_event)
            && (self.openids.is_empty() || self.openids.iter().any(|openid| openid == traits.openid))
            && self.percent.is_none_or(|percent| percentile(account, traits.openid) < percent)
    }
}

/// 0 to 99, the same for a person always, on every node.
fn percentile(account: &str, openid: &str) -> u8 {
    let digest = Sha256::new().chain_update(account).chain_update([0]).chain_update(openid).finalize();
    let number = digest.iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    u8::try_from(number % 100).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(url: &str) -> RelayRoute {
        RelayRoute { url: url.to_owned(), ..RelayRoute::default() }
    }

    fn text_of(openid: &str) -> Traits<'_> {
        Traits { msg_type: "text", event: None, openid }
    }

    fn owner(options: &RelayOptions, traits: Traits<'_>) -> Option<String> {
        options.plan("shop", traits).owner.map(|target| target.url)
    }

    #[test]
    fn the_first_route_that_fits_owns_it_and_each_copy_gets_it() {
        let options = RelayOptions {
            url: Some("rest".to_owned()),
            routes: vec![
                RelayRoute { mode: RouteMode::Copy, ..route("watch") },
                RelayRoute { openids: vec!["oTESTER".to_owned()], ..route("test") },
                RelayRoute { types: vec!["text".to_owned()], events: vec!["Subscribe".to_owned()], ..route("words") },
                RelayRoute { mode: RouteMode::Copy, events: vec!["click".to_owned()], ..route("menu") },
                RelayRoute { mode: RouteMode::Copy, ..route("watch") },
            ],
            ..RelayOptions::default()
        };
        let event = |event| Traits { msg_type: "event", event: Some(event), openid: "oX" };
        assert_eq!(owner(&options, text_of("oTESTER")).as_deref(), Some("test"));
        assert_eq!(owner(&options, text_of("oX")).as_deref(), Some("words"));
        assert_eq!(owner(&options, event("subscribe")).as_deref(), Some("words"));
        assert_eq!(owner(&options, event("CLICK")).as_deref(), Some("rest"));
        let copies = |traits| options.plan("shop", traits).copies.into_iter().map(|copy| copy.url).collect::<Vec<_>>();
        assert_eq!(copies(event("CLICK")), ["watch", "menu"]);
        assert_eq!(copies(text_of("oX")), ["watch"]);
        let nobody = RelayOptions { url: None, routes: Vec::new(), ..RelayOptions::default() };
        assert_eq!(nobody.plan("shop", text_of("oX")), Plan::default());
    }

    #[test]
    fn a_share_is_near_its_percent_and_a_larger_one_includes_it() {
        let is_in = |percent: u8, openid: &str| {
            RelayRoute { percent: Some(percent), ..route("new") }.fits("shop", text_of(openid))
        };
        let people: Vec<String> = (0..10_000).map(|n| format!("oPERSON{n}")).collect();
        for percent in [0u8, 10, 50, 100] {
            let inside = people.iter().filter(|openid| is_in(percent, openid)).count();
            let (low, high) = (usize::from(percent) * 100, usize::from(percent) * 100);
            assert!((low.saturating_sub(200)..=high + 200).contains(&inside), "{percent} %: {inside} of 10000");
        }
        assert!(people.iter().filter(|openid| is_in(10, openid)).all(|openid| is_in(11, openid)));
        // Another account, other people: no one is a guinea pig everywhere.
        let shop: Vec<bool> = people.iter().map(|openid| percentile("shop", openid) < 10).collect();
        let other: Vec<bool> = people.iter().map(|openid| percentile("other", openid) < 10).collect();
        assert_ne!(shop, other);
        // Written down: a change of the hash would move everybody.
        assert_eq!(people[..4].iter().map(|openid| percentile("shop", openid)).collect::<Vec<_>>(), [86, 86, 7, 11]);
    }
}
