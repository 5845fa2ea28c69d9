//! Beside station 7b: a back end of the operator's gets the callback as WeChat would send it in plain mode, and its answer is the
//! answer to WeChat.
//!
//! The callback is kept before anybody is asked. One *flight* asks one back end about one callback; repeats of WeChat join it,
//! so all of them get the same first answer. That is the back end's when it comes within the budget, else the configured
//! reply, else `success`. What came of it is kept with the callback's row, before it is given; a repeat that finds the row still
//! `pending` and no flight (the process died, or the flight is another node's) asks again: the back end tells repeats by
//! `MsgId`, as it does without us, and the answer that is kept first is given by all.
//!
//! `flight`: asking in time · `late`: what comes behind the budget · `copies`: those whose answer means nothing · `gate`: a back end
//! that is down costs no time · `letter`: the request.

mod copies;
mod flight;
mod gate;
mod late;
mod letter;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::copies::Copies;
use self::gate::Gates;
pub use self::letter::Letter;
use crate::domain::account::Account;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::relay::{Plan, Target, Traits};
use crate::services::tokens::Tokens;
use crate::store;
use crate::telemetry::metrics::Metrics;
use crate::upstream::relay::RelayClient;
use crate::upstream::wechat::WechatClient;
use crate::wechat::inbound::Inbound;

/// The numbers of this station.
#[derive(Clone, Copy, Debug)]
pub struct RelayRules {
    /// From WeChat's request: an answer that is not kept by then is given up. WeChat's own limit is 5 s.
    pub hard_limit: Duration,
    /// From WeChat's request: so long a late answer is waited for. Shorter than the shortest window for customer-service
    /// messages (one minute).
    pub late_wait: Duration,
    /// Flights of one back end at once; further callbacks do without it.
    pub flights_per_target: usize,
    /// Late answers waited for at once.
    pub late_flights: usize,
    /// Tries of a copy, and the pause between two, as WeChat has them.
    pub copy_tries: u32,
    pub copy_pause: Duration,
    /// Copies of one target under way at once, and the bytes of those that wait.
    pub copies_per_target: usize,
    pub copy_bytes_per_target: usize,
    /// Failures in a row that shut a target off, and for how long before one callback probes it.
    pub failures_to_shut: u32,
    pub shut_for: Duration,
}

impl Default for RelayRules {
    fn default() -> Self {
        Self {
            hard_limit: Duration::from_millis(4_900),
            late_wait: Duration::from_secs(55),
            flights_per_target: 512,
            late_flights: 256,
            copy_tries: 3,
            copy_pause: Duration::from_secs(5),
            copies_per_target: 16,
            copy_bytes_per_target: 16 << 20,
            failures_to_shut: 5,
            shut_for: Duration::from_secs(10),
        }
    }
}

/// The doors this station needs.
#[derive(Clone)]
pub struct RelayDoors {
    pub client: RelayClient,
    pub inbox: Arc<dyn store::Inbox>,
    pub wechat: WechatClient,
    pub tokens: Tokens,
    /// What is under way when the gateway stops ends within its grace.
    pub tasks: TaskTracker,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    doors: RelayDoors,
    rules: RelayRules,
    flights: Mutex<HashMap<FlightKey, Waiting>>,
    gates: Gates,
    copies: Copies,
    late: Arc<tokio::sync::Semaphore>,
}

/// Account and dedupe key.
type FlightKey = (Arc<str>, String);

/// The first answer to a callback, once it is known: a plain reply, or nothing.
#[derive(Clone, Debug)]
pub struct Waiting(watch::Receiver<Option<First>>);

type First = Option<String>;

impl Waiting {
    /// Comes within the hard limit of the flight.
    pub async fn first(mut self) -> Option<String> {
        match self.0.wait_for(Option::is_some).await {
            Ok(first) => first.clone().flatten(),
            // The flight has panicked: WeChat is content with `success`.
            Err(_) => None,
        }
    }
}

impl Relay {
    pub fn new(doors: RelayDoors, rules: RelayRules) -> Self {
        let (gates, copies) = (Gates::new(&rules), Copies::default());
        let late = Arc::new(tokio::sync::Semaphore::new(rules.late_flights));
        Self { inner: Arc::new(Inner { doors, rules, flights: Mutex::default(), gates, copies, late }) }
    }

    /// Where this callback goes.
    pub fn plan(&self, account: &Account, inbound: &Inbound) -> Plan {
        let Some(options) = &account.relay else { return Plan::default() };
        let traits = Traits {
            msg_type: inbound.root.text_of("MsgType").unwrap_or_default(),
            event: inbound.root.text_of("Event"),
            openid: &inbound.from_user_name,
        };
        options.plan(&account.name, traits)
    }

    /// The flight of this callback, if it is under way here.
    pub fn under_way(&self, account: &Arc<str>, dedupe_key: &str) -> Option<Waiting> {
        self.flights().get(&(account.clone(), dedupe_key.to_owned())).cloned()
    }

    /// Joins the flight of this callback, or starts it. `fallback`: the first answer when the back end gives none.
    pub fn ask(&self, letter: Arc<Letter>, target: Target, fallback: Option<String>) -> Waiting {
        let key = (letter.account.name.clone(), letter.dedupe_key.clone());
        let mut flights = self.flights();
        if let Some(waiting) = flights.get(&key) {
            return waiting.clone();
        }
        let (publish, first) = watch::channel(None);
        let waiting = Waiting(first);
        flights.insert(key.clone(), waiting.clone());
        drop(flights);
        let landing = Landing { relay: self.clone(), key };
        let flight = flight::Flight { relay: self.clone(), letter, target, fallback, publish };
        let fly = async move {
            flight.fly().await;
            drop(landing);
        };
        self.inner.doors.tasks.spawn(fly.instrument(tracing::Span::current()));
        waiting
    }

    fn now(&self) -> Timestamp {
        self.inner.doors.clock.now()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<FlightKey, Waiting>> {
        self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the flight off the list, also when it panics.
struct Landing {
    relay: Relay,
    key: FlightKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.relay.flights().remove(&self.key);
    }
}
