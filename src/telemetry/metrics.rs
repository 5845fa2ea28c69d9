//! Every metric of the gateway, in one place: what happened comes in, the Prometheus text goes out.
//!
//! Counters and times are kept here as they happen; figures of the store are handed in at scrape time ([`Scrape`]).

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, proto,
};

use crate::domain::clock::Timestamp;
use crate::domain::state::{Lane, State};

/// Seconds, from a cache hit to the longest wait of a send.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// How many different texts of an open label are told apart; the rest counts as `other`.
const LABEL_ROOM: usize = 96;

/// The registry and its families. Cheap to clone; two of them share nothing.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    /// Held while figures are filled in and read: two scrapes at once would see each other's half.
    scraping: Mutex<()>,
    registry: Registry,
    heads: Vec<Head>,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    http_in_flight: IntGauge,
    http_shed: IntCounter,
    connections: IntGauge,
    messages: IntGaugeVec,
    accepted: IntGauge,
    unaccounted: IntGauge,
    queue_depth: IntGaugeVec,
    oldest_ready: Gauge,
    unmatched_receipts: IntGauge,
    /// Without a series where the store has no volume of its own.
    storage_free: IntGaugeVec,
    accept_to_attempt: Histogram,
    wechat_requests: IntCounterVec,
    wechat_duration: HistogramVec,
    token_refreshes: IntCounterVec,
    token_expires_in: GaugeVec,
    quota_remaining: IntGaugeVec,
    account_parked: IntGaugeVec,
    account_pace: GaugeVec,
    callbacks: IntCounterVec,
    receipts: IntCounterVec,
    relays: IntCounterVec,
    relay_duration: HistogramVec,
    rate_limited: IntCounterVec,
    rate_limit_observed: IntCounterVec,
    suppressed: IntCounterVec,
    limit_fallbacks: IntCounter,
    auth_failures: IntCounterVec,
    nonce_fallbacks: IntCounter,
    redis_up: IntGaugeVec,
    redis_errors: IntCounterVec,
    webhook_deliveries: IntCounterVec,
    webhook_pending: IntGaugeVec,
    webhook_lag: GaugeVec,
    log_lines_dropped: IntCounter,
    start_time: Gauge,
    errcodes: Bounded,
    callback_types: Bounded,
}

/// Figures of the store and the token engines at one moment.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Account, state, how many.
    pub messages: Vec<(String, State, u64)>,
    /// `queued` messages by lane.
    pub queue_depth: Vec<(Lane, u64)>,
    pub accepted: u64,
    /// Accepted less the sum of the states; 0, or something is wrong.
    pub unaccounted: i64,
    /// `None`: not known now; the old figure stays.
    pub oldest_ready: Option<Duration>,
    pub unmatched_receipts: Option<u64>,
    /// `None`: the store has no volume of its own.
    pub storage_free_bytes: Option<u64>,
    /// Account, seconds until its token expires (0: none).
    pub tokens: Vec<(String, f64)>,
    pub quotas: Vec<QuotaFigures>,
    /// `None`: the gateway works without Redis.
    pub redis: Option<RedisFigures>,
}

/// How much an account may send.
#[derive(Clone, Debug, Default)]
pub struct QuotaFigures {
    pub account: String,
    pub is_parked: bool,
    /// `None`: not known.
    pub remaining: Option<u64>,
    /// `None`: as fast as it goes.
    pub per_second: Option<f64>,
}

