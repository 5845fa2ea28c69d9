//! An openid of an account that we have seen, perhaps bound to a business user id.

use super::clock::Timestamp;
use super::secret::Openid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub account: String,
    pub openid: Openid,
    pub user_id: Option<String>,
    /// `None`: never told.
    pub subscribed: Option<bool>,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
}
