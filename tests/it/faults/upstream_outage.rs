//! WeChat is out of reach for long while messages go on to be accepted, and then it is back. The clock is moved by hand.
//!
//! `scripts/outage` runs the whole hour at a hundred messages a second and prints the figures.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use wxgate::domain::clock::{Clock, ManualClock};
use wxgate::domain::secret::Secret;
use wxgate::domain::token::AccessToken;
use wxgate::sandbox::DEMO_APP_ID;

use super::upstream_tally::{Mood, Tally};
use super::upstream_wechat::Line;
use crate::binary::process::resident_kib;
use crate::harness::{Setup, TestApp, order_notice};

const SECOND: Duration = Duration::from_secs(1);
/// Every so many messages one that is soon worthless.
const SHORT_EVERY: usize = 10;
/// What a call to WeChat takes in real time.
const LATENCY: Duration = Duration::from_millis(2);

/// An outage.
struct Plan {
    /// Simulated seconds, and messages accepted in each.
    seconds: usize,
    rate: usize,
    /// The life of the short-lived ones, in seconds.
    short_ttl_s: usize,
    /// How long the token lives that was there before.
    token_left: Duration,
    /// What WeChat says to sends once it is back.
    mood: fn(Arc<ManualClock>) -> Mood,
}

/// What came of it.
#[derive(Debug)]
#[expect(dead_code, reason = "some are only printed")]
struct Figures {
    accepted: usize,
    expired: usize,
    sent: usize,
    unknown_or_failed: usize,
    /// Tries to reach WeChat while it was away, for sends and for tokens.
    tries: f64,
    /// Messages under way in the process at the end of a second, at most.
    most_running: usize,
    calls_after: u64,
    /// How often one message was seen at most.
    most_seen: u32,
    ahead: u64,
    rss_before_mib: u64,
    rss_full_mib: u64,
    took: Duration,
}

async fn gateway(line: &Line, token_left: Duration) -> TestApp {
    let account = format!("base_url = \"{}\"", line.url());
    let app = TestApp::start_with(Setup { account, ..Setup::default() }).await;
    let now = app.clock.now();
    let token = AccessToken {
        token: Secret::new("BEFORE"),
        generation: 1,
        fetched_at: now,
        expires_at: now.plus(token_left),
        forced_at: None,
        forced_today: 0,
    };
    assert!(app.app.stores().tokens.keep("shop", DEMO_APP_ID, &token).await.unwrap());
    app
}

/// Accepts one second's messages. → their ids, the short-lived ones marked.
async fn accept(app: &TestApp, second: usize, plan: &Plan) -> Vec<(String, bool)> {
    let rate = plan.rate;
    let sends = (0..rate).map(async |number| {
        let is_short = (second * rate + number).is_multiple_of(SHORT_EVERY);
        let mut body = order_notice(&format!("oOUTAGE{}", second * rate + number));
        if is_short {
            body["ttl_s"] = json!(plan.short_ttl_s);
        }
        let reply = app.post("/send-template").header("prefer", "respond-async").json(&body).send().await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        (reply.field("message_id"), is_short)
    });
    join_all(sends).await
}

async fn tries(app: &TestApp) -> f64 {
    let mut tries = 0.0;
    for api in ["template_send", "stable_token"] {
        tries += app
            .metric(&format!("wxgate_wechat_requests_total{{account=\"shop\",api=\"{api}\",errcode=\"connect\"}}"))
            .await;
    }
    tries
}

async fn run(plan: &Plan) -> Figures {
    let started = Instant::now();
    let mut line = Line::closed();
    let app = gateway(&line, plan.token_left).await;
    let rss_before_mib = resident_kib(std::process::id()) / 1024;
    let (mut ids, mut most_running) = (Vec::new(), 0);
    for second in 0..plan.seconds {
        ids.extend(accept(&app, second, plan).await);
        app.tick().await;
        app.run_until_idle().await;
        let running = app.app.worker().dispatch.running.list().len();
        most_running = most_running.max(running);
        app.advance(SECOND).await;
    }
    let (tries, rss_full_mib) = (tries(&app).await, resident_kib(std::process::id()) / 1024);
    // What is too old now must not go out.
    app.tick().await;
    let wechat = Tally::serve(line.listen(), LATENCY, (plan.mood)(app.clock.clone()));
    let mut patience = 20 * plan.seconds;
    while queued(&app).await > 0.0 && patience > 0 {
        patience -= 1;
        app.tick().await;
        app.run_until_idle().await;
        app.advance(SECOND).await;
    }
    let states: Vec<String> = stream::iter(&ids).map(|(id, _)| app.state_of(id)).buffered(32).collect().await;
    let count = |state: &str| states.iter().filter(|found| *found == state).count();
    for ((id, is_short), state) in ids.iter().zip(&states) {
        let taken = wechat.taken(id);
        match state.as_str() {
            "sent" => assert_eq!(taken, 1, "{id}"),
            "expired" => assert!(*is_short && taken == 0, "{id} {is_short} {taken}"),
            _ => assert_eq!(taken, 0, "{id} {state}"),
        }
    }
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
    Figures {
        accepted: ids.len(),
        expired: count("expired"),
        sent: count("sent"),
        unknown_or_failed: count("unknown") + count("failed"),
        tries,
        most_running,
        calls_after: wechat.calls(),
        most_seen: wechat.most(),
        ahead: wechat.ahead(),
        rss_before_mib,
        rss_full_mib,
        took: started.elapsed(),
    }
}

