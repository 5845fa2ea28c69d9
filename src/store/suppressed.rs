//! Who is suppressed, in memory: 64 bits of a keyed hash for each, so that no send waits for a query. A hit is checked in
//! the store, so what is here too much costs a query; what is missing costs a call that WeChat refuses.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

/// So many at most, in 38 MB (nine bytes in each of 2^22 places, of which seven in eight are used).
const ROOM: usize = (1 << 22) / 8 * 7;

#[derive(Default)]
pub(super) struct Suppressed {
    hash: RandomState,
    known: RwLock<HashSet<u64>>,
    is_full: AtomicBool,
    /// The number of the newest row that was read.
    seen: AtomicI64,
}

impl Suppressed {
    pub(super) fn may_hold(&self, account: &str, openid: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        !known.is_empty() && known.contains(&self.hash.hash_one((account, openid)))
    }

    /// Before the commit: an addition that comes to nothing is found out by the first query.
    pub(super) fn add(&self, account: &str, openid: &str) {
        let hash = self.hash.hash_one((account, openid));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < ROOM {
            known.insert(hash);
        } else if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                room = ROOM,
                "more people are suppressed than memory is set aside for: the others are refused by WeChat instead"
            );
        }
    }

    pub(super) fn remove(&self, account: &str, openid: &str) {
        let hash = self.hash.hash_one((account, openid));
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }

    pub(super) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Acquire)
    }

    pub(super) fn saw(&self, number: i64) {
        self.seen.fetch_max(number, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_whom_it_was_told_of_and_nobody_else() {
        let suppressed = Suppressed::default();
        assert!(!suppressed.may_hold("shop", "o1"));
        suppressed.add("shop", "o1");
        assert!(suppressed.may_hold("shop", "o1"));
        assert!(!suppressed.may_hold("other", "o1") && !suppressed.may_hold("shop", "o2"));
        // Not two texts that are one when put together.
        assert!(!suppressed.may_hold("sho", "po1"));
        suppressed.remove("shop", "o1");
        assert!(!suppressed.may_hold("shop", "o1"));
    }

    #[test]
    fn its_room_has_an_end() {
        let suppressed = Suppressed::default();
        suppressed.known.write().unwrap().extend(0..u64::try_from(ROOM).unwrap());
        let places = suppressed.known.read().unwrap().capacity();
        suppressed.add("shop", "o1");
        assert_eq!(suppressed.known.read().unwrap().len(), ROOM);
        assert_eq!(suppressed.known.read().unwrap().capacity(), places);
        assert_eq!(places, ROOM, "the table has 2^22 places");
    }
}
