//! `limit` and `cursor` of a list, and the way to its next page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::form_urlencoded;

use super::query::Query;
use crate::domain::page::PageRequest;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Takes `limit` (1–200, default 50) and `cursor`. `is_key` says whether a decoded cursor can be one.
pub fn take(query: &mut Query, is_key: impl Fn(&str) -> bool) -> PageRequest {
    let limit =
        query.parsed("limit", "1 to 200", |text| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)));
    let after = query.parsed("cursor", "the next_cursor of the page before", |text| {
        let key = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        is_key(&key).then_some(key)
    });
    PageRequest { limit: limit.unwrap_or(DEFAULT_LIMIT), after }
}

/// The opaque form of a key.
pub fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// RFC 8288: the same list, from this cursor on.
pub fn next_link(path: &str, query: &str, cursor: &str) -> String {
    let mut next = form_urlencoded::Serializer::new(String::new());
    next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "cursor"));
    next.append_pair("cursor", cursor);
    format!("<{path}?{}>; rel=\"next\"", next.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Option<PageRequest> {
        let mut query = Query::parse(query).unwrap();
        let page = take(&mut query, |key| key.starts_with("msg_"));
        query.close().ok().map(|()| page)
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        assert_eq!(page(""), Some(PageRequest { limit: 50, after: None }));
        let cursor = cursor("msg_1");
        let expected = PageRequest { limit: 200, after: Some("msg_1".to_owned()) };
        assert_eq!(page(&format!("limit=200&cursor={cursor}")), Some(expected));
        for wrong in ["limit=0", "limit=201", "limit=-1", "limit=x", "cursor=%%%", "cursor=YWJj"] {
            assert_eq!(page(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_link_keeps_the_filters() {
        let link = next_link("/v1/messages", "state=sent&cursor=old&touser=a%26b", "new");
        assert_eq!(link, "</v1/messages?state=sent&touser=a%26b&cursor=new>; rel=\"next\"");
    }
}
