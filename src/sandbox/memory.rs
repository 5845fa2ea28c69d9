//! A map that forgets: by age when asked, by number always. Keys are 128-bit digests, so a long load stays cheap.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::clock::Timestamp;

/// A digest of the parts, for use as a key. Not for secrets.
pub(super) fn digest(parts: &[&str]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        parts.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(1) << 64) | half(2)
}

/// Remembers at most `cap` keys, the oldest go first.
#[derive(Debug)]
pub(super) struct Memory<V> {
    entries: HashMap<u128, V>,
    order: VecDeque<(Timestamp, u128)>,
    cap: usize,
}

impl<V: Default> Memory<V> {
    pub(super) fn new(cap: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), cap }
    }

    pub(super) fn get(&self, key: u128) -> Option<&V> {
        self.entries.get(&key)
    }

    /// The entry for this key, made now when there is none.
    pub(super) fn entry(&mut self, key: u128, now: Timestamp) -> &mut V {
        if !self.entries.contains_key(&key) {
            if self.order.len() >= self.cap {
                self.forget_oldest();
            }
            self.order.push_back((now, key));
        }
        self.entries.entry(key).or_default()
    }

    /// Forgets what was made at or before `limit`.
    pub(super) fn forget_until(&mut self, limit: Timestamp) {
        while self.order.front().is_some_and(|(made_at, _)| *made_at <= limit) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_old_ones_when_asked() {
        let mut memory = Memory::<u32>::new(2);
        for (second, name) in [(1, "a"), (2, "b"), (3, "c")] {
            *memory.entry(digest(&[name]), Timestamp::from_seconds(second)) += 1;
        }
        assert_eq!(memory.get(digest(&["a"])), None);
        assert_eq!(memory.get(digest(&["b"])), Some(&1));
        memory.forget_until(Timestamp::from_seconds(2));
        assert_eq!(memory.get(digest(&["b"])), None);
        assert_eq!(memory.get(digest(&["c"])), Some(&1));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
