//! A trouble that lasts: said when it begins and when it is over, not each time that somebody meets it.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub struct Trouble(AtomicBool);

impl Trouble {
    /// Somebody met it. `true` when that is news.
    pub fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// It went well. `true` when it did not before.
    pub fn ends(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_are_news_once() {
        let trouble = Trouble::default();
        assert!(!trouble.ends());
        assert!(trouble.begins() && !trouble.begins());
        assert!(trouble.ends() && !trouble.ends());
        assert!(trouble.begins());
    }
}
