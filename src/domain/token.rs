//! An account's access_token with its generation.

use super::clock::Timestamp;
use super::secret::Secret;

/// A token as it is used and kept. Opaque, at least 512 characters of room (access_token page).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    pub token: Secret,
    /// Grows by one whenever the text changes. An older generation never overwrites a newer one.
    pub generation: i64,
    pub fetched_at: Timestamp,
    pub expires_at: Timestamp,
    /// When this account was last refreshed by force, and how often on that day (UTC+8).
    pub forced_at: Option<Timestamp>,
    pub forced_today: u32,
}

impl AccessToken {
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}