/// How Redis stands.
#[derive(Clone, Debug, Default)]
pub struct RedisFigures {
    pub is_up: bool,
    /// What kind of failure, how often since the start.
    pub errors: Vec<(&'static str, u64)>,
}

impl Metrics {
    pub fn new() -> Self {
        let made = Maker::default();
        let mut families = Families {
            scraping: Mutex::default(),
            http_requests: made.counters(
                "wxgate_http_requests_total",
                "Requests answered, by matched route.",
                &["method", "route", "status"],
            ),
            http_duration: made.times(
                "wxgate_http_request_duration_seconds",
                "From the head of a request to its answer.",
                &["route"],
            ),
            http_in_flight: made.gauge("wxgate_http_requests_in_flight", "Requests under way."),
            http_shed: made
                .counter("wxgate_http_requests_shed_total", "Requests refused because too many were under way."),
            connections: made.gauge("wxgate_http_connections_open", "Open connections of callers."),
            messages: made.gauges(
                "wxgate_messages_total",
                "Messages that are, or ended, in a state.",
                &["account", "state"],
            ),
            accepted: made.gauge("wxgate_messages_accepted_total", "Messages ever accepted."),
            unaccounted: made
                .gauge("wxgate_messages_unaccounted", "Accepted messages less those in any state: 0 always."),
            queue_depth: made.gauges("wxgate_queue_depth", "Queued messages.", &["lane"]),
            oldest_ready: made
                .float("wxgate_queue_oldest_ready_seconds", "How long the oldest due message has been due."),
            unmatched_receipts: made.gauge("wxgate_receipts_unmatched", "Receipts that no message has claimed."),
            storage_free: made.gauges(
                "wxgate_storage_free_bytes",
                "Free space on the volume of the database; below storage.min_free sends are refused.",
                &[],
            ),
            accept_to_attempt: made.time("wxgate_accept_to_attempt_seconds", "From accept to the first attempt."),
            wechat_requests: made.counters(
                "wxgate_wechat_requests_total",
                "Calls to WeChat.",
                &["account", "api", "errcode"],
            ),
            wechat_duration: made.times("wxgate_wechat_request_duration_seconds", "Calls to WeChat.", &["api"]),
            token_refreshes: made.counters(
                "wxgate_token_refreshes_total",
                "Refreshes of access_tokens.",
                &["account", "result"],
            ),
            token_expires_in: made.floats(
                "wxgate_token_expires_in_seconds",
                "Time left of the access_token in use.",
                &["account"],
            ),
            quota_remaining: made.gauges(
                "wxgate_quota_remaining",
                "Messages that the account may still send today, as far as is known.",
                &["account"],
            ),
            account_parked: made.gauges(
                "wxgate_account_parked",
                "1: the day's quota is used up, and messages of the account wait.",
                &["account"],
            ),
            account_pace: made.floats(
                "wxgate_account_pace_per_second",
                "How many messages of the account may go in a second now.",
                &["account"],
            ),
            callbacks: made.counters("wxgate_callbacks_total", "Requests from WeChat.", &["account", "type", "result"]),
            receipts: made.counters("wxgate_receipts_total", "Delivery receipts.", &["account", "status"]),
            relays: made.counters(
                "wxgate_relay_requests_total",
                "Callbacks handed to back ends, by what came of it.",
                &["account", "result"],
            ),
            relay_duration: made.times(
                "wxgate_relay_duration_seconds",
                "From asking a back end about a callback to its answer.",
                &["account"],
            ),
            rate_limited: made.counters("wxgate_rate_limited_total", "Requests that met a limit.", &["limit"]),
            rate_limit_observed: made.counters(
                "wxgate_rate_limit_observed_total",
                "Requests that a limit would have refused, were it enforced.",
                &["limit"],
            ),
            suppressed: made.counters(
                "wxgate_suppressed_total",
                "Sends refused because WeChat has refused their recipient before.",
                &["account"],
            ),
            limit_fallbacks: made.counter(
                "wxgate_limit_fallbacks_total",
                "Messages about which this process decided by itself, because the shared limits could not be asked.",
            ),
            auth_failures: made.counters("wxgate_auth_failures_total", "Wrong keys, tokens and signatures.", &["form"]),
            nonce_fallbacks: made.counter(
                "wxgate_nonce_fallbacks_total",
                "Nonces of signed requests that Redis was not asked for, because it failed.",
            ),
            redis_up: made.gauges("wxgate_redis_up", "Whether Redis is of use: 1, or 0.", &[]),
            redis_errors: made.counters("wxgate_redis_errors_total", "Requests to Redis that failed.", &["kind"]),
            webhook_deliveries: made.counters(
                "wxgate_webhook_deliveries_total",
                "Tries of deliveries to webhooks.",
                &["webhook", "result"],
            ),
            webhook_pending: made.gauges(
                "wxgate_webhook_pending",
                "Deliveries that are to be tried, or tried again; what is not claimed yet is not counted.",
                &["webhook"],
            ),
            webhook_lag: made.floats(
                "wxgate_webhook_lag_seconds",
                "Age of the oldest event that the webhook has not been told; 0: it has been told all.",
                &["webhook"],
            ),
            log_lines_dropped: made
                .counter("wxgate_log_lines_dropped_total", "Log lines that standard error did not take in time."),
            start_time: made.float("process_start_time_seconds", "Start of the process, in seconds since 1970."),
            errcodes: Bounded::default(),
            callback_types: Bounded::default(),
            registry: made.registry.clone(),
            heads: Vec::new(),
        };
        made.gauges("wxgate_build_info", "The version that runs.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        families.heads = made.heads.into_inner();
        Self(Arc::new(families))
    }

    /// The process started at this moment.
    pub fn started(&self, at: Timestamp) {
        self.0.start_time.set(millis_as_seconds(at.as_millis()));
    }

    /// For the log's writer: how many lines it had to drop.
    pub fn log_lines_dropped(&self) -> IntCounter {
        self.0.log_lines_dropped.clone()
    }

    /// One call to WeChat has ended. `errcode`: the number, or `timeout`, `connect`, `broken`, `garbage`.
    pub fn wechat_request(&self, account: &str, api: &'static str, errcode: &str, took: Duration) {
        let errcode = self.0.errcodes.admit(errcode);
        self.0.wechat_requests.with_label_values(&[account, api, errcode]).inc();
        self.0.wechat_duration.with_label_values(&[api]).observe(took.as_secs_f64());
    }

    /// Time from accept to the first attempt.
    pub fn accept_to_attempt(&self, waited: Duration) {
        self.0.accept_to_attempt.observe(waited.as_secs_f64());
    }

    /// `result`: `ok`, `failed`, `conflict`, `refused_again`.
    pub fn token_refresh(&self, account: &str, result: &'static str) {
        self.0.token_refreshes.with_label_values(&[account, result]).inc();
    }

    pub fn token_expires_in(&self, account: &str, seconds: f64) {
        self.0.token_expires_in.with_label_values(&[account]).set(seconds);
    }

    /// The account is no more; what was counted of it stays.
    pub fn forget_account(&self, account: &str) {
        // Not there when it never had a token.
        drop(self.0.token_expires_in.remove_label_values(&[account]));
    }

    /// One try of a delivery has ended. `result`: `delivered`, `failed` (it will be tried again), `dead`, `gone`.
    pub fn webhook_delivery(&self, webhook: &str, result: &'static str) {
        self.0.webhook_deliveries.with_label_values(&[webhook, result]).inc();
    }

    /// How far behind a webhook is whose lane runs here.
    pub fn webhook_backlog(&self, webhook: &str, pending: u64, lag: Duration) {
        self.0.webhook_pending.with_label_values(&[webhook]).set(clamp(pending));
        self.0.webhook_lag.with_label_values(&[webhook]).set(lag.as_secs_f64());
    }

    /// Its lane does not run here any more; what was counted of it stays.
    pub fn forget_webhook(&self, webhook: &str) {
        // Not there when nothing was read of it yet.
        drop(self.0.webhook_pending.remove_label_values(&[webhook]));
        drop(self.0.webhook_lag.remove_label_values(&[webhook]));
    }

    /// `result`: `stored`, `repeat`, `refused`, `unparsable`, `failed`. `account` is a configured name (or `unknown`).
    pub fn callback(&self, account: &str, kind: &str, result: &'static str) {
        let kind = self.0.callback_types.admit(kind);
        self.0.callbacks.with_label_values(&[account, kind, result]).inc();
    }

    /// `status`: `delivered`, `undelivered`, `other`, `unmatched`, `late`.
    pub fn receipt(&self, account: &str, status: &'static str) {
        self.0.receipts.with_label_values(&[account, status]).inc();
    }

    /// `result`: a [`crate::domain::relay::RelayState`], or `copied`, `copy_failed`, `copy_dropped`.
    pub fn relay(&self, account: &str, result: &'static str) {
        self.0.relays.with_label_values(&[account, result]).inc();
    }

    /// A back end has answered (in time or not), or failed.
    pub fn relay_took(&self, account: &str, took: Duration) {
        self.0.relay_duration.with_label_values(&[account]).observe(took.as_secs_f64());
    }

    /// `form`: `key`, `jwt`, `signed`.
    pub fn auth_failure(&self, form: &'static str) {
        self.0.auth_failures.with_label_values(&[form]).inc();
    }

    /// A signed request was taken by what this process remembers alone.
    pub fn nonce_fallback(&self) {
        self.0.nonce_fallbacks.inc();
    }

    /// `limit`: `client`, `openid`, `identical`, `auth_failures`.
    pub fn rate_limited(&self, limit: &'static str) {
        self.0.rate_limited.with_label_values(&[limit]).inc();
    }

    /// The same, where limits are only observed.
    pub fn rate_limit_observed(&self, limit: &'static str) {
        self.0.rate_limit_observed.with_label_values(&[limit]).inc();
    }

    /// One send was refused without asking WeChat again.
    pub fn suppressed(&self, account: &str) {
        self.0.suppressed.with_label_values(&[account]).inc();
    }

    /// So many messages were limited by this process alone, although Redis is configured.
    pub fn limit_fallbacks(&self, messages: usize) {
        self.0.limit_fallbacks.inc_by(u64::try_from(messages).unwrap_or(u64::MAX));
    }

    /// One request was answered. `route` is the pattern that matched, never the path.
    pub fn http_request(&self, method: &str, route: &str, status: &str, took: Duration) {
        self.0.http_requests.with_label_values(&[method, route, status]).inc();
        self.0.http_duration.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// One request was refused unheard.
    pub fn http_shed(&self) {
        self.0.http_shed.inc();
    }

    /// Counts a request as under way until the guard is dropped.
    pub fn request_under_way(&self) -> Held {
        Held::take(&self.0.http_in_flight)
    }

    /// Counts a connection as open until the guard is dropped.
    pub fn connection_open(&self) -> Held {
        Held::take(&self.0.connections)
    }

    /// The text of all families, with these figures filled in.
    pub fn render(&self, scrape: &Scrape) -> String {
        let families = &self.0;
        let _one_at_a_time = families.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        // A state that nothing is in any more may be missing from the figures.
        families.messages.reset();
        for (account, state, count) in &scrape.messages {
            families.messages.with_label_values(&[account.as_str(), state.as_str()]).set(clamp(*count));
        }
        for (lane, count) in &scrape.queue_depth {
            families.queue_depth.with_label_values(&[lane.as_str()]).set(clamp(*count));
        }
        families.accepted.set(clamp(scrape.accepted));
        families.unaccounted.set(scrape.unaccounted);
        if let Some(age) = scrape.oldest_ready {
            families.oldest_ready.set(age.as_secs_f64());
        }
        if let Some(count) = scrape.unmatched_receipts {
            families.unmatched_receipts.set(clamp(count));
        }
        if let Some(bytes) = scrape.storage_free_bytes {
            families.storage_free.with_label_values(&[] as &[&str]).set(clamp(bytes));
        }
        for (account, seconds) in &scrape.tokens {
            families.token_expires_in.with_label_values(&[account]).set(*seconds);
        }
        families.quota_remaining.reset();
        for quota in &scrape.quotas {
            let account = [quota.account.as_str()];
            families.account_parked.with_label_values(&account).set(quota.is_parked.into());
            if let Some(remaining) = quota.remaining {
                families.quota_remaining.with_label_values(&account).set(clamp(remaining));
            }
            if let Some(per_second) = quota.per_second {
                families.account_pace.with_label_values(&account).set(per_second);
            }
        }
        if let Some(redis) = &scrape.redis {
            families.redis_up.with_label_values::<&str>(&[]).set(redis.is_up.into());
            families.redis_errors.reset();
            for (kind, count) in &redis.errors {
                families.redis_errors.with_label_values(&[kind]).inc_by(*count);
            }
        }
        let gathered = families.registry.gather();
        let mut text = TextEncoder::new().encode_to_string(&gathered).unwrap_or_default();
        // A family without a series yet is named all the same, so that rules and dashboards find it.
        for head in families.heads.iter().filter(|head| !gathered.iter().any(|family| family.name() == head.name)) {
            text.push_str(&head.text);
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A gauge is one higher while this lives.
pub struct Held(IntGauge);

impl Held {
    fn take(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Texts from outside as label values: the first [`LABEL_ROOM`] of them are told apart.
#[derive(Default)]
struct Bounded(RwLock<HashSet<String>>);

impl Bounded {
    fn admit<'a>(&self, text: &'a str) -> &'a str {
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(text) {
            return text;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains(text) {
            return text;
        }
        if known.len() >= LABEL_ROOM || text.len() > 64 {
            return "other";
        }
        known.insert(text.to_owned());
        text
    }
}

/// What stands over the series of a family.
struct Head {
    name: String,
    text: String,
}

impl Head {
    fn of(family: &proto::MetricFamily) -> Self {
        let kind = match family.get_field_type() {
            proto::MetricType::COUNTER => "counter",
            proto::MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let name = family.name().to_owned();
        Self { text: format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help()), name }
    }
}

/// Makes and registers families.
#[derive(Default)]
struct Maker {
    registry: Registry,
    heads: RefCell<Vec<Head>>,
}

#[expect(clippy::expect_used, reason = "names and labels are constants; every test that makes Metrics checks them")]
impl Maker {
    fn keep<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("a legal name");
        self.registry.register(Box::new(made.clone())).expect("a name of its own");
        self.heads.borrow_mut().extend(made.collect().iter().map(Head::of));
        made
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn float(&self, name: &str, help: &str) -> Gauge {
        self.keep(Gauge::new(name, help))
    }

    fn floats(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.keep(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn time(&self, name: &str, help: &str) -> Histogram {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }

    fn times(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 53 bits for 280,000 years")]
fn millis_as_seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_in_is_read_back() {
        let metrics = Metrics::new();
        metrics.http_request("POST", "/send-template", "200", Duration::from_millis(3));
        metrics.wechat_request("shop", "template_send", "0", Duration::from_millis(40));
        metrics.token_refresh("shop", "ok");
        metrics.callback("shop", "event.subscribe", "stored");
        metrics.receipt("shop", "delivered");
        metrics.rate_limited("client");
        metrics.suppressed("shop");
        metrics.accept_to_attempt(Duration::from_millis(1));
        metrics.started(Timestamp::from_millis(1_700_000_000_500));
        let text = metrics.render(&Scrape {
            messages: vec![("shop".to_owned(), State::Sent, 2)],
            queue_depth: vec![(Lane::Bulk, 7)],
            accepted: 3,
            unaccounted: 1,
            oldest_ready: Some(Duration::from_millis(1500)),
            unmatched_receipts: Some(4),
            storage_free_bytes: Some(1 << 30),
            tokens: vec![("shop".to_owned(), 7000.0)],
            quotas: vec![QuotaFigures {
                account: "shop".to_owned(),
                is_parked: true,
                remaining: Some(0),
                per_second: Some(25.0),
            }],
            redis: Some(RedisFigures { is_up: true, errors: vec![("timeout", 3), ("auth", 0)] }),
        });
        for line in [
            "wxgate_http_requests_total{method=\"POST\",route=\"/send-template\",status=\"200\"} 1",
            "wxgate_http_request_duration_seconds_count{route=\"/send-template\"} 1",
            "wxgate_wechat_requests_total{account=\"shop\",api=\"template_send\",errcode=\"0\"} 1",
            "wxgate_wechat_request_duration_seconds_count{api=\"template_send\"} 1",
            "wxgate_token_refreshes_total{account=\"shop\",result=\"ok\"} 1",
            "wxgate_callbacks_total{account=\"shop\",result=\"stored\",type=\"event.subscribe\"} 1",
            "wxgate_receipts_total{account=\"shop\",status=\"delivered\"} 1",
            "wxgate_rate_limited_total{limit=\"client\"} 1",
            "wxgate_suppressed_total{account=\"shop\"} 1",
            "wxgate_accept_to_attempt_seconds_count 1",
            "wxgate_messages_total{account=\"shop\",state=\"sent\"} 2",
            "wxgate_quota_remaining{account=\"shop\"} 0",
            "wxgate_account_parked{account=\"shop\"} 1",
            "wxgate_account_pace_per_second{account=\"shop\"} 25",
            "wxgate_messages_accepted_total 3",
            "wxgate_messages_unaccounted 1",
            "wxgate_queue_depth{lane=\"bulk\"} 7",
            "wxgate_queue_oldest_ready_seconds 1.5",
            "wxgate_receipts_unmatched 4",
            "wxgate_storage_free_bytes 1073741824",
            "wxgate_token_expires_in_seconds{account=\"shop\"} 7000",
            "wxgate_redis_up 1",
            "wxgate_redis_errors_total{kind=\"timeout\"} 3",
            "process_start_time_seconds 1700000000.5",
            "wxgate_build_info{version=",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_family_without_a_series_is_named_once() {
        let metrics = Metrics::new();
        let head = "# TYPE wxgate_rate_limited_total counter\n";
        assert_eq!(metrics.render(&Scrape::default()).matches(head).count(), 1);
        metrics.rate_limited("client");
        assert_eq!(metrics.render(&Scrape::default()).matches(head).count(), 1);
    }

    #[test]
    fn labels_from_outside_cannot_grow_without_bound() {
        let metrics = Metrics::new();
        for number in 0..1_000 {
            metrics.callback("shop", &format!("event.made_up_{number}"), "stored");
            metrics.wechat_request("shop", "send", &number.to_string(), Duration::ZERO);
        }
        let text = metrics.render(&Scrape::default());
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("wxgate_callbacks_total{"), LABEL_ROOM + 1);
        assert_eq!(series("wxgate_wechat_requests_total{"), LABEL_ROOM + 1);
    }

    #[test]
    fn guards_count_what_is_under_way() {
        let metrics = Metrics::new();
        let held = metrics.request_under_way();
        assert!(metrics.render(&Scrape::default()).contains("wxgate_http_requests_in_flight 1"));
        drop(held);
        assert!(metrics.render(&Scrape::default()).contains("wxgate_http_requests_in_flight 0"));
    }
}
