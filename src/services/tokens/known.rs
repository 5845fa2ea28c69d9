//! The tokens that are known anywhere: in memory, in Redis, in SQL. From them follow the number of a fresh token and the
//! count of forced refreshes.

use std::sync::Arc;

use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;
use crate::domain::token::AccessToken;

/// The last token of each place, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) memory: Option<Arc<AccessToken>>,
    pub(super) shared: Option<AccessToken>,
    pub(super) kept: Option<AccessToken>,
}

impl Known {
    fn iter(&self) -> impl Iterator<Item = &AccessToken> {
        self.memory.as_deref().into_iter().chain(&self.shared).chain(&self.kept)
    }

    /// What WeChat gave just now gets the highest number of all, whatever other nodes, a flushed Redis or an old row
    /// counted. A number is used again only where it stands for this very text and nothing else.
    pub(super) fn generation_of(&self, text: &Secret) -> i64 {
        let Some(top) = self.iter().map(|token| token.generation).max() else { return 1 };
        let stands_for_it = self.iter().filter(|token| token.generation == top).all(|token| token.token == *text);
        if stands_for_it { top.max(1) } else { top.saturating_add(1).max(1) }
    }

    /// When the account was last refreshed by force, by whichever node, and how often on that day.
    pub(super) fn forced(&self) -> (Option<Timestamp>, u32) {
        let marks = self.iter().filter_map(|token| Some((token.forced_at?, token.forced_today)));
        marks.max().map_or((None, 0), |(at, today)| (Some(at), today))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, generation: i64) -> AccessToken {
        AccessToken {
            token: Secret::new(text),
            generation,
            fetched_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_seconds(7_200),
            forced_at: None,
            forced_today: 0,
        }
    }

    fn known(memory: Option<AccessToken>, shared: Option<AccessToken>, kept: Option<AccessToken>) -> Known {
        Known { memory: memory.map(Arc::new), shared, kept }
    }

    #[test]
    fn a_fresh_token_gets_the_highest_number_of_all() {
        let fresh = Secret::new("fresh");
        assert_eq!(Known::default().generation_of(&fresh), 1);
        assert_eq!(known(Some(token("old", 5)), None, None).generation_of(&fresh), 6);
        let behind = known(Some(token("old", 5)), Some(token("dead", 9)), Some(token("older", 4)));
        assert_eq!(behind.generation_of(&fresh), 10, "another node counted further");
        let behind = known(Some(token("fresh", 5)), Some(token("dead", 9)), None);
        assert_eq!(behind.generation_of(&fresh), 10, "the same text, but 9 outranks it");
    }

    #[test]
    fn a_number_stands_for_one_text() {
        let fresh = Secret::new("fresh");
        assert_eq!(known(Some(token("fresh", 5)), Some(token("fresh", 5)), None).generation_of(&fresh), 5);
        assert_eq!(known(Some(token("old", 4)), Some(token("fresh", 5)), None).generation_of(&fresh), 5);
        let parted = known(Some(token("dead", 5)), Some(token("fresh", 5)), None);
        assert_eq!(parted.generation_of(&fresh), 6, "two nodes counted alike without knowing of each other");
    }

    #[test]
    fn the_latest_forced_refresh_of_any_node_counts() {
        let at = Timestamp::from_seconds;
        let mine = AccessToken { forced_at: Some(at(100)), forced_today: 7, ..token("a", 1) };
        let theirs = AccessToken { forced_at: Some(at(200)), forced_today: 2, ..token("b", 2) };
        assert_eq!(known(Some(mine.clone()), Some(theirs), None).forced(), (Some(at(200)), 2));
        assert_eq!(known(Some(mine), None, None).forced(), (Some(at(100)), 7));
        assert_eq!(Known::default().forced(), (None, 0));
    }
}
