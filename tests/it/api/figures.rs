//! `/metrics` and `/ready`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wxgate::sandbox::CallbackRequest;

use super::wire::no_fault_inside;
use crate::harness::{Setup, TestApp, order_notice};

/// What operators and their dashboards count on.
const PROMISED: [&str; 17] = [
    "wxgate_http_requests_total",
    "wxgate_http_request_duration_seconds",
    "wxgate_messages_total",
    "wxgate_messages_unaccounted",
    "wxgate_queue_depth",
    "wxgate_queue_oldest_ready_seconds",
    "wxgate_accept_to_attempt_seconds",
    "wxgate_wechat_requests_total",
    "wxgate_wechat_request_duration_seconds",
    "wxgate_token_refreshes_total",
    "wxgate_token_expires_in_seconds",
    "wxgate_callbacks_total",
    "wxgate_receipts_total",
    "wxgate_redis_up",
    "wxgate_redis_errors_total",
    "wxgate_rate_limited_total",
    "wxgate_webhook_deliveries_total",
];

#[tokio::test]
async fn every_promised_name_is_there_from_the_first_scrape() {
    let app = TestApp::start().await;
    for _ in 0..2 {
        let reply = app.anonymous(Method::GET, "/metrics").send().await;
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let families = parse(&reply.text);
        for name in PROMISED {
            assert!(families.contains_key(name), "{name} in\n{}", reply.text);
        }
    }
}

#[tokio::test]
async fn after_a_mixed_run_the_text_is_sound_and_every_message_is_accounted_for() {
    let app = TestApp::start().await;
    for touser in [
        "sim-ok",
        "sim-user-block",
        "sim-not-subscribed",
        "sim-invalid",
        "sim-token-once",
        "sim-reset",
        "sim-quota",
        "oFINE",
    ] {
        let mut body = order_notice(touser);
        body["async"] = json!(true);
        body["metadata"] = json!({"label\"\\\n": "x"});
        assert_eq!(app.post("/send-template").json(&body).send().await.status, 202);
    }
    app.run_until_idle().await;
    app.advance(Duration::from_secs(5)).await;
    app.run_until_idle().await;
    app.sandbox.deliver_receipts().await;
    for content in ["help", "hello"] {
        assert!(app.sandbox.send_callback(CallbackRequest::text("oTALKS", content)).await.unwrap().accepted);
    }
    for path in ["/nowhere", "/wechat/shop", "/wechat/nowhere", "/send-template"] {
        app.anonymous(Method::GET, path).send().await;
    }
    app.post("/send-template").json(&json!({})).send().await;
    let text = app.anonymous(Method::GET, "/metrics").send().await.text;
    let families = parse(&text);
    let sum: f64 = families["wxgate_messages_total"].samples.values().sum();
    assert!((sum - 8.0).abs() < 0.5, "{sum}");
    assert!(text.contains("\nwxgate_messages_unaccounted 0\n"), "{text}");
    assert!(text.contains("wxgate_messages_total{account=\"shop\",state=\"delivered\"}"), "{text}");
    assert!(text.contains("wxgate_receipts_total{account=\"shop\",status=\"undelivered\"} 1"), "{text}");
    assert!(text.contains("errcode=\"43004\"") && text.contains("errcode=\"40003\""), "{text}");
    for clear in ["oTALKS", "oFINE", "sim-ok", "/nowhere", "TPL-ORDER", &app.key] {
        assert!(!text.contains(clear), "{clear}");
    }
    no_fault_inside(&app).await;
}

#[tokio::test]
async fn readiness_names_its_components_and_waits_for_no_wechat() {
    let app = TestApp::start().await;
    let reply = app.anonymous(Method::GET, "/ready").send().await;
    assert_eq!((reply.status, reply.json()["ready"].clone()), (200, json!(true)), "{}", reply.text);
    let components = reply.json()["components"].clone();
    let names: Vec<_> = components.as_array().unwrap().iter().map(|component| component["name"].clone()).collect();
    assert_eq!(names, ["storage", "token.shop"]);
    assert_eq!(components[0], json!({"name": "storage", "status": "ok"}));
    assert_eq!(components[1]["status"], "degraded", "there was no need of a token yet");
}

#[tokio::test]
async fn a_redis_that_is_away_degrades_and_harms_nothing() {
    // Nobody listens there.
    let config = "\n[redis]\nurl = \"redis://127.0.0.1:1\"\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let reply = app.anonymous(Method::GET, "/ready").send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let components = reply.json()["components"].clone();
    assert_eq!((&components[1]["name"], &components[1]["status"]), (&json!("redis"), &json!("degraded")));
    assert!(!reply.text.contains("127.0.0.1"), "{}", reply.text);
    assert_eq!(app.send("sim-ok").await.status, 200);
    let families = parse(&app.anonymous(Method::GET, "/metrics").send().await.text);
    assert_eq!(families["wxgate_redis_up"].samples["wxgate_redis_up"], 0.0);
    assert!(families["wxgate_redis_errors_total"].samples["wxgate_redis_errors_total{kind=\"connect\"}"] >= 1.0);
}

#[tokio::test]
async fn without_redis_there_is_no_figure_that_would_raise_an_alarm() {
    let app = TestApp::start().await;
    let families = parse(&app.anonymous(Method::GET, "/metrics").send().await.text);
    assert!(families["wxgate_redis_up"].samples.is_empty());
}

/// One family of the text.
struct Family {
    kind: String,
    /// Name and labels as written → value.
    samples: BTreeMap<String, f64>,
}

/// Reads Prometheus' text format (version 0.0.4) as a strict scraper does; panics at what is not sound.
fn parse(text: &str) -> HashMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: HashMap<String, Family> = HashMap::new();
    let mut helped = HashSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name.to_owned()) && !help.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "help first: {line}");
            let family = Family { kind: kind.to_owned(), samples: BTreeMap::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{line}: twice");
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let name = check_series(series);
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line} has no type"));
            let ending = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} stands under {current}"));
            let endings: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(endings.contains(&ending), "{line}");
            assert!(family.kind == "gauge" || value >= 0.0, "{line}");
            assert!(family.samples.insert(series.to_owned(), value).is_none(), "{line}: twice");
        }
    }
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
        check_histogram(name, family);
    }
    families
}

/// `name` or `name{label="value",…}` → the name.
fn check_series(series: &str) -> &str {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{series}"))),
        None => (series, ""),
    };
    assert!(is_name(name), "{series}");
    for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{series}"));
        assert!(is_name(label) && !value.trim_end_matches('"').contains('\n'), "{series}");
    }
    name
}

/// Buckets grow, and the last is the count.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: HashMap<String, Vec<(f64, f64)>> = HashMap::new();
    for (series, value) in family.samples.iter().filter(|(series, _)| series.starts_with(&format!("{name}_bucket"))) {
        let (before, rest) = series.split_once("le=\"").unwrap();
        let (bound, after) = rest.split_once('"').unwrap();
        let bound = bound.parse().unwrap();
        let labels = format!("{before}{after}").replace(",}", "}").replace("_bucket", "_count").replace("{}", "");
        buckets.entry(labels).or_default().push((bound, *value));
    }
    for (count, mut bounds) in buckets {
        bounds.sort_by(|left, right| left.0.total_cmp(&right.0));
        assert!(bounds.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{count} {bounds:?}");
        let last = bounds.last().unwrap();
        assert!(last.0.is_infinite(), "{count}");
        assert!(
            family.samples.get(&count).is_some_and(|value| (value - last.1).abs() < 0.5),
            "{count} {:?}",
            family.samples.keys()
        );
    }
}
