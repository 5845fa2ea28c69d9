//! How long one piece of work may wait for Redis, over all that it asks.

use std::time::Duration;

/// Handed along by the work and spent by the doors: when it is used up, they refuse at once.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    left: Duration,
}

impl Allowance {
    /// What one request may wait.
    pub const WHOLE: Duration = Duration::from_millis(100);

    /// What is left of a whole one after this wait.
    pub fn after(waited: Duration) -> Self {
        Self { left: Self::WHOLE.saturating_sub(waited) }
    }

    pub fn left(&self) -> Duration {
        self.left
    }

    pub fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::after(Duration::ZERO)
    }
}