async fn queued(app: &TestApp) -> f64 {
    app.metric(r#"wxgate_messages_total{account="shop",state="queued"}"#).await
        + app.metric(r#"wxgate_messages_total{account="shop",state="sending"}"#).await
}

fn healthy(_: Arc<ManualClock>) -> Mood {
    Arc::new(|_| 0)
}

/// The first seven sends are answered -1.
fn busy_at_first(_: Arc<ManualClock>) -> Mood {
    Arc::new(|number| if number < 7 { -1 } else { 0 })
}

/// Three of ten, without a pattern that a message could meet again and again.
fn busy_now_and_then(_: Arc<ManualClock>) -> Mood {
    Arc::new(|number| if StdRng::seed_from_u64(number).random_bool(0.3) { -1 } else { 0 })
}

/// A hundred in a minute of the clock; to the rest it says that this was too often.
fn a_hundred_a_minute(clock: Arc<ManualClock>) -> Mood {
    let spent = Mutex::new((0, 0));
    Arc::new(move |_| {
        let minute = clock.now().as_seconds() / 60;
        let mut spent = spent.lock().unwrap();
        *spent = if spent.0 == minute { (minute, spent.1 + 1) } else { (minute, 1) };
        if spent.1 > 100 { 45011 } else { 0 }
    })
}

fn check(figures: &Figures, plan: &Plan) {
    let seconds = plan.seconds;
    assert_eq!(figures.sent + figures.expired, figures.accepted, "{figures:?}");
    assert_eq!(figures.unknown_or_failed, 0, "{figures:?}");
    // The short-lived ones, but for those of the last seconds.
    let short = figures.accepted / SHORT_EVERY;
    assert!((short * (seconds - plan.short_ttl_s - 2) / seconds..=short).contains(&figures.expired), "{figures:?}");
    // Ten failures shut the line; then one probe in five seconds, of the send or of the token.
    assert!(figures.tries <= seconds as f64 / 5.0 + 12.0, "{figures:?}");
    assert!(figures.tries >= seconds as f64 / 40.0, "it is probed: {figures:?}");
    assert_eq!(figures.most_running, 0, "what waits is on the disk: {figures:?}");
    // No more under way than answers came before, and one: a room that doubles from round to round.
    assert!(figures.ahead <= 2, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_each_message_is_sent_once_and_wechat_is_not_overrun() {
    // The token dies half-way.
    let plan = Plan { seconds: 180, rate: 10, short_ttl_s: 20, token_left: Duration::from_secs(90), mood: healthy };
    let figures = run(&plan).await;
    check(&figures, &plan);
    assert_eq!((figures.calls_after, figures.most_seen), (figures.sent as u64, 1), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wechat_that_is_busy_when_it_is_back_is_asked_little_until_it_is_well() {
    let plan =
        Plan { seconds: 50, rate: 10, short_ttl_s: 20, token_left: Duration::from_secs(7_200), mood: busy_at_first };
    let figures = run(&plan).await;
    check(&figures, &plan);
    assert_eq!((figures.calls_after, figures.most_seen), (figures.sent as u64 + 7, 2), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wechat_that_is_busy_now_and_then_is_asked_at_most_twice_as_often() {
    let plan = Plan {
        seconds: 50,
        rate: 10,
        short_ttl_s: 20,
        token_left: Duration::from_secs(7_200),
        mood: busy_now_and_then,
    };
    let figures = run(&plan).await;
    assert!(figures.unknown_or_failed <= figures.accepted / 50, "five times busy is rare: {figures:?}");
    assert_eq!(figures.sent + figures.expired + figures.unknown_or_failed, figures.accepted, "{figures:?}");
    assert!(figures.calls_after <= 2 * figures.sent as u64, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wechat_that_counts_by_the_minute_is_not_asked_in_vain_all_the_time() {
    let plan = Plan {
        seconds: 40,
        rate: 10,
        short_ttl_s: 20,
        token_left: Duration::from_secs(7_200),
        mood: a_hundred_a_minute,
    };
    let figures = run(&plan).await;
    assert_eq!(figures.sent + figures.expired, figures.accepted, "{figures:?}");
    assert!(figures.calls_after <= 2 * figures.sent as u64, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: scripts/outage runs it"]
async fn a_whole_hour_at_a_hundred_a_second() {
    let plan =
        Plan { seconds: 3_600, rate: 100, short_ttl_s: 60, token_left: Duration::from_secs(1_800), mood: healthy };
    let figures = run(&plan).await;
    let _ = writeln!(std::io::stderr(), "{figures:#?}");
    check(&figures, &plan);
    assert_eq!((figures.calls_after, figures.most_seen), (figures.sent as u64, 1), "{figures:?}");
}
