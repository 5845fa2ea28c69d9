//! Limits as callers see them: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers), and the field
//! `limits` of a dry run.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;

use crate::services::limits::Standing;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit as it stands for this client and recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitView {
    /// `client`, `openid` or `identical`.
    #[schema(example = "openid")]
    pub limit: &'static str,
    /// So many in `window_s` seconds, at an even pace.
    #[schema(example = 30)]
    pub rate: u32,
    #[schema(example = 60)]
    pub window_s: u64,
    /// So many of them at once.
    #[schema(example = 10)]
    pub burst: u32,
    /// So many more would be taken now.
    #[schema(example = 9)]
    pub remaining: u32,
    /// Seconds until all of the burst is there again.
    #[schema(example = 2)]
    pub reset_s: u64,
}

impl LimitView {
    pub fn of(standing: &Standing) -> Self {
        Self {
            limit: standing.kind.as_str(),
            rate: standing.rate.count.get(),
            window_s: standing.rate.per.as_secs(),
            burst: standing.rate.burst.get(),
            remaining: standing.remaining,
            reset_s: whole_seconds(standing.full_in),
        }
    }
}

/// Adds both headers; none when nothing is limited.
pub(super) fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    let views: Vec<LimitView> = standings.iter().map(LimitView::of).collect();
    let line = |write: fn(&LimitView) -> String| views.iter().map(write).collect::<Vec<_>>().join(", ");
    let policy = line(|view| format!("\"{}\";q={};w={}", view.limit, view.rate, view.window_s));
    let state = line(|view| format!("\"{}\";r={};t={}", view.limit, view.remaining, view.reset_s));
    for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        if let Ok(value) = HeaderValue::from_str(&text)
            && !text.is_empty()
        {
            headers.insert(name, value);
        }
    }
}

/// Never less than the span.
pub(super) fn whole_seconds(span: std::time::Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::domain::limit::{LimitKind, Rate};

    #[test]
    fn limits_are_told_in_two_headers() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate { count: number(30), per: Duration::from_secs(60), burst: number(10) };
        let standing = |kind, remaining| Standing { kind, rate, remaining, full_in: Duration::from_millis(1_200) };
        let mut headers = HeaderMap::new();
        tell(&mut headers, &[standing(LimitKind::Client, 3), standing(LimitKind::Openid, 0)]);
        assert_eq!(headers["ratelimit-policy"], "\"client\";q=30;w=60, \"openid\";q=30;w=60");
        assert_eq!(headers["ratelimit"], "\"client\";r=3;t=2, \"openid\";r=0;t=2");
        let mut none = HeaderMap::new();
        tell(&mut none, &[]);
        assert!(none.is_empty());
    }
}
