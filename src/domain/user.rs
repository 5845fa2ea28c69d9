//! An openid of an account that we have seen, perhaps bound to a business user id.

use super::clock::Timestamp;
use super::secret::Openid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub account: String,
    pub openid: Openid,
    pub user_id: Option<String>,
    /// The business's own words for them.
    pub tags: Tags,
    /// `None`: never told.
    pub subscribed: Option<bool>,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// A small set of short texts, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

/// What is wrong with one of them, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagsError {
    TooMany,
    Invalid { index: usize },
    Doubled { index: usize },
}

impl Tags {
    pub const MOST: usize = 20;
    pub const MAX_CHARS: usize = 32;

    pub fn new(tags: Vec<String>) -> Result<Self, TagsError> {
        if tags.len() > Self::MOST {
            return Err(TagsError::TooMany);
        }
        for (index, tag) in tags.iter().enumerate() {
            if !is_tag(tag) {
                return Err(TagsError::Invalid { index });
            }
            if tags[..index].contains(tag) {
                return Err(TagsError::Doubled { index });
            }
        }
        let mut tags = tags;
        tags.sort_unstable();
        Ok(Self(tags))
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// As it is kept: a JSON array; `None` when there are none.
    pub fn render(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| serde_json::Value::from(self.0.clone()).to_string())
    }

    /// What `render` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(serde_json::from_str(text).ok()?).ok()
    }
}

/// 1–32 characters, no control character, no blank at either end.
pub fn is_tag(text: &str) -> bool {
    (1..=Tags::MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control) && text.trim() == text
}

/// What a request changes of a user; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// `Some(None)` unbinds.
    pub user_id: Option<Option<String>>,
    pub tags: Option<Tags>,
}

/// Which users of an account: every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    pub user_id: Option<String>,
    pub tag: Option<String>,
    pub subscribed: Option<bool>,
    /// The first moment of `last_seen_at` that counts. With it, users come by when they were seen last, else by openid.
    pub seen_after: Option<Timestamp>,
}

/// Where a page of users ends: the openid; before it, when users come by when they were seen last, that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKey {
    pub seen_at: Option<Timestamp>,
    pub openid: Openid,
}

impl UserKey {
    pub fn of(user: &User, filter: &UserFilter) -> Self {
        Self { seen_at: filter.seen_after.map(|_| user.last_seen_at), openid: user.openid.clone() }
    }

    pub fn render(&self) -> String {
        match self.seen_at {
            Some(at) => format!("{}/{}", at.as_millis(), self.openid.as_str()),
            None => self.openid.as_str().to_owned(),
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (seen_at, openid) = match text.split_once('/') {
            Some((millis, openid)) => (Some(Timestamp::from_millis(millis.parse().ok()?)), openid),
            None => (None, text),
        };
        Some(Self { seen_at, openid: Openid::parse(openid)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_few_short_and_different() {
        let new = |tags: &[&str]| Tags::new(tags.iter().map(|tag| (*tag).to_owned()).collect());
        let tags = new(&["vip", "上海", "a b"]).unwrap();
        assert_eq!(tags.as_slice(), ["a b", "vip", "上海"]);
        assert_eq!(Tags::parse(&tags.render().unwrap()), Some(tags));
        assert_eq!(Tags::default().render(), None);
        for (wrong, error) in [
            (vec!["a", ""], TagsError::Invalid { index: 1 }),
            (vec![" a"], TagsError::Invalid { index: 0 }),
            (vec!["a\n"], TagsError::Invalid { index: 0 }),
            (vec!["a", "b", "a"], TagsError::Doubled { index: 2 }),
        ] {
            assert_eq!(new(&wrong), Err(error), "{wrong:?}");
        }
        assert!(is_tag(&"字".repeat(32)) && !is_tag(&"字".repeat(33)));
        let many: Vec<String> = (0..=Tags::MOST).map(|n| n.to_string()).collect();
        assert_eq!(Tags::new(many), Err(TagsError::TooMany));
    }

    #[test]
    fn a_key_is_read_back() {
        let openid = Openid::parse("o1").unwrap();
        for seen_at in [None, Some(Timestamp::from_millis(1_700_000_000_123))] {
            let key = UserKey { seen_at, openid: openid.clone() };
            assert_eq!(UserKey::parse(&key.render()), Some(key));
        }
        for wrong in ["", "x/o1", "1/", "1/o/1", "1/2/o"] {
            assert_eq!(UserKey::parse(wrong), None, "{wrong}");
        }
    }
}
