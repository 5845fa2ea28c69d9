//! The relay of an account, as it is written in requests and shown in views.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::units::{parse_span, render_span};
use crate::domain::account::Patch;
use crate::domain::relay::{LateReply, RelayOptions, RelayRoute, RouteMode};
use crate::http::extract::fields::{Faults, Fields, wrong_type};
use crate::http::extract::json::{Json, push};

/// Back ends that get the account's callbacks. A change replaces it as a whole; tokens of their own have only those of the
/// configuration file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Relay)]
pub struct RelayView {
    /// Whose answer is the answer to WeChat, when no `reply` route fits.
    #[schema(example = "https://backend.example.com/wechat")]
    pub url: Option<String>,
    #[schema(example = "4500ms")]
    pub timeout: Option<String>,
    pub late_reply: Option<LateReply>,
    pub routes: Option<Vec<RouteView>>,
}

/// A rule: every condition that is given must hold. The first `reply` route that fits owns the callback; each `copy` route that
/// fits gets it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RelayRoute)]
pub struct RouteView {
    pub url: String,
    pub mode: Option<RouteMode>,
    /// `text`, `image` …; fits when the type stands here or the event in `events`.
    pub types: Option<Vec<String>>,
    pub events: Option<Vec<String>>,
    pub openids: Option<Vec<String>>,
    /// 0 to 100: this share of all people, always the same ones.
    pub percent: Option<u8>,
    pub timeout: Option<String>,
}

impl From<RelayOptions> for RelayView {
    fn from(options: RelayOptions) -> Self {
        Self {
            url: options.url,
            timeout: Some(span(options.timeout_ms)),
            late_reply: Some(options.late_reply),
            routes: Some(options.routes.into_iter().map(RouteView::from).collect()),
        }
    }
}

impl From<RelayRoute> for RouteView {
    fn from(route: RelayRoute) -> Self {
        Self {
            url: route.url,
            mode: Some(route.mode),
            types: Some(route.types),
            events: Some(route.events),
            openids: Some(route.openids),
            percent: route.percent,
            timeout: route.timeout_ms.map(span),
        }
    }
}

fn span(millis: u64) -> String {
    render_span(Duration::from_millis(millis))
}

pub(super) fn read(fields: &mut Fields, faults: &mut Faults) -> Patch<RelayOptions> {
    if fields.is_null("relay") {
        fields.take("relay");
        return Some(None);
    }
    let mut inner = fields.object("relay", faults)?;
    let usual = RelayOptions::default();
    let options = RelayOptions {
        url: inner.string("url", faults),
        timeout_ms: timeout(&mut inner, faults).unwrap_or(usual.timeout_ms),
        late_reply: inner
            .choice("late_reply", &LateReply::ALL.map(LateReply::as_str), LateReply::parse, faults)
            .unwrap_or_default(),
        routes: routes(&mut inner, faults),
        ..usual
    };
    inner.close(faults);
    Some(Some(options))
}

fn routes(fields: &mut Fields, faults: &mut Faults) -> Vec<RelayRoute> {
    let path = fields.path_of("routes");
    let items = match fields.take("routes") {
        None => return Vec::new(),
        Some(Json::Array(items)) => items,
        Some(other) => {
            wrong_type(faults, &path, "an array", &other);
            return Vec::new();
        }
    };
    let route = |(place, item): (usize, Json)| {
        let mut path = path.clone();
        push(&mut path, &place.to_string());
        let mut fields = Fields::open(item, &path, faults)?;
        let route = RelayRoute {
            url: fields.string("url", faults).unwrap_or_default(),
            mode: fields
                .choice("mode", &RouteMode::ALL.map(RouteMode::as_str), RouteMode::parse, faults)
                .unwrap_or_default(),
            types: texts(&mut fields, "types", faults),
            events: texts(&mut fields, "events", faults),
            openids: texts(&mut fields, "openids", faults),
            percent: fields.integer("percent", 0..=100, faults).and_then(|percent| u8::try_from(percent).ok()),
            timeout_ms: timeout(&mut fields, faults),
            token: None,
        };
        fields.close(faults);
        Some(route)
    };
    items.into_iter().enumerate().filter_map(route).collect()
}

fn timeout(fields: &mut Fields, faults: &mut Faults) -> Option<u64> {
    let text = fields.string("timeout", faults)?;
    let millis = parse_span(&text).and_then(|span| u64::try_from(span.as_millis()).ok());
    if millis.is_none() {
        faults.malformed(fields.path_of("timeout"), "time", "not a time such as \"4500ms\" or \"3s\"");
    }
    millis
}

fn texts(fields: &mut Fields, name: &'static str, faults: &mut Faults) -> Vec<String> {
    let path = fields.path_of(name);
    let items = match fields.take(name) {
        None => return Vec::new(),
        Some(Json::Array(items)) => items,
        Some(other) => {
            wrong_type(faults, &path, "an array of strings", &other);
            return Vec::new();
        }
    };
    let mut texts = Vec::new();
    for item in items {
        match item {
            Json::String(text) => texts.push(text),
            other => wrong_type(faults, &path, "an array of strings", &other),
        }
    }
    texts
}
