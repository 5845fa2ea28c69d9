//! `[accounts.<name>.relay]`: back ends that get the callbacks of an account.

use std::time::Duration;

use super::origin::Origin;
use super::read::Section;
use super::tree::{Node, Raw, Table};
use super::units::render_span;
use crate::domain::relay::{LateReply, RelayOptions, RelayRoute, RouteMode};
use crate::domain::secret::Openid;
use crate::domain::webhook::url::WebhookUrl;

/// WeChat gives up after 5 s, and the answer has to be kept and sealed before.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_millis(4_800);
const MODES: [(&str, RouteMode); 2] = [("reply", RouteMode::Reply), ("copy", RouteMode::Copy)];
const LATE_REPLIES: [(&str, LateReply); 2] = [("drop", LateReply::Drop), ("custom", LateReply::Custom)];
const MOST_ROUTES: usize = 32;
const MOST_OPENIDS: usize = 1_000;

/// `None` when there is no such section.
pub(super) fn read(account: &mut Section<'_>) -> Option<RelayOptions> {
    if !account.has("relay") {
        return None;
    }
    let mut section = account.section("relay");
    let usual = RelayOptions::default();
    let url = section.parsed("url", address);
    let timeout_ms = section.span_if_given("timeout", TIMEOUTS).map_or(usual.timeout_ms, millis);
    let late_reply = section.choice("late_reply", &LATE_REPLIES, usual.late_reply);
    let token = section.secret("token");
    let routes: Vec<RelayRoute> = section.table_list("routes").into_iter().map(read_route).collect();
    if url.is_none() && routes.is_empty() {
        section.needed("url", |_, _| None::<String>);
    }
    if routes.len() > MOST_ROUTES {
        section.wrong("routes", format!("has {} entries; {MOST_ROUTES} at most", routes.len()));
    }
    section.close();
    Some(RelayOptions { url, timeout_ms, late_reply, routes, token, is_operators: false })
}

fn read_route(mut section: Section<'_>) -> RelayRoute {
    let route = RelayRoute {
        url: section.needed("url", |section, key| section.parsed(key, address)).unwrap_or_default(),
        mode: section.choice("mode", &MODES, RouteMode::Reply),
        types: section.one_or_more("types").unwrap_or_default(),
        events: section.one_or_more("events").unwrap_or_default(),
        openids: section.one_or_more("openids").unwrap_or_default(),
        percent: section.count_if_given("percent", 0..=100),
        timeout_ms: section.span_if_given("timeout", TIMEOUTS).map(millis),
        token: section.secret("token"),
    };
    if route.openids.len() > MOST_OPENIDS {
        section.wrong("openids", format!("has {} entries; {MOST_OPENIDS} at most", route.openids.len()));
    }
    if route.openids.iter().any(|openid| Openid::parse(openid).is_none()) {
        section.wrong("openids", "holds what is no openid");
    }
    section.close();
    route
}

fn address(text: &str) -> Result<String, String> {
    WebhookUrl::parse(text).map(|_| text.to_owned()).map_err(|fault| fault.to_string())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As a table of the configuration has them; secrets are not among what is made at run time.
pub(super) fn as_written(options: &RelayOptions) -> Node {
    let mut table = Table::from([
        ("timeout".to_owned(), span(options.timeout_ms)),
        ("late_reply".to_owned(), text(options.late_reply.as_str())),
    ]);
    table.extend(options.url.as_ref().map(|url| ("url".to_owned(), text(url))));
    let routes = options.routes.iter().map(|route| Raw::Table(route_as_written(route))).collect();
    table.insert("routes".to_owned(), node(Raw::List(routes)));
    node(Raw::Table(table))
}

fn route_as_written(route: &RelayRoute) -> Table {
    let texts = |texts: &[String]| node(Raw::List(texts.iter().cloned().map(Raw::Text).collect()));
    let mut table = Table::from([
        ("url".to_owned(), text(&route.url)),
        ("mode".to_owned(), text(route.mode.as_str())),
        ("types".to_owned(), texts(&route.types)),
        ("events".to_owned(), texts(&route.events)),
        ("openids".to_owned(), texts(&route.openids)),
    ]);
    table.extend(route.percent.map(|percent| ("percent".to_owned(), node(Raw::Integer(percent.into())))));
    table.extend(route.timeout_ms.map(|timeout| ("timeout".to_owned(), span(timeout))));
    table
}

fn span(millis: u64) -> Node {
    text(&render_span(Duration::from_millis(millis)))
}

fn text(text: &str) -> Node {
    node(Raw::Text(text.to_owned()))
}

fn node(raw: Raw) -> Node {
    Node { raw, origin: Origin::Default }
}
